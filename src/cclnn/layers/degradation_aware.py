"""Layers of DASR: convolutions whose kernels are made from a representation of the degradation (Wang et al. 2021)."""

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._sizes import one_more
from cclnn._typing import Float, Tensor
from cclnn.layers.cbam import check_odd

SLOPE = 0.1


class DegradationAwareConv(nn.Module):
    """y = conv1x1(f(k * x)) + x sigmoid(W4 f(W3 v)),  k = W2 f(W1 v),  f(x) = max(x, 0.1 x).   (Wang et al. 2021)

    DASR's DA convolution. k holds one kernel for each image and channel; k * x is the depthwise correlation with zero
    padding. The second term gives each channel a gate. v is the representation of the image's
    degradation. W1 to W4 have no bias.

    Args:
        channels: c, the number of feature channels, and of entries of v.
        kernel_size: odd side of the kernels made.
        reduction: W3 has channels // reduction outputs; must divide channels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import DegradationAwareConv
    >>> DegradationAwareConv(8)(torch.rand(2, 8, 5, 7), torch.rand(2, 8)).shape
    torch.Size([2, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 3,
        reduction: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_odd("kernel_size", kernel_size)
        check_divides("reduction", reduction, "channels", channels)
        self.channels = channels
        self.kernel_size = kernel_size
        self.reduction = reduction
        self.kernel_hidden = nn.Linear(channels, channels, bias=False, device=device, dtype=dtype)
        self.kernel = nn.Linear(channels, channels * kernel_size**2, bias=False, device=device, dtype=dtype)
        self.conv = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False, device=device, dtype=dtype)
        self.excite = nn.Linear(channels // reduction, channels, bias=False, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"], v: Float[Tensor, "b c"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        check_shape("v", v, "b c", b=x.shape[0], c=self.channels)
        if not x.shape[0]:
            return self.forward(one_more(x), one_more(v))[:0]
        side = self.kernel_size
        kernels = rearrange(self.kernel(leaky(self.kernel_hidden(v))), "b (c i j) -> b c i j", i=side, j=side)
        gate = self.excite(leaky(self.squeeze(v))).sigmoid()
        local = self.conv(leaky(correlate(x, kernels)))
        y: Tensor = local + x * rearrange(gate, "b c -> b c 1 1")
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, reduction={self.reduction}"


def correlate(x: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c i j"]) -> Float[Tensor, "b c h w"]:
    """k * x: each image and channel with its own kernel of odd sides, zero outside.

    One convolution with b c groups, or patches cut out while compiling or exporting, where b may be a symbol and a
    number of groups may not.
    """
    rows, columns = kernels.shape[2:]
    padding = rows // 2, columns // 2
    if torch.compiler.is_compiling():
        unfolded = F.unfold(x, (rows, columns), padding=padding)
        patches = rearrange(unfolded, "b (c p) n -> b c p n", p=rows * columns)
        return torch.einsum("b c p n, b c p -> b c n", patches, kernels.flatten(2)).view_as(x)
    planes = rearrange(x, "b c h w -> 1 (b c) h w")
    weights = rearrange(kernels, "b c i j -> (b c) 1 i j")
    filtered = F.conv2d(planes, weights, padding=padding, groups=len(weights))
    correlated: Tensor = rearrange(filtered, "1 (b c) h w -> b c h w", c=x.shape[1])
    return correlated


class DegradationAwareBlock(nn.Module):
    """y = x + conv2(f(da2(f(conv1(f(da1(x, v)))), v))),  f(x) = max(x, 0.1 x).   (Wang et al. 2021, DA block)

    da1, da2: `DegradationAwareConv`; conv1, conv2: 3x3.

    Args:
        channels: c, the number of feature channels, and of entries of v.
        kernel_size: odd side of the kernels made.
        reduction: of both degradation-aware convolutions; must divide channels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> from cclnn.layers import DegradationAwareBlock
    >>> sum(parameter.numel() for parameter in DegradationAwareBlock(64).parameters())
    166144
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 3,
        reduction: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()

        def aware() -> DegradationAwareConv:
            return DegradationAwareConv(
                channels, kernel_size=kernel_size, reduction=reduction, device=device, dtype=dtype
            )

        self.channels = channels
        self.aware1 = aware()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        self.aware2 = aware()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"], v: Float[Tensor, "b c"]) -> Float[Tensor, "b c h w"]:
        hidden = leaky(self.conv1(leaky(self.aware1(x, v))))
        branch: Tensor = self.conv2(leaky(self.aware2(hidden, v)))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}"


class DegradationAwareGroup(nn.Module):
    """y = x + conv(block_n(... block_1(x, v) ..., v)), conv 3x3.   (Wang et al. 2021, residual group)

    The blocks are `DegradationAwareBlock`s.

    Args:
        channels: c, the number of feature channels, and of entries of v.
        n_blocks: n, degradation-aware blocks.
        kernel_size: odd side of the kernels made.
        reduction: of the degradation-aware convolutions; must divide channels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import DegradationAwareGroup
    >>> DegradationAwareGroup(8, n_blocks=2)(torch.rand(1, 8, 5, 7), torch.rand(1, 8)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        n_blocks: int = 5,
        kernel_size: int = 3,
        reduction: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("n_blocks", n_blocks, 1)
        self.channels = channels
        self.blocks = nn.ModuleList(
            DegradationAwareBlock(channels, kernel_size=kernel_size, reduction=reduction, device=device, dtype=dtype)
            for _ in range(n_blocks)
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"], v: Float[Tensor, "b c"]) -> Float[Tensor, "b c h w"]:
        deep = x
        for block in self.blocks:
            deep = block(deep, v)
        y: Tensor = x + self.conv(deep)
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, n_blocks={len(self.blocks)}"


class DegradationEncoder(nn.Module):
    """(features, embedding) of an image's degradation: six 3x3 convolutions, a mean over pixels, a perceptron.

    Each convolution is followed by batch normalisation and f(x) = max(x, 0.1 x); two have `channels`, two `hidden`, two
    `features` outputs, and the third and the fifth have stride 2. features = mean over pixels, embedding = W2 f(W1
    features). A network takes the features as its description of the degradation; the contrastive loss compares
    embeddings. (Wang et al. 2021, degradation encoder)

    Args:
        channels, hidden, features: widths of the three pairs of convolutions.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import DegradationEncoder
    >>> features, embedding = DegradationEncoder(4, hidden=6, features=8).eval()(torch.rand(2, 3, 13, 9))
    >>> features.shape, embedding.shape
    (torch.Size([2, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        channels: int = 64,
        *,
        hidden: int = 128,
        features: int = 256,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("hidden", hidden, 1)
        check_at_least("features", features, 1)
        self.channels = channels
        self.hidden = hidden
        self.features = features

        def steps() -> Iterator[nn.Module]:
            before = 3
            for stride, width in ((1, channels), (2, hidden), (2, features)):
                for step in (stride, 1):
                    yield nn.Conv2d(before, width, 3, stride=step, padding=1, device=device, dtype=dtype)
                    yield nn.BatchNorm2d(width, device=device, dtype=dtype)
                    yield nn.LeakyReLU(SLOPE)
                    before = width

        self.body = nn.Sequential(*steps())
        self.head = nn.Sequential(
            nn.Linear(features, features, device=device, dtype=dtype),
            nn.LeakyReLU(SLOPE),
            nn.Linear(features, features, device=device, dtype=dtype),
        )

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        check_shape("x", x, "b c h w", c=3)
        features = self.body(x).mean(dim=(2, 3))
        return features, self.head(features)

    def extra_repr(self) -> str:
        return f"{self.channels}, hidden={self.hidden}, features={self.features}"


def leaky(x: Tensor) -> Tensor:
    """f(x) = max(x, 0.1 x), DASR's activation."""
    return F.leaky_relu(x, SLOPE)
