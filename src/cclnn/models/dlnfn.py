"""DLNFN: a local and a non-local branch, weighed by the input, in a feedback loop (Liu and Chu 2023): reconstructed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_divides
from cclnn._typing import Float, Tensor
from cclnn.layers.cross_scale_attention import CrossScaleAttention
from cclnn.layers.feedback_block import GEOMETRIES, SLOPE, FeedbackBlock
from cclnn.layers.mutual_affine import MutualAffineConv
from cclnn.layers.projection import activated, convolve, enlarge, reduce
from cclnn.models._architecture import Architecture
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._feedback import FeedbackSR
from cclnn.models._taking import take
from cclnn.models._trunk import infer_white

SCALES = (2, 3, 4)


class DynamicWeights(nn.Module):
    """w = softmax(W2 prelu(W1 mean(f, g))): a weight for each of two branches, made from what enters them.

    Quirk: reconstructed. Known are its purpose and that its weights differ between inputs and iterations; one number
    per branch and image, the means and the softmax are ours (docs/quirks.md).

    Args:
        channels: c, of f and of g each.
        reduction: W1 has 2 channels // reduction outputs; must divide 2 channels.
        device, dtype: of the parameters, as for torch's own layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_divides("reduction", reduction, "2 * channels", 2 * channels)
        squeeze = nn.Linear(2 * channels, 2 * channels // reduction, device=device, dtype=dtype)
        self.squeeze = activated(squeeze, slope=SLOPE, device=device, dtype=dtype)
        self.excite = nn.Linear(2 * channels // reduction, 2, device=device, dtype=dtype)

    def forward(self, features: Float[Tensor, "b c h w"], fed_back: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2"]:
        means = torch.cat([features, fed_back], dim=1).mean(dim=(2, 3))
        weights: Tensor = self.excite(self.squeeze(means)).softmax(dim=1)
        return weights


class LocalNonLocalBlock(nn.Module):
    """(h, reduce(h)),  h = w_1 enlarge(local(f, g)) + w_2 adjust(attention(deliver([f, g]))),  w = `DynamicWeights`.

    DLNFN's delivery-adjust-fusion: f, the image's features, and g, what the last iteration fed back, are delivered to
    both branches; their results, of different sizes and kinds, are adjusted to features of the enlarged size, and fused
    by weights made from f and g. `local` is SRFBN's feedback block, `attention` CSNLN's cross-scale attention.

    Quirk: reconstructed, see `DLNFN`.

    Args:
        channels: c, the number of feature channels.
        scale: 2, 3 or 4.
        n_groups: groups of the local branch.
        reduction: of the dynamic weights.
        device, dtype: of the parameters, as for torch's own layers.
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int,
        n_groups: int,
        reduction: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weigh = DynamicWeights(channels, reduction=reduction, **made)
        self.local = FeedbackBlock(channels, n_groups=n_groups, scale=scale, **made)
        self.enlarge = enlarge(channels, GEOMETRIES[scale], slope=SLOPE, **made)
        self.deliver = convolve(2 * channels, channels, 1, slope=SLOPE, **made)
        self.attention = CrossScaleAttention(channels, scale=scale, **made)
        self.adjust = convolve(channels, channels, 3, slope=SLOPE, **made)
        self.reduce = reduce(channels, GEOMETRIES[scale], slope=SLOPE, **made)

    def forward(
        self, features: Float[Tensor, "b c h w"], fed_back: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c sh sw"], Float[Tensor, "b c h w"]]:
        weights = self.weigh(features, fed_back)
        local = self.enlarge(self.local(features, fed_back))
        distant = self.adjust(self.attention(self.deliver(torch.cat([features, fed_back], dim=1))))
        first, second = (rearrange(w, "b -> b 1 1 1") for w in weights.unbind(dim=1))
        fused = first * local + second * distant
        return fused, self.reduce(fused)


class DLNFN(FeedbackSR):
    """sr_t = bilinear(x) + tail(h_t),  (h_t, g_t) = block(f, g_{t-1}),  f = head(x), g_0 = f, t = 1..T.

    A **reconstruction from the abstract, not comparable with the published numbers**: no code was released, and the
    full text could not be had. Known are (Liu and Chu 2023, abstract, contributions, outline): an in block of four
    cascaded MAConv layers; a block of two parallel branches, convolutions for local and attention for non-local
    features, run again and again with feedback; its delivery-adjust-fusion; weights of the branches that differ
    between inputs and iterations; a reconstruction block. Everything else is ours, and documented as a quirk: the kinds
    of branches, widths, activations, the number of iterations, the first 3x3 convolution, the bilinear image
    (docs/quirks.md).

    The last image, sr_T, is the result; `steps(x)` gives them all. The weights are the same in every iteration.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels.
        n_affine: MAConv layers of the in block.
        n_groups: groups of the feedback block, the local branch.
        n_steps: T, iterations, 2 at least.
        reduction: the dynamic weights' bottleneck has 2 channels // reduction units; must divide 2 channels.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_affine: Depth = 4,
        n_groups: Depth = 6,
        n_steps: Depth = 6,
        reduction: Width = 16,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("scale", scale, SCALES)
        check_at_least("channels", channels, 1)
        check_at_least("n_affine", n_affine, 1)
        check_at_least("n_steps", n_steps, 2)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            scale,
            channels=channels,
            head=nn.Sequential(
                convolve(3, channels, 3, slope=SLOPE, **made),
                *(activated(MutualAffineConv(channels, **made), slope=SLOPE, **made) for _ in range(n_affine)),
            ),
            n_steps=n_steps,
            rgb_range=rgb_range,
            **made,
        )
        self.block = LocalNonLocalBlock(channels, scale=scale, n_groups=n_groups, reduction=reduction, **made)

    def iterate(self, features: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c sh sw"]]:
        fed_back = features
        for _ in range(self.n_steps):
            fused, fed_back = self.block(features, fed_back)
            yield fused


def infer_dlnfn(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show; the number of iterations is none of them."""
    names = ("tail.weight", "block.enlarge.0.weight", "block.weigh.squeeze.0.weight", "sub_mean.bias")
    tail, up, squeeze, bias = take(tensors, *names, of="a DLNFN")
    channels, kernel = tail.shape[1], up.shape[-1]
    return {
        "scale": next((scale for scale in SCALES if GEOMETRIES[scale].kernel == kernel), None),
        "channels": channels,
        "n_affine": sum(bool(re.fullmatch(r"head\.\d+\.1\.weight", name)) for name in tensors) - 1,
        "n_groups": sum(bool(re.fullmatch(r"block\.local\.enlarge\.\d+\.0\.weight", name)) for name in tensors),
        "reduction": 2 * channels // squeeze.shape[0],
        **({} if "rgb_range" in given else {"rgb_range": infer_white(bias)}),
    }


DLNFN.architecture = Architecture(
    title="DLNFN",
    paper=(
        "Liu and Chu 2023, A Dynamic Fusion of Local and Non-Local Features-Based Feedback Network on Super-Resolution"
    ),
    year=2023,
    url="https://doi.org/10.3390/sym15040885",
    summary=(
        "A branch of convolutions and a branch of attention, side by side in a feedback loop. New in it: the weights "
        "by which the branches are fused are made from the input, anew in each iteration. A step from LNFSR towards "
        "CCLNN, by its first author. Layers to borrow: those that it is rebuilt from, `FeedbackBlock`, "
        "`CrossScaleAttention`, `MutualAffineConv`."
    ),
    variants={"dlnfn": {}},
    scales=SCALES,
    parameters={"dlnfn": {2: 2_407_706, 3: 3_153_178, 4: 4_013_338}},
    infer=infer_dlnfn,
    unseen=("n_steps",),
    note="reconstruction from the abstract, not comparable with the published numbers",
    small={"channels": 8, "n_groups": 2, "n_steps": 2, "reduction": 4},
)
