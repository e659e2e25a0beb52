"""EDSR: enhanced deep residual network (Lim et al. 2017)."""

import torch

from cclnn._checks import check_at_least
from cclnn.layers.residual import ResBlock
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Factor, Scale, White, Width
from cclnn.models._trunk import LAST, TRUNK, ResidualSR, infer_trunk, trunk_radius


class EDSR(ResidualSR):
    """Residual blocks between a head and a sub-pixel tail, with a long skip.   (Lim et al. 2017, Fig. 3)

    The defaults are the paper's large network. Quirk: rgb_range 1, where the released weights use 255.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_resblocks: residual blocks.
        res_scale: factor of each block's residual branch.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 256,
        n_resblocks: Depth = 32,
        res_scale: Factor = 0.1,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_resblocks", n_resblocks, 1)
        super().__init__(
            scale,
            channels=channels,
            blocks=(ResBlock(channels, res_scale=res_scale, device=device, dtype=dtype) for _ in range(n_resblocks)),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


EDSR.architecture = Architecture(
    title="EDSR",
    paper="Lim et al. 2017, Enhanced Deep Residual Networks for Single Image Super-Resolution",
    year=2017,
    url="https://arxiv.org/abs/1707.02921",
    summary=(
        "Residual blocks without batch normalisation between one convolution and a sub-pixel tail, with a long skip. "
        "The trunk that NLSN and CCLNN are built on, and the baseline that everything here is compared with. New in "
        "it: residual branches scaled by 0.1, which lets 256 channels train. Layer to borrow: `ResBlock`."
    ),
    variants={
        "edsr": {},
        "edsr-baseline": {"channels": 64, "n_resblocks": 16, "res_scale": 1.0},
        "edsr-l": {"channels": 128, "n_resblocks": 16},
    },
    parameters={
        "edsr": {2: 40_729_627, 3: 43_680_027, 4: 43_089_947},
        "edsr-baseline": {2: 1_369_883, 3: 1_554_523, 4: 1_517_595},
    },
    receptive_radius=trunk_radius,
    input_range=255.0,
    infer=infer_trunk,
    unseen=("res_scale",),
    released=Released(
        source="https://github.com/sanghyun-son/EDSR-PyTorch",
        license="mit",
        signature="body.0.body.0.weight",
        renames=(*TRUNK, *LAST),
    ),
    small={"channels": 16, "n_resblocks": 2},
)
