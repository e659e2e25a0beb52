"""Building blocks for any network, each an nn.Module."""

from cclnn.layers.cbam import CBAM, ChannelGate, SpatialAttention
from cclnn.layers.ccln_block import CCLNBlock
from cclnn.layers.channel_attention import ChannelAttention, ChannelContrastiveAttention
from cclnn.layers.channel_spatial_attention import ChannelSpatialAttention
from cclnn.layers.cross_scale_attention import CrossScaleAttention
from cclnn.layers.degradation_aware import (
    DegradationAwareBlock,
    DegradationAwareConv,
    DegradationAwareGroup,
    DegradationEncoder,
)
from cclnn.layers.directional_variance import (
    DirectionalVarianceAttention,
    DirectionalVarianceBlock,
    DirectionalVarianceGroup,
)
from cclnn.layers.efficient_non_local_attention import EfficientNonLocalContrastiveAttention
from cclnn.layers.feedback_block import FeedbackBlock
from cclnn.layers.layer_attention import LayerAttention
from cclnn.layers.mean_shift import MeanShift
from cclnn.layers.mutual_affine import MutualAffineBlock, MutualAffineConv
from cclnn.layers.nearest_upsampler import NearestUpsampler
from cclnn.layers.non_local_attention import NonLocalAttention
from cclnn.layers.non_local_block import NonLocalBlock
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.layers.pixel_attention import PixelAttention
from cclnn.layers.pixel_attention_conv import AttentionInAttentionBlock, PixelAttentionConv, SelfCalibratedBlock
from cclnn.layers.residual import ResBlock
from cclnn.layers.residual_attention import AttentionMask, ResidualAttention
from cclnn.layers.residual_channel_attention import ResidualChannelAttentionBlock, ResidualGroup
from cclnn.layers.self_exemplars import MultiSourceFusion, SelfExemplarsMining
from cclnn.layers.upsampler import Upsampler
from cclnn.layers.weight_norm_conv import WeightNormConv2d

__all__ = [
    "CBAM",
    "AttentionInAttentionBlock",
    "AttentionMask",
    "CCLNBlock",
    "ChannelAttention",
    "ChannelContrastiveAttention",
    "ChannelGate",
    "ChannelSpatialAttention",
    "CrossScaleAttention",
    "DegradationAwareBlock",
    "DegradationAwareConv",
    "DegradationAwareGroup",
    "DegradationEncoder",
    "DirectionalVarianceAttention",
    "DirectionalVarianceBlock",
    "DirectionalVarianceGroup",
    "EfficientNonLocalContrastiveAttention",
    "FeedbackBlock",
    "LayerAttention",
    "MeanShift",
    "MultiSourceFusion",
    "MutualAffineBlock",
    "MutualAffineConv",
    "NearestUpsampler",
    "NonLocalAttention",
    "NonLocalBlock",
    "NonLocalSparseAttention",
    "PixelAttention",
    "PixelAttentionConv",
    "ResBlock",
    "ResidualAttention",
    "ResidualChannelAttentionBlock",
    "ResidualGroup",
    "SelfCalibratedBlock",
    "SelfExemplarsMining",
    "SpatialAttention",
    "Upsampler",
    "WeightNormConv2d",
]
