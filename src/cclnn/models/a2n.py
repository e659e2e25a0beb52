"""A2N: attention in attention network (Chen et al. 2021)."""

from collections.abc import Mapping
from typing import Any

import torch

from cclnn._checks import check_at_least
from cclnn._typing import Tensor
from cclnn.layers.nearest_upsampler import NearestScale
from cclnn.layers.pixel_attention_conv import AttentionInAttentionBlock
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Factor, White, Width
from cclnn.models._nearest_trunk import NEAREST, NearestSR, infer_nearest
from cclnn.models._taking import take


class A2N(NearestSR):
    """PAN's trunk with attention-in-attention blocks.   (Chen et al. 2021, Fig. 2)

    Quirks: no mean shift; the weights expect 0..255 (docs/quirks.md).

    Args:
        scale: 2, 3 or 4.
        channels: feature channels of the body.
        up_channels: feature channels of the upsampler.
        n_blocks: attention-in-attention blocks.
        reduction: the branches' shares come from channels // reduction hidden units; must divide channels.
        temperature: of the softmax over the two branches.
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
        reduction: Width = 4,
        temperature: Factor = 30.0,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_blocks", n_blocks, 1)
        super().__init__(
            scale,
            channels=channels,
            up_channels=up_channels,
            blocks=(
                AttentionInAttentionBlock(
                    channels, reduction=reduction, temperature=temperature, device=device, dtype=dtype
                )
                for _ in range(n_blocks)
            ),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


def infer_a2n(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show: the trunk's, and the reduction."""
    inferred = infer_nearest(tensors, given)
    (squeezed,) = take(tensors, "body.0.squeeze.weight", of="an A2N")
    return {**inferred, "reduction": inferred["channels"] // squeezed.shape[0]}


A2N.architecture = Architecture(
    title="A2N",
    paper="Chen et al. 2021, Attention in Attention Network for Image Super-Resolution",
    year=2021,
    url="https://arxiv.org/abs/2104.09497",
    summary=(
        "A network of a million parameters in PAN's trunk. New in it: each block has a branch with attention and one "
        "without, and weighs them by two numbers made from the image, so that attention counts only where it helps. "
        "Layer to borrow: `AttentionInAttentionBlock`."
    ),
    variants={"a2n": {}},
    scales=(2, 3, 4),
    parameters={"a2n": {2: 1_036_443, 3: 1_036_443, 4: 1_047_459}},
    receptive_radius="global",
    upscaling=("upsampler.**", "tail.**"),
    input_range=255.0,
    infer=infer_a2n,
    unseen=("scale", "temperature", "rgb_range"),
    released=Released(
        source="https://github.com/haoyuc/A2N",
        license="none found",
        signature="AAB_trunk.0.attention.k1.weight",
        renames=(
            *NEAREST,
            ("AAB_trunk.{i}.conv_first.*", "body.{i}.first.*"),
            ("AAB_trunk.{i}.ADM.0.*", "body.{i}.squeeze.*"),
            ("AAB_trunk.{i}.ADM.2.*", "body.{i}.excite.*"),
            ("AAB_trunk.{i}.attention.k1.*", "body.{i}.attention.gate_conv.*"),
            ("AAB_trunk.{i}.attention.k2.*", "body.{i}.attention.gate.*"),
            ("AAB_trunk.{i}.attention.k3.*", "body.{i}.attention.conv1.*"),
            ("AAB_trunk.{i}.attention.k4.*", "body.{i}.attention.conv2.*"),
            ("AAB_trunk.{i}.non_attention.*", "body.{i}.plain.*"),
            ("AAB_trunk.{i}.conv_last.*", "body.{i}.last.*"),
        ),
    ),
    small={"channels": 16, "up_channels": 8, "n_blocks": 2},
)
