"""Networks in ONNX files, run by onnxruntime (extra `export`)."""

import os
from pathlib import Path

import torch
from torch import nn

from cclnn._checks import check_shape
from cclnn._typing import Float, Tensor
from cclnn.models._architecture import Architecture

NEEDED = 'ONNX files are run by onnxruntime: pip install "cclnn[export]"'


class OnnxModel(nn.Module):
    """A network in an ONNX file: RGB image (b 3 h w) in [0, 1] to RGB image (b 3 scale*h scale*w), on the CPU.

    Made by `cclnn.export`, or by anyone who names the scale in the file's metadata.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{NEEDED} ({error})") from error
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {str(path)!r}.")
        try:
            self.session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of damage
            raise ValueError(f"{str(path)!r} is no ONNX file that onnxruntime can run: {error}") from error
        self.facts: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        if not self.facts.get("scale", "").isdigit():
            raise ValueError(f"{str(path)!r} does not name its scale: its metadata needs `scale`, a whole number.")
        self.scale = int(self.facts["scale"])
        self.tile = int(self.facts["tile"]) if self.facts.get("tile", "").isdigit() else None
        title = self.facts.get("name", Path(path).stem)
        self.architecture = Architecture(
            title=title, paper="", year=0, url="", summary="", variants={}, low_precision=()
        )
        self._input = self.session.get_inputs()[0].name

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        check_shape("x", x, "b c h w", c=3)
        (sr,) = self.session.run(None, {self._input: x.detach().float().cpu().numpy()})
        return torch.from_numpy(sr).to(x)

    def extra_repr(self) -> str:
        return f"{self.architecture.title}, scale={self.scale}"


def is_onnx(source: str | os.PathLike[str]) -> bool:
    """Whether `source` names an ONNX file."""
    return Path(source).suffix.lower() == ".onnx"
