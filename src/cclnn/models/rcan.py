"""RCAN: residual channel attention network (Zhang et al. 2018)."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from cclnn._checks import check_at_least
from cclnn._typing import Tensor
from cclnn.layers.residual_channel_attention import ResidualGroup
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._trunk import LAST, TRUNK, ResidualSR, infer_trunk


class RCAN(ResidualSR):
    """EDSR's trunk with groups of residual channel attention blocks.   (Zhang et al. 2018, Fig. 2)

    Quirk: the mean shifts are constants here; the released code trains them, so conversion copies them.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_groups: residual groups.
        n_blocks: residual channel attention blocks in a group.
        reduction: the attention's bottleneck has channels // reduction units; must divide channels.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_groups: Depth = 10,
        n_blocks: Depth = 20,
        reduction: Width = 16,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_groups", n_groups, 1)
        super().__init__(
            scale,
            channels=channels,
            blocks=(
                ResidualGroup(channels, n_blocks=n_blocks, reduction=reduction, device=device, dtype=dtype)
                for _ in range(n_groups)
            ),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


def infer_rcan(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show."""
    inferred = infer_trunk(tensors, given)
    del inferred["n_resblocks"]
    squeezed = tensors.get("body.0.blocks.0.attention.squeeze.weight")
    if squeezed is None:
        raise ValueError("`state_dict` has no tensor for 'body.0.blocks.0.attention.squeeze.weight'; is it an RCAN?")
    return {
        **inferred,
        "n_groups": sum(bool(re.fullmatch(r"body\.\d+\.conv\.weight", name)) for name in tensors),
        "n_blocks": sum(bool(re.fullmatch(r"body\.0\.blocks\.\d+\.conv1\.weight", name)) for name in tensors),
        "reduction": inferred["channels"] // squeezed.shape[0],
    }


def name_last(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolution that ends a group, `body.g.body.20` after 20 blocks, under the name `body.g.body.last`."""
    return {re.sub(r"^(body\.\d+\.body)\.\d+\.(\w+)$", r"\1.last.\2", key): x for key, x in official.items()}


def number_last(model: RCAN, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `name_last`."""
    return {key.replace(".last.", f".{model.config['n_blocks']}."): tensor for key, tensor in official.items()}


RCAN.architecture = Architecture(
    title="RCAN",
    paper="Zhang et al. 2018, Image Super-Resolution Using Very Deep Residual Channel Attention Networks",
    year=2018,
    url="https://arxiv.org/abs/1807.02758",
    summary=(
        "Ten groups of twenty narrow residual blocks, each group and the whole with a skip: 400 convolutions deep. "
        "New in it: channel attention, which rescales every channel by a gate made from the channels' means. "
        "Layers to borrow: `ChannelAttention`, `ResidualChannelAttentionBlock`, `ResidualGroup`."
    ),
    variants={"rcan": {}},
    parameters={"rcan": {2: 15_444_667, 3: 15_629_307, 4: 15_592_379}},
    receptive_radius="global",
    input_range=255.0,
    released=Released(
        source="https://github.com/yulunzhang/RCAN",
        license="none found",
        signature="body.0.body.0.body.3.conv_du.0.weight",
        renames=(
            *TRUNK[:5],
            ("body.{i}.body.{j}.body.0.*", "body.{i}.blocks.{j}.conv1.*"),
            ("body.{i}.body.{j}.body.2.*", "body.{i}.blocks.{j}.conv2.*"),
            ("body.{i}.body.{j}.body.3.conv_du.0.*", "body.{i}.blocks.{j}.attention.squeeze.*"),
            ("body.{i}.body.{j}.body.3.conv_du.2.*", "body.{i}.blocks.{j}.attention.excite.*"),
            ("body.{i}.body.last.*", "body.{i}.conv.*"),
            *LAST,
        ),
        infer=infer_rcan,
        unpack=name_last,
        restore=number_last,
    ),
    small={"channels": 16, "n_groups": 2, "n_blocks": 2, "reduction": 4},
)
