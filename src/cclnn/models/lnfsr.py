"""LNFSR: three known blocks in a feedback loop, for local and non-local features (Liu et al. 2022): reconstructed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cclnn._checks import check_at_least, check_choice
from cclnn._typing import Float, Tensor
from cclnn.layers.feedback_block import GEOMETRIES, SLOPE, FeedbackBlock
from cclnn.layers.projection import convolve, enlarge, reduce
from cclnn.layers.self_exemplars import SelfExemplarsMining
from cclnn.models._architecture import Architecture
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._feedback import FeedbackSR
from cclnn.models._taking import take
from cclnn.models._trunk import infer_white

SCALES = (2, 3, 4)


class DeepBlock(nn.Module):
    """y = x + conv_n(relu(... relu(conv_1(x)))), all 3x3: VDSR between its first and its last convolution.

    Args:
        channels: c, the number of feature channels.
        n_layers: n, convolutions.
        device, dtype: of the parameters, as for torch's own layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        n_layers: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("n_layers", n_layers, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype) for _ in range(n_layers)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        branch = x
        for i, conv in enumerate(self.convs):
            branch = conv(branch.relu() if i else branch)
        return x + branch


class UpFusionDelivery(nn.Module):
    """(H, d_1, d_2, d_3),  H = fuse([up_1(x_1), up_2(x_2), h]),  d_i = deliver_i([x_i, reduce(H)]): ends an iteration.

    x_1, x_2, x_3 are what the three blocks give at the image's size and h what the third gives at the enlarged size.
    `up` are transposed and `reduce` is a strided convolution, `fuse` and `deliver` are 1x1; each has a PReLU of one
    slope. d_i goes to the i-th block in the next iteration.

    Quirk: reconstructed. Known are the name, and that it fuses what the blocks give and delivers features to the right
    block (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        scale: 2, 3 or 4.
        device, dtype: of the parameters, as for torch's own layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"slope": SLOPE, "device": device, "dtype": dtype}
        self.up = nn.ModuleList(enlarge(channels, GEOMETRIES[scale], **made) for _ in range(2))
        self.fuse = convolve(3 * channels, channels, 1, **made)
        self.reduce = reduce(channels, GEOMETRIES[scale], **made)
        self.deliver = nn.ModuleList(convolve(2 * channels, channels, 1, **made) for _ in range(3))

    def forward(
        self,
        deep: Float[Tensor, "b c h w"],
        hidden: Float[Tensor, "b c h w"],
        mined: Float[Tensor, "b c h w"],
        large: Float[Tensor, "b c sh sw"],
    ) -> tuple[Float[Tensor, "b c sh sw"], list[Float[Tensor, "b c h w"]]]:
        fused = self.fuse(torch.cat([self.up[0](deep), self.up[1](hidden), large], dim=1))
        shared = self.reduce(fused)
        own = (deep, hidden, mined)
        return fused, [deliver(torch.cat([x, shared], dim=1)) for deliver, x in zip(self.deliver, own, strict=True)]


class LNFSR(FeedbackSR):
    """sr_t = tail(H_t) + mean,  (H_t, a, b, c) = ufd(deep(a), feedback(f, b), mining(c)),  a = b = c = f at first.

    A **reconstruction from the abstract, not comparable with the published numbers**: no code was released, and the
    full text could not be had. Known are (Liu et al. 2022, abstract, contributions, two items of Sec. 3.2): three
    blocks, a deep one of convolutions (VDSR's), a dense feedback block (SRFBN's) and a non-local one (CSNLN's); an
    up-fusion-delivery block at the end of each of 6 iterations; no skip from the image to the end. Everything else is
    ours, and documented as a quirk: where the blocks stand and what enters them, widths and depths, the inside of the
    up-fusion-delivery, the head, an image of every iteration (docs/quirks.md).

    `deep` is `DeepBlock`, `feedback` a `FeedbackBlock` whose hidden state is what is delivered to it, `mining` a
    `SelfExemplarsMining` cell, which gives features of both sizes, `ufd` the `UpFusionDelivery`. The last image, sr_T,
    is the result; `steps(x)` gives them all. The weights are the same in every iteration.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels; must be even.
        n_layers: convolutions of the deep block.
        n_groups: groups of the feedback block.
        n_steps: T, iterations, 2 at least.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    adds_bilinear = False

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_layers: Depth = 18,
        n_groups: Depth = 6,
        n_steps: Depth = 6,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("scale", scale, SCALES)
        check_at_least("channels", channels, 1)
        check_at_least("n_steps", n_steps, 2)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            scale,
            channels=channels,
            head=nn.Sequential(
                convolve(3, channels, 3, slope=SLOPE, **made), convolve(channels, channels, 3, slope=SLOPE, **made)
            ),
            n_steps=n_steps,
            rgb_range=rgb_range,
            **made,
        )
        self.deep = DeepBlock(channels, n_layers=n_layers, **made)
        self.feedback = FeedbackBlock(channels, n_groups=n_groups, scale=scale, **made)
        self.mining = SelfExemplarsMining(channels, scale=scale, **made)
        self.ufd = UpFusionDelivery(channels, scale=scale, **made)

    def iterate(self, features: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c sh sw"]]:
        for_deep = for_feedback = for_mining = features
        for _ in range(self.n_steps):
            deep = self.deep(for_deep)
            hidden = self.feedback(features, for_feedback)
            mined, large = self.mining(for_mining)
            fused, (for_deep, for_feedback, for_mining) = self.ufd(deep, hidden, mined, large)
            yield fused


def infer_lnfsr(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show; the number of iterations is none of them."""
    tail, up, bias = take(tensors, "tail.weight", "ufd.up.0.0.weight", "sub_mean.bias", of="an LNFSR")
    return {
        "scale": next((scale for scale in SCALES if GEOMETRIES[scale].kernel == up.shape[-1]), None),
        "channels": tail.shape[1],
        "n_layers": sum(bool(re.fullmatch(r"deep\.convs\.\d+\.weight", name)) for name in tensors),
        "n_groups": sum(bool(re.fullmatch(r"feedback\.enlarge\.\d+\.0\.weight", name)) for name in tensors),
        **({} if "rgb_range" in given else {"rgb_range": infer_white(bias)}),
    }


LNFSR.architecture = Architecture(
    title="LNFSR",
    paper="Liu et al. 2022, A Local and Non-Local Features Based Feedback Network on Super-Resolution",
    year=2022,
    url="https://doi.org/10.3390/s22249604",
    summary=(
        "A deep block of convolutions, SRFBN's feedback block and CSNLN's attention, each for the features that it is "
        "best at. New in it: after each iteration their results are fused and delivered to the block that needs them "
        "next. The first step towards CCLNN, by its first author. Layers to borrow: those that it is rebuilt from, "
        "`FeedbackBlock`, `SelfExemplarsMining`."
    ),
    variants={"lnfsr": {}},
    scales=SCALES,
    parameters={"lnfsr": {2: 3_870_024, 3: 5_406_024, 4: 6_467_474}},
    infer=infer_lnfsr,
    unseen=("n_steps",),
    note="reconstruction from the abstract, not comparable with the published numbers",
    small={"channels": 8, "n_layers": 3, "n_groups": 2, "n_steps": 2},
)
