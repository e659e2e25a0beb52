"""Self-exemplars mining: features enlarged by patches of the same image, then corrected (CSNLN, Mei et al. 2020)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.cross_scale_attention import CrossScaleAttention
from cclnn.layers.non_local_attention import NonLocalAttention
from cclnn.layers.projection import Geometry, convolve, enlarge, reduce

TWICE, THRICE, FOURFOLD = Geometry(6, 2, 2), Geometry(9, 3, 3), Geometry(8, 4, 2)
# Of a cell: the size of the features after each stage, compared with that of the cell's input.
STAGES = {2: (TWICE,), 3: (THRICE,), 4: (TWICE, FOURFOLD)}
ENLARGING = {2: TWICE, 3: THRICE}
SLOPE = 0.25


class MultiSourceFusion(nn.Module):
    """out = up + conv2(prelu(conv1(up - down))),  up = CSA(x),  down = enlarge(NLA(x)).   (Mei et al. 2020)

    The mutual projection of two branches: `cross_scale` (CSA) finds larger patches of x, `in_scale` (NLA) similar
    pixels, which a transposed convolution enlarges; what differs between them is added to the first. Any h, w >= 1.

    Quirk: the released code adds a residual block of up - down to `down`, whose own skip cancels `down`. The same is
    computed here (docs/quirks.md).

    Args:
        channels: c, the number of feature channels; must be even.
        scale: s, 2 or 3, with kernels of 6 and 9 pixels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import MultiSourceFusion
    >>> MultiSourceFusion(4, scale=3)(torch.rand(1, 4, 5, 7)).shape
    torch.Size([1, 4, 15, 21])
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_choice("scale", scale, ENLARGING)
        self.channels = channels
        self.scale = scale
        self.cross_scale = CrossScaleAttention(channels, scale=scale, device=device, dtype=dtype)
        self.in_scale = NonLocalAttention(channels, device=device, dtype=dtype)
        self.enlarge = enlarge(channels, ENLARGING[scale], slope=SLOPE, device=device, dtype=dtype)
        self.conv1 = convolve(channels, channels, 3, slope=SLOPE, device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c sh sw"]:
        check_shape("x", x, "b c h w", c=self.channels)
        up = self.cross_scale(x)
        # In one expression, so that each map of the output's size is given back once the next is there.
        fused: Tensor = up + self.conv2(self.conv1(up - self.enlarge(self.in_scale(x))))
        return fused

    def extra_repr(self) -> str:
        return f"{self.channels}, scale={self.scale}"


class SelfExemplarsMining(nn.Module):
    """h = u + enlarge(x - reduce(u)),  u = fuse(x),  next = post(back(h)): gives (next, h).   (Mei et al. 2020)

    One step of the recurrent network: h has `scale` times the size of x and is used for the image; `next`, of the size
    of x, is the x of the next step. `fuse` is a `MultiSourceFusion`; `reduce` and `back` are strided, `enlarge`
    transposed convolutions, `post` is a 3x3 convolution, each with a PReLU of one slope. The difference between x and
    the reduced u is enlarged and added to u.

    At scale 4 there are two such stages, the second on the h of the first, at twice its size; both compare with x.

    Memory, in inference on a CPU in float32: at most 24 c s^2 h w + 2^27 bytes, six maps of h and 128 MiB, of which 64
    are for the scores of `cross_scale`. Time grows with (h w)^2.

    Args:
        channels: c, the number of feature channels; must be even.
        scale: s, 2, 3 or 4.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import SelfExemplarsMining
    >>> x = torch.rand(1, 4, 5, 7)
    >>> x, large = SelfExemplarsMining(4, scale=4)(x)
    >>> x.shape, large.shape
    (torch.Size([1, 4, 5, 7]), torch.Size([1, 4, 20, 28]))
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_choice("scale", scale, STAGES)
        self.channels = channels
        self.scale = scale
        stages = STAGES[scale]
        self.fuse = nn.ModuleList(
            MultiSourceFusion(channels, scale=3 if scale == 3 else 2, device=device, dtype=dtype) for _ in stages
        )
        self.reduce = nn.ModuleList(
            reduce(channels, geometry, slope=SLOPE, device=device, dtype=dtype) for geometry in stages
        )
        self.enlarge = nn.ModuleList(
            enlarge(channels, geometry, slope=SLOPE, device=device, dtype=dtype) for geometry in stages
        )
        self.back = reduce(channels, stages[-1], slope=SLOPE, device=device, dtype=dtype)
        self.post = convolve(channels, channels, 3, slope=SLOPE, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c sh sw"]]:
        check_shape("x", x, "b c h w", c=self.channels)
        large = x
        for fuse, lower, raise_ in zip(self.fuse, self.reduce, self.enlarge, strict=True):
            large = fuse(large)
            large = large + raise_(x - lower(large))
        return self.post(self.back(large)), large

    def extra_repr(self) -> str:
        return f"{self.channels}, scale={self.scale}"
