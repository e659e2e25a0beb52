"""EDSR: enhanced deep residual network (Lim et al. 2017)."""

from cclnn._checks import check_at_least
from cclnn.layers.residual import ResBlock
from cclnn.models._skeleton import ResidualSR


class EDSR(ResidualSR):
    """Residual blocks between a head and a sub-pixel tail, with a long skip.   (Lim et al. 2017, Fig. 3)

    The defaults are the paper's large network. Quirk: rgb_range 1, where the released weights use 255.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_resblocks: residual blocks.
        res_scale: factor of each block's residual branch.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
    """

    def __init__(
        self,
        scale: int = 2,
        *,
        channels: int = 256,
        n_resblocks: int = 32,
        res_scale: float = 0.1,
        rgb_range: float = 1.0,
    ) -> None:
        check_at_least("n_resblocks", n_resblocks, 1)
        super().__init__(
            scale,
            channels=channels,
            blocks=[ResBlock(channels, res_scale=res_scale) for _ in range(n_resblocks)],
            rgb_range=rgb_range,
            config={
                "scale": scale,
                "channels": channels,
                "n_resblocks": n_resblocks,
                "res_scale": res_scale,
                "rgb_range": rgb_range,
            },
        )
