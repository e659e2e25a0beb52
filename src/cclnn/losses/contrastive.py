"""Channel contrastive loss: push the strongest channel weights up and the weakest down (Liu et al. 2024)."""

import math
from typing import Literal, get_args

from torch import nn

from cclnn._checks import check_choice, check_floating, check_shape
from cclnn._typing import Float, Tensor

Reduction = Literal["mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


def check_ratio(ratio: float) -> None:
    """Raise ValueError unless relevant and irrelevant channels are two disjoint, possible shares."""
    if not 0 < ratio < 0.5:
        raise ValueError(f"`ratio` must lie strictly between 0 and 0.5, got {ratio}.")


def relevant_channels(channels: int, ratio: float) -> int:
    """k of Eq. 4: how many channels count as relevant, and as many as irrelevant."""
    return max(1, math.floor(ratio * channels + 1e-9))  # 0.29 * 100 is 28.999... in floating point


def channel_contrastive_loss(
    weights: Float[Tensor, "b c"], *, ratio: float = 0.15, margin: float = 1.0, reduction: Reduction = "mean"
) -> Float[Tensor, ""]:
    """-log(mean exp(k largest weights) / mean exp(k smallest)) + b, averaged over images; k = max(1, floor(n C)).

    Liu et al. 2024, Eq. 3-4, with its outer sum dropped (docs/quirks.md). For weights in [0, 1], after the sigmoid,
    and b = 1 the loss lies in [0, 1]: 0 where k weights are 1 and k are 0, 1 where all are equal.

    Args:
        weights: W of each image, one per channel.
        ratio: n, the share of channels that count as relevant, and as irrelevant; 0 < ratio < 0.5.
        margin: b.
        reduction: "mean", or "sum" for Eq. 4's literal sum over i = 1..C, a factor C.

    Returns:
        0-dim tensor, float32 or wider; 0 for a batch of no images.

    >>> import torch
    >>> channel_contrastive_loss(torch.tensor([[1.0, 0.7, 0.2, 0.0]]), ratio=0.25)
    tensor(0.)
    """
    check_floating("weights", weights)
    check_shape("weights", weights, "b c")
    check_ratio(ratio)
    check_choice("reduction", reduction, REDUCTIONS)
    channels = weights.shape[1]
    k = relevant_channels(channels, ratio)
    if 2 * k > channels:
        raise ValueError(f"`weights` needs at least 2 channels to compare, got {channels}.")
    ordered = _wide(weights).sort(dim=1, descending=True).values  # Eq. 3
    each = _log_mean_exp(ordered[:, -k:]) - _log_mean_exp(ordered[:, :k]) + margin  # Eq. 4
    loss = each.mean() if each.shape[0] else each.sum()
    return loss * channels if reduction == "sum" else loss


class ChannelContrastiveLoss(nn.Module):
    """`channel_contrastive_loss` as a module.

    Args:
        ratio: n of Eq. 4; 0 < ratio < 0.5.
        margin: b of Eq. 4.
        reduction: "mean" or "sum".

    >>> import torch
    >>> ChannelContrastiveLoss(ratio=0.25)(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    tensor(1.)
    """

    def __init__(self, *, ratio: float = 0.15, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_ratio(ratio)
        check_choice("reduction", reduction, REDUCTIONS)
        self.ratio = ratio
        self.margin = margin
        self.reduction: Reduction = reduction

    def forward(self, weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
        return channel_contrastive_loss(weights, ratio=self.ratio, margin=self.margin, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}, margin={self.margin}, reduction={self.reduction!r}"


def _log_mean_exp(ordered: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """log(mean exp(x)) of descending x, exact where all x are equal."""
    largest = ordered[:, :1].detach()
    return largest[:, 0] + (ordered - largest).exp().mean(dim=1).log()


def _wide(weights: Tensor) -> Tensor:
    return weights if weights.dtype.itemsize >= 4 else weights.float()
