"""Explain a network's results: local attribution maps, which pixels attend to which, and the weights of channels."""

from cclnn.attribution.blocks import Attended, ChannelWeights, attended_pixels, channel_weights
from cclnn.attribution.health import AttentionHealth, LayerHealth, attention_health, replaced_attention
from cclnn.attribution.lam import (
    Attribution,
    PointAttribution,
    blur_path,
    diffusion_index,
    gini,
    local_attribution_map,
    point_attribution,
)

__all__ = [
    "Attended",
    "AttentionHealth",
    "Attribution",
    "ChannelWeights",
    "LayerHealth",
    "PointAttribution",
    "attended_pixels",
    "attention_health",
    "blur_path",
    "channel_weights",
    "diffusion_index",
    "gini",
    "local_attribution_map",
    "point_attribution",
    "replaced_attention",
]
