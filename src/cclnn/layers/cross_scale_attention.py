"""Cross-scale attention: features enlarged by larger patches of the same image (CSNLN, Mei et al. 2020)."""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._sizes import one_more, parts
from cclnn._typing import Float, Tensor
from cclnn.ops.patches import patch_attention

LEAST_NORM = 1e-4
DIVISOR = 6


class CrossScaleAttention(nn.Module):
    """out = 1/6 sum of pasted patches: pixel i pastes sum_j a_ij P_j, the 3s x 3s patches of V, at s times its place.

    a_ij = softmax over j of t Q_i . K_j / max(|K_j|, 1e-4), with Q_i the 3x3 patch of query(x) around pixel i and K_j
    that of key(x reduced by 1/s) around position j; V = value(x). `query`, `key` and `value` are 1x1 convolutions, each
    with a PReLU of one slope.   (Mei et al. 2020, cross-scale attention)

    Works for any h, w >= 1: x is padded on the right and below, by its last pixels, to multiples of s. Scores are
    computed in blocks (`cclnn.ops.patch_attention`): beyond tensors of the output's size the layer takes 64 MiB, in
    training 128 MiB. All scores at once would be (h w)^2 / s^2 numbers, 4 GiB for 256x256 pixels and s = 2.

    Quirks: the sum of overlapping patches is divided by 6 everywhere, although 9 patches meet inside, 6 along an edge
    and 4 in a corner; only the keys are normalised; the reduction by 1/s takes no mean beyond 2x2 pixels, so that s = 3
    keeps one pixel of nine (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        scale: s, the output is so many times as large: an integer from 1 on.
        reduction: query and key have channels // reduction channels; must divide channels.
        softmax_scale: t, the factor of the scores.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import CrossScaleAttention
    >>> CrossScaleAttention(8, scale=2)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 10, 14])
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int = 2,
        reduction: int = 2,
        softmax_scale: float = 10.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("scale", scale, 1)
        check_divides("reduction", reduction, "channels", channels)
        self.channels = channels
        self.scale = scale
        self.reduction = reduction
        self.softmax_scale = softmax_scale
        narrow = channels // reduction
        self.query = pointwise(channels, narrow, device=device, dtype=dtype)
        self.key = pointwise(channels, narrow, device=device, dtype=dtype)
        self.value = pointwise(channels, channels, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c sh sw"]:
        check_shape("x", x, "b c h w", c=self.channels)
        if not x.shape[0]:
            return self.forward(one_more(x))[:0]
        s, (height, width) = self.scale, x.shape[2:]
        x = repeat_last(x, s)
        key = self.key(reduce_bilinear(x, s))
        squares = key.float() if key.dtype.itemsize < 4 else key
        # Nine times the mean, not divisor_override=1, which the ONNX exporter ignores.
        squared_norm = 9 * F.avg_pool2d(squares.square().sum(dim=1, keepdim=True), 3, 1, 1)
        pasted = patch_attention(
            self.query(x),
            key,
            F.pixel_unshuffle(self.value(x), s),  # position j holds the block of s x s pixels that it stands for
            self.softmax_scale * squared_norm[:, 0].clamp_min(LEAST_NORM**2).rsqrt(),
        )
        return crop(F.pixel_shuffle(pasted, s), s * height, s * width) / DIVISOR

    def extra_repr(self) -> str:
        return f"{self.channels}, scale={self.scale}, reduction={self.reduction}, softmax_scale={self.softmax_scale}"


def pointwise(
    channels: int, outputs: int, *, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Sequential:
    """prelu(conv1x1(x)), with one slope for all channels."""
    convolution = nn.Conv2d(channels, outputs, 1, device=device, dtype=dtype)
    return nn.Sequential(convolution, nn.PReLU(device=device, dtype=dtype))


# A compiled or exported program is for all sizes: it must not ask for remainders, nor have strides that tell them.


def repeat_last(x: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c hp wp"]:
    """x made larger on the right and below by its last pixels, to multiples of `multiple`."""
    for dim in (2, 3):
        length = x.shape[dim]
        padded = parts(length, multiple) * multiple
        if torch.compiler.is_compiling() or padded != length:
            x = x.index_select(dim, torch.arange(padded, device=x.device).clamp(max=length - 1))
    return x


def crop(x: Float[Tensor, "b c hp wp"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """The first rows and columns."""
    if not torch.compiler.is_compiling():
        return x[:, :, :height, :width]
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    return x.index_select(2, rows).index_select(3, columns)


def reduce_bilinear(x: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c hs ws"]:
    """x at 1/scale of its size, by bilinear interpolation without anti-aliasing, at the centres of blocks.

    That is the centre pixel of each block for an odd scale, and the mean of the 2x2 in the centre for an even one.
    """
    first, second = (scale - 1) // 2, scale // 2
    blocks = rearrange(x, "b c (h i) (w j) -> b c h i w j", i=scale, j=scale)
    if first == second:
        return blocks[:, :, :, first, :, first]
    rows = (blocks[:, :, :, first] + blocks[:, :, :, second]) / 2
    return (rows[..., first] + rows[..., second]) / 2
