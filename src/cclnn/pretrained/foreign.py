"""Networks of other projects in checkpoint files, loaded through the library spandrel (extra `spandrel`)."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from cclnn._typing import Float, Tensor
from cclnn.hub.container import HEADER
from cclnn.hub.pickles import read_state_dict
from cclnn.models._architecture import Architecture, LowPrecision
from cclnn.models._base import SRModel
from cclnn.pretrained.onnx_file import OnnxModel

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
NEEDED = 'cclnn runs networks of other projects through spandrel: pip install "cclnn[spandrel]"'


class ForeignModel(nn.Module):
    """A network of another project: RGB image (b 3 h w) in [0, 1] to RGB image (b 3 scale*h scale*w).

    Args:
        descriptor: the `spandrel.ImageModelDescriptor` that knows the network's scale and how it is called.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        formats: tuple[tuple[bool, LowPrecision], ...] = (
            (descriptor.supports_bfloat16, "bf16"),
            (descriptor.supports_half, "fp16"),
        )
        self.scale: int = descriptor.scale
        self.network: nn.Module = descriptor.model
        self.architecture = Architecture(
            title=descriptor.architecture.name,
            paper="",
            year=0,
            url="",
            summary="",
            variants={},
            low_precision=tuple(name for supported, name in formats if supported),
        )
        self._descriptor = descriptor

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        sr: Tensor = self._descriptor(x)  # pads to the sizes that the network takes, and clamps
        return sr

    def extra_repr(self) -> str:
        return f"{self.architecture.title}, scale={self.scale}"


def is_foreign(source: str | os.PathLike[str]) -> bool:
    """Whether `source` is a checkpoint file that cclnn did not write: one without cclnn's description in its header."""
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER not in (file.metadata() or {})
    except SafetensorError:
        return False  # `load` says what is wrong with it


def load_foreign(path: str | os.PathLike[str]) -> ForeignModel:
    """The network in a checkpoint file of another project, in eval mode, in float32.

    Nothing but tensors is unpickled: the file is read as `cclnn convert` reads released checkpoints, and spandrel gets
    the tensors.

    Raises:
        ImportError: spandrel cannot be imported. FileNotFoundError: no such file.
        ValueError: the file holds more than tensors, spandrel knows no network with these tensors, or the network does
            not turn an RGB image into an RGB image.
    """
    try:
        import spandrel
    except ImportError as error:
        raise ImportError(f"{str(path)!r} holds no model of cclnn, and {NEEDED} ({error})") from error
    state = read_state_dict(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations in the network's own code are not the user's
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    except spandrel.UnsupportedModelError as error:
        raise ValueError(f"{str(path)!r} holds a network that neither cclnn nor spandrel knows.") from error
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:  # tensors that fit no network in the end
        raise ValueError(f"spandrel cannot build the network in {str(path)!r}: {str(error).splitlines()[0]}") from error
    name = descriptor.architecture.name
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ValueError(f"{str(path)!r} holds a {name}, which takes a mask beside the image: cclnn cannot run it.")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        channels = f"{descriptor.input_channels} channels to {descriptor.output_channels}"
        raise ValueError(f"{str(path)!r} holds a {name} from {channels}; RGB to RGB is needed.")
    return ForeignModel(descriptor.to(torch.float32)).eval()


Network = SRModel | ForeignModel | OnnxModel
