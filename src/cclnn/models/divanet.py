"""DiVANet: directional variance attention network (Behjati et al. 2023)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._arguments import Range
from cclnn._checks import check_choice
from cclnn._typing import Float, Tensor
from cclnn.layers.directional_variance import DirectionalVarianceGroup
from cclnn.layers.mean_shift import MeanShift
from cclnn.layers.weight_norm_conv import WeightNormConv2d
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Width
from cclnn.models._base import SRModel
from cclnn.models._taking import take


class DiVANet(SRModel):
    """sr = tail(up(body(head(u)))) + bicubic(u) + mean,  u = x - mean, body a nested group.   (Behjati 2023, Fig. 2)

    Quirks: the bicubic enlargement is torch's (a = -0.75), not MATLAB's; the upsampler's convolutions have 4 groups,
    the default inside the released code, whose training script asks for 1 in vain (docs/quirks.md).

    Args:
        scale: 2, 3 or 4.
        channels: feature channels.
        n_blocks: blocks in a group, and groups.
        groups: of the upsampler's convolutions; must divide channels.
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Annotated[int, Range(2, 4)] = 2,
        *,
        channels: Width = 64,
        n_blocks: Depth = 3,
        groups: Width = 4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("scale", scale, (2, 3, 4))
        super().__init__(scale)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.sub_mean = MeanShift(sign=-1, **made)
        self.head = WeightNormConv2d(3, out_channels=channels, **made)
        self.body = DirectionalVarianceGroup(channels, n_blocks=n_blocks, nested=True, **made)
        factor = 3 if scale == 3 else 2
        self.upsampler = nn.ModuleList(
            WeightNormConv2d(channels, out_channels=factor**2 * channels, groups=groups, **made)
            for _ in range(2 if scale == 4 else 1)
        )
        self.tail = WeightNormConv2d(channels, out_channels=3, **made)
        self.add_mean = MeanShift(sign=1, **made)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        centred = self.sub_mean(x)
        deep, _ = self.body(self.head(centred.to(self.head.bias.dtype)))
        for conv in self.upsampler:
            deep = F.pixel_shuffle(conv(deep).relu(), 3 if self.scale == 3 else 2)
        enlarged = F.interpolate(centred, scale_factor=float(self.scale), mode="bicubic", align_corners=False)
        image: Tensor = self.add_mean(enlarged + self.tail(deep))
        return image, None


def weight_norm_renames(official: str, ours: str) -> Iterator[tuple[str, str]]:
    """The rules of one convolution."""
    yield f"{official}.weight_g", f"{ours}.magnitude"
    yield f"{official}.weight_v", f"{ours}.direction"
    yield f"{official}.bias", f"{ours}.bias"


def renames() -> Iterator[tuple[str, str]]:
    """The rules of the network."""
    yield from (("sub_mean.shifter.*", "sub_mean.*"), ("add_mean.shifter.*", "add_mean.*"))
    convolutions = {
        "entry_1": "head",
        "exit1": "tail",
        "upsample.up.body.0": "upsampler.0",
        "upsample.up.body.3": "upsampler.1",
        "reduction_1.conv": "body.features",
        "reduction_2.conv": "body.attentions",
        "b{i}.reduction_1.conv": "body.block{i}.features",
        "b{i}.reduction_2.conv": "body.block{i}.attentions",
        "b{i}.rb{j}.body.0": "body.block{i}.block{j}.expand",
        "b{i}.rb{j}.body.2": "body.block{i}.block{j}.reduce",
        "b{i}.rb{j}.body.3": "body.block{i}.block{j}.conv",
    }
    for official, ours in convolutions.items():
        yield from weight_norm_renames(official, ours)
    yield "b{i}.rb{j}.DiVA.*.*", "body.block{i}.block{j}.attention.*.*"


def infer_divanet(tensors: Mapping[str, Tensor], _given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show."""
    head, up = take(tensors, "head.direction", "upsampler.0.direction", of="a DiVANet")
    channels = head.shape[0]
    larger = 4 if "upsampler.1.direction" in tensors else 2
    return {
        "scale": 3 if up.shape[0] == 9 * channels else larger,
        "channels": channels,
        "n_blocks": sum(f"body.block{i}.features.direction" in tensors for i in range(1, 257)),
        "groups": channels // up.shape[1],
    }


DiVANet.architecture = Architecture(
    title="DiVANet",
    paper="Behjati et al. 2023, Single Image Super-Resolution Based on Directional Variance Attention Network",
    year=2023,
    url="https://doi.org/10.1016/j.patcog.2022.108997",
    summary=(
        "A light network of three groups of three wide-activation blocks with weight normalisation. New in it: gates "
        "per row and per column made from the variance along them, and a second stream that gathers attention beside "
        "the features. Layers to borrow: `DirectionalVarianceAttention`, `DirectionalVarianceGroup`, "
        "`WeightNormConv2d`."
    ),
    variants={"divanet": {}},
    scales=(2, 3, 4),
    parameters={"divanet": {2: 902_388, 3: 949_108, 4: 939_764}},
    receptive_radius="global",
    upscaling=("upsampler.**", "tail.**"),
    infer=infer_divanet,
    released=Released(
        source="https://github.com/pbehjatii/DiVANet",
        license="non-commercial research",
        signature="b1.rb1.DiVA.conv_h.weight",
        renames=tuple(renames()),
    ),
    small={"channels": 16, "n_blocks": 2},
)
