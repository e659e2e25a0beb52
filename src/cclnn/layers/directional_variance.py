"""DiVANet's attention from the variance along rows and columns, its block and its group (Behjati et al. 2023)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._sizes import one_more
from cclnn._typing import Float, Tensor
from cclnn.layers.weight_norm_conv import WeightNormConv2d


class DirectionalVarianceAttention(nn.Module):
    """DiVA(x) = x * a_w * a_h,  a_h = sigmoid(conv_h(variance along each row)),  a_w = sigmoid(conv_w(... column)).
    (Behjati et al. 2023, Sec. 3.3)

    One gate per channel and row, times one per channel and column; conv_h and conv_w are 1x1 convolutions.

    Quirk: the population variance, which the released code computes in functions named "stdv" (docs/quirks.md). In half
    precision it is computed in float32.

    Args:
        channels: c, the number of feature channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> layer = DirectionalVarianceAttention(2)
    >>> [nn.init.zeros_(p) is p for p in layer.parameters()]  # both gates are now 1/2
    [True, True, True, True]
    >>> layer(torch.ones(1, 2, 1, 3))[0, 0]
    tensor([[0.2500, 0.2500, 0.2500]], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self, channels: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        self.channels = channels
        self.conv_h = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)
        self.conv_w = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        if not x.shape[0]:
            return self.forward(one_more(x))[:0]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        rows = self.conv_h(wide.var(dim=3, correction=0, keepdim=True).to(x.dtype)).sigmoid()
        columns = self.conv_w(wide.var(dim=2, correction=0, keepdim=True).to(x.dtype)).sigmoid()
        y: Tensor = x * columns * rows
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}"


class DirectionalVarianceBlock(nn.Module):
    """(x + u, DiVA(u)),  u = conv3x3(conv1x1(relu(conv1x1(x)))): wide before, narrow after the activation.
    (Behjati et al. 2023, Fig. 3; the body is that of WDSR-B, Yu et al. 2018)

    The attention is returned beside the features and is not part of them; `DirectionalVarianceGroup` combines the
    attentions of its blocks. The three convolutions have weight normalisation.

    Args:
        channels: c, the number of feature channels.
        expansion: channels before the activation, as a multiple of c.
        linear: channels after it, as a share of c: int(c * linear).
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        `(features, attention)`, both like x.

    >>> features, attention = DirectionalVarianceBlock(8)(torch.rand(1, 8, 5, 7))
    >>> features.shape == attention.shape == (1, 8, 5, 7)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        expansion: int = 6,
        linear: float = 0.8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("expansion", expansion, 1)
        check_at_least("linear", linear, 1 / channels)
        wide, narrow = channels * expansion, int(channels * linear)
        self.channels = channels
        self.expansion = expansion
        self.linear = linear
        self.expand = WeightNormConv2d(channels, out_channels=wide, kernel_size=1, device=device, dtype=dtype)
        self.reduce = WeightNormConv2d(wide, out_channels=narrow, kernel_size=1, device=device, dtype=dtype)
        self.conv = WeightNormConv2d(narrow, out_channels=channels, device=device, dtype=dtype)
        self.attention = DirectionalVarianceAttention(channels, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        check_shape("x", x, "b c h w", c=self.channels)
        u = self.conv(self.reduce(self.expand(x).relu()))
        return x + u, self.attention(u)

    def extra_repr(self) -> str:
        return f"{self.channels}, expansion={self.expansion}, linear={self.linear}"


class DirectionalVarianceGroup(nn.Module):
    """(x + F + A, A),  F = relu(features([x, f_1, ..., f_n])),  A = relu(attentions([a_1, ..., a_n])), where
    (f_i, a_i) = block_i(f_{i-1}), f_0 = x.   (Behjati et al. 2023, Fig. 3: residual attention feature group)

    Each block takes the features of the one before it. A 1x1 convolution with weight normalisation combines the
    features of all blocks, another one their attentions. A nested group does the same with groups in place of blocks:
    the body of DiVANet.

    Args:
        channels: c, the number of feature channels.
        n_blocks: n.
        nested: chain n groups of n blocks each, not n blocks.
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        `(features, attention)`, both like x.

    >>> features, attention = DirectionalVarianceGroup(8, n_blocks=2)(torch.rand(1, 8, 5, 7))
    >>> features.shape == attention.shape == (1, 8, 5, 7)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        n_blocks: int = 3,
        nested: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("n_blocks", n_blocks, 1)
        self.channels = channels
        self.n_blocks = n_blocks
        self.nested = nested
        for name in self._names():
            block = (
                DirectionalVarianceGroup(channels, n_blocks=n_blocks, device=device, dtype=dtype)
                if nested
                else DirectionalVarianceBlock(channels, device=device, dtype=dtype)
            )
            self.add_module(name, block)
        self.features = WeightNormConv2d(
            (n_blocks + 1) * channels, out_channels=channels, kernel_size=1, device=device, dtype=dtype
        )
        self.attentions = WeightNormConv2d(
            n_blocks * channels, out_channels=channels, kernel_size=1, device=device, dtype=dtype
        )

    def _names(self) -> list[str]:
        return [f"block{i + 1}" for i in range(self.n_blocks)]

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        check_shape("x", x, "b c h w", c=self.channels)
        features, attentions = [x], []
        for name in self._names():
            deep, attention = self.get_submodule(name)(features[-1])
            features.append(deep)
            attentions.append(attention)
        gathered = self.attentions(torch.cat(attentions, dim=1)).relu()
        return self.features(torch.cat(features, dim=1)).relu() + x + gathered, gathered

    def extra_repr(self) -> str:
        return f"{self.channels}, n_blocks={self.n_blocks}, nested={self.nested}"
