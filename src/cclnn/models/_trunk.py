"""The residual trunk that EDSR, NLSN and CCLNN share: mean shift, head, body with a long skip, sub-pixel tail."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cclnn._checks import check_at_least, check_positive
from cclnn._typing import Float, Tensor
from cclnn.layers.mean_shift import DIV2K_MEAN, MeanShift
from cclnn.layers.upsampler import Upsampler, check_scale
from cclnn.models._base import SRModel
from cclnn.models._taking import take

WHITES = (1.0, 255.0)  # values of white that released weights expect


class ResidualSR(SRModel):
    """sr = tail(f + body(f)) + mean,  f = head(x - mean): the trunk of EDSR.   (Lim et al. 2017, Fig. 3)

    `body` holds the blocks in order and a last 3x3 convolution. A block returns features, or features and a loss; the
    network's loss is the mean of its blocks' losses.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        blocks: what stands between head and the last convolution of the body.
        rgb_range: value of white that the weights expect, 1 or 255; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made.
    """

    def __init__(
        self,
        scale: int,
        *,
        channels: int,
        blocks: Iterable[nn.Module],
        rgb_range: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_scale(scale)
        check_at_least("channels", channels, 1)
        check_positive("rgb_range", rgb_range)
        super().__init__(scale)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, sign=-1, **made)
        self.head = nn.Conv2d(3, channels, 3, padding=1, **made)
        self.body = nn.ModuleList([*blocks, nn.Conv2d(channels, channels, 3, padding=1, **made)])
        last = nn.Conv2d(channels, 3, 3, padding=1, **made)
        self.tail = nn.Sequential(Upsampler(channels, scale=scale, **made), last)
        self.add_mean = MeanShift(rgb_range, sign=1, **made)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features = self.head(self.sub_mean(x * self.rgb_range).to(self.head.weight.dtype))
        deep, losses = features, []
        for block in self.body:
            found = block(deep)
            deep, loss = found if isinstance(found, tuple) else (found, None)
            if loss is not None:
                losses.append(loss)
        image: Tensor = self.add_mean(self.tail(features + deep)) / self.rgb_range
        return image, torch.stack(losses).mean() if losses else None


def with_attentions(
    n_resblocks: int, residual: Callable[[], nn.Module], attention: Callable[[int], nn.Module]
) -> Iterator[nn.Module]:
    """Residual blocks with an attention before the first and after every 8th.   (Mei et al. 2021, Fig. 2)

    Args:
        n_resblocks: residual blocks.
        residual: makes a residual block.
        attention: makes the attention with the given index, 0, 1, ...
    """
    check_at_least("n_resblocks", n_resblocks, 1)
    for i in range(n_resblocks + 1):
        if i:
            yield residual()
        if i % 8 == 0:
            yield attention(i // 8)


# (official key, ours); `body.{i}.*`, the last convolution, comes after the blocks that have more parts.
TRUNK = (
    ("sub_mean.*", "sub_mean.*"),
    ("add_mean.*", "add_mean.*"),
    ("head.0.*", "head.*"),
    ("tail.0.{i}.*", "tail.0.{i}.*"),
    ("tail.1.*", "tail.1.*"),
    ("body.{i}.body.0.*", "body.{i}.conv1.*"),
    ("body.{i}.body.2.*", "body.{i}.conv2.*"),
)
LAST = (("body.{i}.*", "body.{i}.*"),)


def infer_trunk(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the trunk that its tensors show; one that is `given` is not needed from them."""
    names = ("head.weight", "tail.0.0.weight", "sub_mean.bias")
    head, tail, bias = take(tensors, *names, of="a network of the EDSR family")
    channels = head.shape[0]
    factor = tail.shape[0] // channels
    steps = sum(bool(re.fullmatch(r"tail\.0\.\d+\.weight", name)) for name in tensors)
    inferred: dict[str, Any] = {
        "scale": 3 if factor == 9 else 2**steps,
        "channels": channels,
        "n_resblocks": sum(bool(re.fullmatch(r"body\.\d+\.conv1\.weight", name)) for name in tensors),
    }
    if "rgb_range" not in given:
        inferred["rgb_range"] = infer_white(bias)
    return inferred


def infer_attention(tensors: Mapping[str, Tensor], channels: int) -> dict[str, Any]:
    """What the tensors of non-local sparse attentions show: the width of the embedding, how they compare."""
    inferred: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if name.endswith("conv_match.weight"):
            inferred["match_reduction"] = channels // tensor.shape[0]
        if name.endswith("logit_scale"):
            inferred["similarity"] = "cosine"
        if name.endswith("mean_query"):
            inferred["centre"] = True
    return inferred


def infer_white(bias: Float[Tensor, " 3"]) -> float:
    """rgb_range, 1 or 255, off the mean shift: bias = -rgb_range * mean, which half precision and training move."""
    found = -bias[0].item() / DIV2K_MEAN[0]
    for white in WHITES:
        if abs(found / white - 1) < 0.05:
            return white
    raise ValueError(f"`state_dict`: sub_mean.bias fits rgb_range={found:.4g}, neither 1 nor 255; give `rgb_range`.")


def trunk_radius(model: ResidualSR) -> int:
    """Input pixels to each side that an output pixel depends on, where every block is local.

    The tail adds 2, whatever the scale: before each step of the upsampler d pixels are ceil(d / factor) of the smaller
    image, and the step's convolution looks 1 further; the last convolution begins with d = 1.
    """
    convolutions = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return 2 + sum(module.kernel_size[0] // 2 for name, module in convolutions if not name.startswith("tail."))
