"""Images of any size through a network, tile by tile."""

from cclnn._errors import reason, retry
from cclnn.upscaler.automatic import upscale
from cclnn.upscaler.ensemble import self_ensemble
from cclnn.upscaler.files import FileUpscaler, UpscaledFile
from cclnn.upscaler.images import Upscaler
from cclnn.upscaler.tiles import spans, stitch

__all__ = ["FileUpscaler", "UpscaledFile", "Upscaler", "reason", "retry", "self_ensemble", "spans", "stitch", "upscale"]
