"""Training losses of the CCLN paper."""

from cclnn.losses.collecting import collect_losses
from cclnn.losses.contrastive import ChannelContrastiveLoss, channel_contrastive_loss
from cclnn.losses.momentum_contrast import MomentumContrast, momentum_contrast_loss
from cclnn.losses.objective import CCLNNLoss
from cclnn.losses.sparsity import ChannelSparsityLoss, channel_sparsity_loss

__all__ = [
    "CCLNNLoss",
    "ChannelContrastiveLoss",
    "ChannelSparsityLoss",
    "MomentumContrast",
    "channel_contrastive_loss",
    "channel_sparsity_loss",
    "collect_losses",
    "momentum_contrast_loss",
]
