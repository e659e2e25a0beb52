"""Images of any size through a network, tile by tile."""

from cclnn.upscaler.ensemble import self_ensemble
from cclnn.upscaler.images import Upscaler, upscale
from cclnn.upscaler.tiles import spans, stitch

__all__ = ["Upscaler", "self_ensemble", "spans", "stitch", "upscale"]
