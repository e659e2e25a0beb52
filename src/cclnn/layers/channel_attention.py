"""Channel attention (RCAN, Zhang et al. 2018) and its contrastive form (CCA, Liu et al. 2024)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.losses.collecting import BlockWithLoss
from cclnn.losses.contrastive import channel_contrastive_loss, check_ratio


class ChannelAttention(nn.Module):
    """CA(x) = x * W,  W = sigmoid(excite(relu(squeeze(mean of x over pixels)))).   (Zhang et al. 2018, Sec. 3.3)

    Args:
        channels: c, the number of feature channels.
        reduction: r, the bottleneck has channels // reduction units; must divide channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> attention = ChannelAttention(8, reduction=4)
    >>> features = torch.rand(1, 8, 5, 7)
    >>> torch.equal(attention(features), features * attention.channel_weights(features))
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        self.channels = channels
        self.reduction = reduction
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, device=device, dtype=dtype)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, device=device, dtype=dtype)

    def channel_weights(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        """W, one number in (0, 1) per image and channel."""
        check_shape("x", x, "b c h w", c=self.channels)
        mean = x.mean(dim=(2, 3), keepdim=True)
        gate: Tensor = self.excite(self.squeeze(mean).relu()).sigmoid()
        return gate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.channel_weights(x)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"


class ChannelContrastiveAttention(BlockWithLoss, ChannelAttention):
    """CCA: channel attention that also returns the contrastive loss of its weights.   (Liu et al. 2024, Sec. 3.2)

    out = x * W,  loss = channel_contrastive_loss(W)  (Eq. 3-4). W is taken after the sigmoid.

    Args:
        channels: c, the number of feature channels.
        reduction: r of the channel attention; must divide channels.
        ratio: n of Eq. 4, the share of channels that count as relevant, and as irrelevant; 0 < ratio < 0.5.
        margin: b of Eq. 4.
        return_loss: return `(out, loss)`; False returns `out`, and `cclnn.losses.collect_losses` finds the loss.
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        `(out, loss)`: features like x, and a 0-dim tensor.

    >>> features, loss = ChannelContrastiveAttention(8, reduction=4)(torch.rand(1, 8, 5, 7))
    >>> features.shape, loss.shape
    (torch.Size([1, 8, 5, 7]), torch.Size([]))
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        ratio: float = 0.15,
        margin: float = 1.0,
        return_loss: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, reduction=reduction, device=device, dtype=dtype)
        check_ratio(ratio)
        self.ratio = ratio
        self.margin = margin
        self.return_loss = return_loss

    def forward(  # type: ignore[override]  # the loss comes beside the features, by design
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"] | tuple[Float[Tensor, "b c h w"], Float[Tensor, ""]]:
        weights = self.channel_weights(x)
        return self.result(x * weights, self.loss(weights.flatten(1)))

    def loss(self, weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
        """The loss of these channel weights."""
        return channel_contrastive_loss(weights, ratio=self.ratio, margin=self.margin)

    def extra_repr(self) -> str:
        shown = f"{super().extra_repr()}, ratio={self.ratio}, margin={self.margin}"
        return f"{shown}, return_loss={self.return_loss}"
