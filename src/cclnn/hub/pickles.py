"""Checkpoint files in PyTorch's pickle format: read once, for conversion, by the unpickler that knows only tensors."""

import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cclnn._typing import Tensor
from cclnn.hub.names import unpack

ZIP = b"PK\x03\x04"
OFFENCE = re.compile(
    r"GLOBAL [\w.]+|Unsupported operand \d+"
)  # in what torch says; the rest is advice to trust the file


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .safetensors file, or in a .pt/.pth/.bin file through `torch.load(weights_only=True)`.

    Raises:
        FileNotFoundError: no such file. ValueError: it holds anything but tensors and plain containers, is damaged, or
            would grow when read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {str(path)!r}.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{str(path)!r} is not a readable safetensors file: {error}.") from error
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles by other programs than torch.save
            checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # the unpickler fails in many ways on bytes that are made to break it
        offence = OFFENCE.search(str(error))
        reason = offence[0] if offence else str(error).split("\n")[0].split(". ")[0]
        raise ValueError(
            f"{str(path)!r} is refused: it holds more than tensors and plain containers, or is damaged. Reading it in "
            f"full could run code of whoever wrote it. ({type(error).__name__}: {reason})"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"{str(path)!r} must hold a state dict, got {type(checkpoint).__name__}.")
    return unpack(checkpoint, repr(str(path)))


def check_archive(path: Path) -> None:
    """Raise ValueError for a zip file that torch.save does not write: compressed, or claiming more than it holds."""
    with path.open("rb") as file:
        if file.read(4) != ZIP:  # how torch tells: else its format before 1.6, a pickle and then the numbers
            return
    try:
        with zipfile.ZipFile(path) as archive:
            members: list[Any] = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ValueError(f"{str(path)!r} is refused: it is a damaged zip archive ({error}).") from error
    size = path.stat().st_size
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(
            f"{str(path)!r} is refused: torch.save never compresses, but {packed[0]!r} in it is compressed."
        )
    claimed = sum(max(member.file_size, member.compress_size) for member in members)
    if claimed > size:
        raise ValueError(f"{str(path)!r} is refused: its parts claim {claimed} bytes, the file has {size}.")
