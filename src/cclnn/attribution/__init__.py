"""Where a network looks: local attribution maps, the pixels that attend to each other, the channels that count."""

from cclnn.attribution.blocks import Attended, ChannelWeights, attended_pixels, channel_weights
from cclnn.attribution.lam import Attribution, blur_path, diffusion_index, gini, local_attribution_map

__all__ = [
    "Attended",
    "Attribution",
    "ChannelWeights",
    "attended_pixels",
    "blur_path",
    "channel_weights",
    "diffusion_index",
    "gini",
    "local_attribution_map",
]
