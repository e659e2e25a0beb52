"""Image super-resolution building blocks: layers, models, weights, an upscaler.

    import cclnn
    cclnn.upscale(image, model="cclnn-t-x2")  # PIL image, HWC array or BCHW tensor in, the same kind out

Names load when first used, so that `import cclnn` costs little more than `import torch`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cclnn._version import __version__

if TYPE_CHECKING:
    from cclnn import attribution, evaluation, hub, layers, losses, metrics, models, ops
    from cclnn.hub.convert import convert_official
    from cclnn.hub.pretrained import list_pretrained, load
    from cclnn.layers import (
        CCLNBlock,
        ChannelAttention,
        ChannelContrastiveAttention,
        MeanShift,
        NonLocalSparseAttention,
        PixelAttention,
        ResBlock,
        Upsampler,
    )
    from cclnn.models import CCLNN, EDSR, NLSN, create_model, list_models
    from cclnn.upscaler import Upscaler, upscale

_HOME = {
    "CCLNBlock": "cclnn.layers",
    "CCLNN": "cclnn.models",
    "ChannelAttention": "cclnn.layers",
    "ChannelContrastiveAttention": "cclnn.layers",
    "EDSR": "cclnn.models",
    "MeanShift": "cclnn.layers",
    "NLSN": "cclnn.models",
    "NonLocalSparseAttention": "cclnn.layers",
    "PixelAttention": "cclnn.layers",
    "ResBlock": "cclnn.layers",
    "Upsampler": "cclnn.layers",
    "Upscaler": "cclnn.upscaler",
    "convert_official": "cclnn.hub",
    "create_model": "cclnn.models",
    "list_models": "cclnn.models",
    "list_pretrained": "cclnn.hub",
    "load": "cclnn.hub",
    "upscale": "cclnn.upscaler",
}
_FOLDERS = ("attribution", "evaluation", "hub", "layers", "losses", "metrics", "models", "ops")

__all__ = [
    "CCLNN",
    "EDSR",
    "NLSN",
    "CCLNBlock",
    "ChannelAttention",
    "ChannelContrastiveAttention",
    "MeanShift",
    "NonLocalSparseAttention",
    "PixelAttention",
    "ResBlock",
    "Upsampler",
    "Upscaler",
    "__version__",
    "attribution",
    "convert_official",
    "create_model",
    "evaluation",
    "hub",
    "layers",
    "list_models",
    "list_pretrained",
    "load",
    "losses",
    "metrics",
    "models",
    "ops",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f"cclnn.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cclnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
