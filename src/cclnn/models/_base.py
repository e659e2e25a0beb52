"""What every network of the library is: a module that knows its scale and how to build itself again."""

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Self


class SRModel(nn.Module):
    """A super-resolution network: image (b 3 h w) in [0, 1] to image (b 3 scale*h scale*w), not clamped.

    Args:
        scale: output size / input size.
        config: the architecture's own constructor arguments, JSON-able: `type(model)(**model.config)` is its twin.
    """

    def __init__(self, scale: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.scale = scale
        self.config = config

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> "Self":
        """`cclnn.load(source)`, which must hold a model of this class."""
        from cclnn.hub.pretrained import load  # the hub imports the models; only these two methods look back

        model = load(source)
        if not isinstance(model, cls):
            held = type(model).__name__
            raise ValueError(f"`source`={str(source)!r} holds a model of class {held}, not {cls.__name__}.")
        return model

    def save_pretrained(self, folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
        """Write `config.json` and `model.safetensors` (stored as `dtype`) into `folder`; see `cclnn.load`."""
        from cclnn.hub import checkpoint

        checkpoint.save_pretrained(self, folder, dtype=dtype)
