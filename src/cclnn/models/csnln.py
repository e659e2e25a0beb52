"""CSNLN: cross-scale non-local network, one cell run again and again (Mei et al. 2020)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_choice, check_positive
from cclnn._typing import Float, Tensor
from cclnn.layers.cross_scale_attention import LEAST_NORM
from cclnn.layers.mean_shift import MeanShift
from cclnn.layers.projection import convolve
from cclnn.layers.self_exemplars import SLOPE, STAGES, SelfExemplarsMining
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._base import SRModel
from cclnn.models._taking import take
from cclnn.models._trunk import infer_white


class CSNLN(SRModel):
    """sr = tail([h_1, ..., h_T]) + mean,  (f_t, h_t) = cell(f_{t-1}),  f_0 = head(x - mean).   (Mei et al. 2020)

    One `SelfExemplarsMining` cell, T times, with the same weights. Each step's features go to the image through their
    part of `tail`, a 3x3 convolution of all of them, as soon as they are there: in inference memory does not grow with
    T. Any size works; the attentions pad by the last pixels to a multiple of 2 or 3 and crop.

    Scores are computed in blocks of queries. Memory, in inference on a CPU in float32, beyond weights and input: at
    most 24 channels s^2 h w + 2^27 bytes, six maps of h_t and 128 MiB; 0.9 GiB for 256x256 pixels at scale 2 and 3.1
    GiB at scale 4, where all scores of one attention at once would take 16 and 256 GiB. In training each step's
    features and convolutions are kept. Time grows with (h w)^2.

    Quirks: the released code works with 128 channels alone; there is no skip from the image (docs/quirks.md).

    Args:
        scale: 2, 3 or 4.
        channels: feature channels; must be even.
        depth: T.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 128,
        depth: Depth = 12,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("scale", scale, STAGES)
        check_at_least("channels", channels, 1)
        check_at_least("depth", depth, 1)
        check_positive("rgb_range", rgb_range)
        super().__init__(scale)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.depth = depth
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, sign=-1, **made)
        self.head = nn.Sequential(
            convolve(3, channels, 3, slope=SLOPE, **made), convolve(channels, channels, 3, slope=SLOPE, **made)
        )
        self.cell = SelfExemplarsMining(channels, scale=scale, **made)
        self.tail = PartConv2d(depth * channels, 3, 3, padding=1, **made)
        self.add_mean = MeanShift(rgb_range, sign=1, **made)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], None]:
        shifted = self.sub_mean(x * self.rgb_range)
        features = self.head(shifted.to(self.tail.weight.dtype))
        image: Tensor | float = 0.0
        for step in range(self.depth):
            features, large = self.cell(features)
            part = self.tail(large, step)
            image = image + part.to(torch.promote_types(part.dtype, torch.float32))
        return self.add_mean(image) / self.rgb_range, None


class PartConv2d(nn.Conv2d):
    """A convolution of concatenated maps, one map at a time: conv([h_0, h_1, ...]) = sum_t part(h_t, t)."""

    def forward(self, x: Float[Tensor, "b c h w"], part: int) -> Float[Tensor, "b o h w"]:  # type: ignore[override]
        width = x.shape[1]
        weight = self.weight[:, part * width : (part + 1) * width]
        return F.conv2d(x, weight, None if part else self.bias, padding=1)


def cell_renames() -> Iterator[tuple[str, str]]:
    """The rules of the cell; those of the second stage are needed at x4 alone."""
    attention = {
        "up_attention.conv_match_1": "cross_scale.query",
        "up_attention.conv_match_2": "cross_scale.key",
        "up_attention.conv_assembly": "cross_scale.value",
        "down_attention.conv_match1": "in_scale.query",
        "down_attention.conv_match2": "in_scale.key",
        "down_attention.conv_assembly": "in_scale.value",
        "upsample": "enlarge",
    }
    residual = {"0.*": "conv1.0.*", "1.*": "conv1.1.*", "2.*": "conv2.*"}
    for stage, number in enumerate(("", "_2")):
        source, ours = f"SEM.multi_source_projection{number}", f"cell.fuse.{stage}"
        for theirs, name in attention.items():
            yield f"{source}.{theirs}.**", f"{ours}.{name}.**"
        for theirs, name in residual.items():
            yield f"{source}.encoder.body.{theirs}", f"{ours}.{name}"
        yield f"SEM.error_encode{number}.**", f"cell.enlarge.{stage}.**"
    yield "SEM.down_sample_1.**", "cell.reduce.0.**"
    yield "SEM.down_sample_3.**", "cell.reduce.1.**"
    yield "SEM.down_sample_2.**", "cell.back.**"  # at x4 the last reduction is number 4
    yield "SEM.down_sample_4.**", "cell.back.**"
    yield "SEM.post_conv.**", "cell.post.**"


def restore(model: CSNLN, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Number the last reduction as the scale does, and store the attentions' least norm as the released code does."""
    last = "SEM.down_sample_4." if model.scale == 4 else "SEM.down_sample_2."
    tensors = {key.replace("SEM.down_sample_2.", last): tensor for key, tensor in official.items()}
    least = torch.tensor([LEAST_NORM], dtype=torch.float32).to(model.tail.weight)
    names = ["SEM.multi_source_projection", "SEM.multi_source_projection_2"][: len(model.cell.fuse)]
    return {**tensors, **{f"{name}.up_attention.escape_NaN": least.clone() for name in names}}


def infer_csnln(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The scale by the kernel and the stages of the cell, the width, the depth by the width of the tail."""
    names = ("cell.fuse.0.enlarge.0.weight", "head.0.0.weight", "tail.weight", "sub_mean.bias")
    up, head, tail, bias = take(tensors, *names, of="a CSNLN")
    channels = head.shape[0]
    stages = len({name for name in tensors if re.fullmatch(r"cell\.reduce\.\d+\.0\.weight", name)})
    inferred: dict[str, Any] = {
        "scale": 3 if up.shape[-1] == STAGES[3][0].kernel else 2 * stages,
        "channels": channels,
        "depth": tail.shape[1] // channels,
    }
    if "rgb_range" not in given:
        inferred["rgb_range"] = infer_white(bias)
    return inferred


CSNLN.architecture = Architecture(
    title="CSNLN",
    paper=(
        "Mei et al. 2020, Image Super-Resolution with Cross-Scale Non-Local Attention and Exhaustive "
        "Self-Exemplars Mining"
    ),
    year=2020,
    url="https://arxiv.org/abs/2006.01424",
    summary=(
        "One cell, run twelve times, finds in the image itself what enlarges it. New in it: cross-scale attention, "
        "which replaces a patch by the larger patches that look like it once they are reduced, fused with attention "
        "within the scale. Time grows with the square of the number of pixels, and is fifteen times as long at x4. "
        "Layers to borrow: `CrossScaleAttention`, `NonLocalAttention`, `MultiSourceFusion`, `SelfExemplarsMining`."
    ),
    variants={"csnln": {}},
    scales=(2, 3, 4),
    parameters={"csnln": {2: 3_061_289, 3: 6_010_409, 4: 6_568_627}},
    receptive_radius="global",
    infer=infer_csnln,
    released=Released(
        source="https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention",
        license="mit",
        signature="SEM.multi_source_projection.up_attention.conv_match_1.0.weight",
        renames=(
            ("sub_mean.*", "sub_mean.*"),
            ("add_mean.*", "add_mean.*"),
            ("head.**", "head.**"),
            ("tail.0.*", "tail.*"),
            *cell_renames(),
        ),
        dropped=("SEM.**.escape_NaN",),
        restore=restore,
    ),
    small={"channels": 8, "depth": 2},
)
