"""MAConv, mutual affine convolution: parts of the channels scale and shift each other (MANet, Liang et al. 2021)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.cbam import check_odd


class MutualAffineConv(nn.Module):
    """MAConv: y_i = conv_i(x_i sigmoid(a_i) + b_i),  (a_i, b_i) = W2 relu(W1 of the other parts).   (Liang et al. 2021)

    The channels are split into equal parts x_1, ..., x_s; y is the parts y_i side by side. W1 and W2 are 1x1
    convolutions, with biases.

    Quirk: the output has as many channels as the input, because released code computes the last part's width from the
    input (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        splits: s, the number of parts, 2 at least; must divide channels.
        reduction: W1 has (channels - channels // splits) // reduction outputs.
        kernel_size: odd side of conv_i's kernel.
        device, dtype: of the parameters, as for torch's own layers.

    >>> from cclnn.layers import MutualAffineConv
    >>> sum(parameter.numel() for parameter in MutualAffineConv(64).parameters())
    21728
    """

    def __init__(
        self,
        channels: int,
        *,
        splits: int = 2,
        reduction: int = 2,
        kernel_size: int = 3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("splits", splits, 2)
        check_divides("splits", splits, "channels", channels)
        check_odd("kernel_size", kernel_size)
        part = channels // splits
        others = channels - part
        if not 1 <= reduction <= others:
            raise ValueError(
                f"`reduction` must lie between 1 and the {others} channels of the other parts, got {reduction}."
            )
        self.channels = channels
        self.splits = splits
        self.reduction = reduction
        self.kernel_size = kernel_size
        self.affine = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(others, others // reduction, 1, device=device, dtype=dtype),
                nn.ReLU(),
                nn.Conv2d(others // reduction, 2 * part, 1, device=device, dtype=dtype),
            )
            for _ in range(splits)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(part, part, kernel_size, padding=kernel_size // 2, device=device, dtype=dtype)
            for _ in range(splits)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        parts = x.chunk(self.splits, dim=1)
        outputs = []
        for i, part in enumerate(parts):
            others = torch.cat([*parts[:i], *parts[i + 1 :]], dim=1)
            scale, shift = self.affine[i](others).chunk(2, dim=1)
            outputs.append(self.convs[i](part * scale.sigmoid() + shift))
        return torch.cat(outputs, dim=1)

    def extra_repr(self) -> str:
        return f"{self.channels}, splits={self.splits}, reduction={self.reduction}, kernel_size={self.kernel_size}"


class MutualAffineBlock(nn.Module):
    """y = x + conv2(relu(conv1(x))), both `MutualAffineConv`.   (Liang et al. 2021)

    Args:
        channels: c, the number of feature channels.
        splits: of both convolutions, 2 at least; must divide channels.
        reduction: of both convolutions.
        kernel_size: of both convolutions, odd.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import MutualAffineBlock
    >>> MutualAffineBlock(8)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        splits: int = 2,
        reduction: int = 2,
        kernel_size: int = 3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()

        def convolution() -> MutualAffineConv:
            return MutualAffineConv(
                channels, splits=splits, reduction=reduction, kernel_size=kernel_size, device=device, dtype=dtype
            )

        self.channels = channels
        self.conv1 = convolution()
        self.conv2 = convolution()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        branch: Tensor = self.conv2(self.conv1(x).relu())
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}"
