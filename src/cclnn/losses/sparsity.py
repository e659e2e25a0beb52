"""L1 sparsity of channel weights, the paper's alternative to the contrastive loss (Liu et al. 2024, Table 2)."""

from torch import nn

from cclnn._checks import check_floating, check_shape
from cclnn._typing import Float, Tensor


def channel_sparsity_loss(weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """mean |W| over channels and images, float32 or wider; 0 without images.   (Liu et al. 2024, Eq. 7)

    Args:
        weights: W of each image, one per channel.

    >>> import torch
    >>> channel_sparsity_loss(torch.tensor([[0.25, 0.75]]))
    tensor(0.5000)
    """
    check_floating("weights", weights)
    check_shape("weights", weights, "b c")
    size = (weights if weights.dtype.itemsize >= 4 else weights.float()).abs()
    return size.mean() if size.shape[0] else size.sum()


class ChannelSparsityLoss(nn.Module):
    """`channel_sparsity_loss` as a module.

    >>> import torch
    >>> ChannelSparsityLoss()(torch.tensor([[0.25, 0.75]]))
    tensor(0.5000)
    """

    def forward(self, weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
        return channel_sparsity_loss(weights)
