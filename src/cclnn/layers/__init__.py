"""Building blocks: nn.Modules for any network, one idea a file."""

from cclnn.layers.ccln_block import CCLNBlock
from cclnn.layers.channel_attention import ChannelAttention, ChannelContrastiveAttention
from cclnn.layers.mean_shift import MeanShift
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.layers.pixel_attention import PixelAttention
from cclnn.layers.residual import ResBlock
from cclnn.layers.residual_channel_attention import ResidualChannelAttentionBlock, ResidualGroup
from cclnn.layers.upsampler import Upsampler

__all__ = [
    "CCLNBlock",
    "ChannelAttention",
    "ChannelContrastiveAttention",
    "MeanShift",
    "NonLocalSparseAttention",
    "PixelAttention",
    "ResBlock",
    "ResidualChannelAttentionBlock",
    "ResidualGroup",
    "Upsampler",
]
