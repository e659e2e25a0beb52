"""PAN: pixel attention network (Zhao et al. 2020)."""

import torch

from cclnn._checks import check_at_least
from cclnn.layers.nearest_upsampler import NearestScale
from cclnn.layers.pixel_attention_conv import SelfCalibratedBlock
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, White, Width
from cclnn.models._nearest_trunk import NEAREST, NearestSR, infer_nearest, nearest_radius


class PAN(NearestSR):
    """Self-calibrated blocks with pixel attention, and an upsampler with it.   (Zhao et al. 2020, Fig. 2)

    Quirk: torch's default initialisation; the released code has another one and does not call it (docs/quirks.md).

    Args:
        scale: 2, 3 or 4.
        channels: feature channels of the body; must be even.
        up_channels: feature channels of the upsampler.
        n_blocks: self-calibrated blocks.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: NearestScale = 2,
        *,
        channels: Width = 40,
        up_channels: Width = 24,
        n_blocks: Depth = 16,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_blocks", n_blocks, 1)
        super().__init__(
            scale,
            channels=channels,
            up_channels=up_channels,
            blocks=(SelfCalibratedBlock(channels, device=device, dtype=dtype) for _ in range(n_blocks)),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


def pan_radius(model: PAN) -> int:
    """Two 3x3 convolutions in a row in each block."""
    return nearest_radius(model, per_block=2)


PAN.architecture = Architecture(
    title="PAN",
    paper="Zhao et al. 2020, Efficient Image Super-Resolution Using Pixel Attention",
    year=2020,
    url="https://arxiv.org/abs/2010.01073",
    summary=(
        "The smallest network here that reaches 38 dB on Set5. New in it: pixel attention, one gate per channel and "
        "pixel from a single 1x1 convolution, in blocks and upsampler: the source of CCLN's pixel attention. "
        "Layers to borrow: `PixelAttention`, `SelfCalibratedBlock`, `NearestUpsampler`."
    ),
    variants={"pan": {}},
    scales=(2, 3, 4),
    parameters={"pan": {2: 261_403, 3: 261_403, 4: 272_419}},
    receptive_radius=pan_radius,
    upscaling=("upsampler.**", "tail.**"),
    infer=infer_nearest,
    unseen=("scale", "rgb_range"),
    released=Released(
        source="https://github.com/zhaohengyuan1/PAN",
        license="none found",
        signature="SCPA_trunk.0.conv1_a.weight",
        renames=(
            *NEAREST,
            ("SCPA_trunk.{i}.conv1_a.*", "body.{i}.split1.*"),
            ("SCPA_trunk.{i}.conv1_b.*", "body.{i}.split2.*"),
            ("SCPA_trunk.{i}.k1.0.*", "body.{i}.conv.*"),
            ("SCPA_trunk.{i}.PAConv.k2.*", "body.{i}.attention.gate.*"),
            ("SCPA_trunk.{i}.PAConv.k3.*", "body.{i}.attention.conv1.*"),
            ("SCPA_trunk.{i}.PAConv.k4.*", "body.{i}.attention.conv2.*"),
            ("SCPA_trunk.{i}.conv3.*", "body.{i}.merge.*"),
        ),
    ),
    small={"channels": 16, "up_channels": 8, "n_blocks": 2},
)
