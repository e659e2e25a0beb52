"""RCAN: residual channel attention network (Zhang et al. 2018)."""

import torch

from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._residual_groups import GROUPS, infer_groups, name_last, number_last, residual_groups
from cclnn.models._trunk import ResidualSR


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
        super().__init__(
            scale,
            channels=channels,
            blocks=residual_groups(
                n_groups, channels=channels, n_blocks=n_blocks, reduction=reduction, device=device, dtype=dtype
            ),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


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
    infer=infer_groups,
    released=Released(
        source="https://github.com/yulunzhang/RCAN",
        license="none found",
        signature="body.0.body.0.body.3.conv_du.0.weight",
        renames=GROUPS,
        unpack=name_last,
        restore=number_last,
    ),
    small={"channels": 16, "n_groups": 2, "n_blocks": 2, "reduction": 4},
)
