"""Image super-resolution building blocks: layers, models, weights, an upscaler.

    import cclnn
    cclnn.upscale(image, model="cclnn-s-x2")  # PIL image, HWC array or BCHW tensor in, the same kind out

Names load when first used, so that `import cclnn` costs little more than `import torch`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cclnn._version import __version__

if TYPE_CHECKING:
    from cclnn import (
        attribution,
        evaluation,
        export,
        hub,
        image,
        integrations,
        layers,
        losses,
        metrics,
        models,
        ops,
        precision,
        pretrained,
        upscaler,
    )
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
    from cclnn.pretrained import convert_official, list_pretrained, load
    from cclnn.upscaler import Upscaler, upscale

_MODULES = (
    "attribution",
    "evaluation",
    "export",
    "hub",
    "image",
    "integrations",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "precision",
    "pretrained",
    "upscaler",
)
_HOME = {  # public name -> the module that defines it
    "CCLNBlock": "layers",
    "CCLNN": "models",
    "ChannelAttention": "layers",
    "ChannelContrastiveAttention": "layers",
    "EDSR": "models",
    "MeanShift": "layers",
    "NLSN": "models",
    "NonLocalSparseAttention": "layers",
    "PixelAttention": "layers",
    "ResBlock": "layers",
    "Upsampler": "layers",
    "Upscaler": "upscaler",
    "convert_official": "pretrained",
    "create_model": "models",
    "list_models": "models",
    "list_pretrained": "pretrained",
    "load": "pretrained",
    "upscale": "upscaler",
}

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
    "export",
    "hub",
    "image",
    "integrations",
    "layers",
    "list_models",
    "list_pretrained",
    "load",
    "losses",
    "metrics",
    "models",
    "ops",
    "precision",
    "pretrained",
    "upscale",
    "upscaler",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cclnn.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"cclnn.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cclnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
