"""The objective of CCLNN: reconstruction alone during warm-up, then the blocks' losses as well (Liu et al. 2024)."""

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least
from cclnn._typing import Float, Tensor

CONTRASTIVE_WEIGHT = 4e-3  # lambda of the paper


class CCLNNLoss(nn.Module):
    """loss = mean |sr - hr| + lambda * block_loss, with lambda = 0 during warm-up.   (Liu et al. 2024, Eq. 5-6)

    Args:
        weight: lambda, 4e-3 in the paper.
        warmup: epochs 1..warmup train on the reconstruction alone: 150 of 1000 in the paper, 75 of 500 for CCLNN-L.
            Any unit will do, steps for example, as long as `epoch` counts in the same.

    >>> objective = CCLNNLoss(weight=0.5, warmup=1)
    >>> sr, hr, block_loss = torch.tensor([[[[0.25]]]]), torch.tensor([[[[0.5]]]]), torch.tensor(1.0)
    >>> objective(sr, hr, block_loss, epoch=1), objective(sr, hr, block_loss, epoch=2)
    (tensor(0.2500), tensor(0.7500))
    """

    def __init__(self, *, weight: float = CONTRASTIVE_WEIGHT, warmup: int = 150) -> None:
        super().__init__()
        check_at_least("weight", weight, 0)
        check_at_least("warmup", warmup, 0)
        self.weight = weight
        self.warmup = warmup

    def forward(
        self,
        sr: Float[Tensor, "b c h w"],
        hr: Float[Tensor, "b c h w"],
        block_loss: Float[Tensor, ""],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """The loss to minimise.

        Args:
            sr: the network's output, in [0, 1] (not clamped).
            hr: the reference image.
            block_loss: mean over the CCLN blocks, as `model(x, return_loss=True)` gives it.
            epoch: counted from 1.
        """
        check_at_least("epoch", epoch, 1)
        if sr.shape != hr.shape:
            raise ValueError(f"`sr` and `hr` must have the same shape, got {tuple(sr.shape)} and {tuple(hr.shape)}.")
        weight = self.weight if epoch > self.warmup else 0.0  # 0 keeps every parameter in the graph, as DDP wants
        dtype = torch.promote_types(sr.dtype, torch.float32)
        return F.l1_loss(sr.to(dtype), hr.to(dtype)) + weight * block_loss

    def extra_repr(self) -> str:
        return f"weight={self.weight}, warmup={self.warmup}"
