"""One safetensors file: tensors, and the description of their model in its header, which is read first."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cclnn._files import write_atomically
from cclnn._typing import Tensor
from cclnn._version import __version__
from cclnn.hub.description import LONGEST, Description, differing, parse
from cclnn.hub.names import unwrap

HEADER = "cclnn"  # the one key of the safetensors metadata: the order of several is random
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
STORED = (torch.float32, torch.bfloat16, torch.float16)
READ, WHOLE = ("F32", "BF16", "F16", "F64"), "I64"  # safetensors' names; whole numbers count batches in normalisations


@dataclass(frozen=True)
class Container:
    """An open file, of which only the header has been read: tensors' names without wrappers' prefixes."""

    source: str
    description: Description
    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    file: Any

    def tensors(self) -> dict[str, Tensor]:
        """The numbers, which must be finite."""
        tensors = {ours: self.file.get_tensor(stored) for ours, stored in self.names.items()}
        check_finite(tensors, self.source)
        return tensors

    def wrong_types(self, needed: Mapping[str, Tensor]) -> list[str]:
        """Tensors stored as floating-point numbers where `needed` has whole ones, or the other way round, in words."""
        problems = []
        for name, kind in self.types.items():
            whole = name in needed and not needed[name].is_floating_point()
            if kind != WHOLE if whole else kind not in READ:
                problems.append(f"{name} is stored as {kind}, not as {'a whole number' if whole else 'a float'}")
        return problems


@contextmanager
def open_container(path: str | os.PathLike[str], *, config: str | None = None) -> Iterator[Container]:
    """Open a weights file.

    Args:
        path: a file written by cclnn, or any safetensors file if `config` is given.
        config: the text of the config.json beside it; must agree with the header's, where there is one.
    """
    path, source = Path(path), repr(str(path))
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {source}.")
    try:
        with safe_open(path, framework="pt") as file:
            names = unwrap(file.keys(), source)
            description = _description(file.metadata() or {}, config, source)
            slices = {ours: file.get_slice(stored) for ours, stored in names.items()}
            shapes = {name: tuple(piece.get_shape()) for name, piece in slices.items()}
            types = {name: piece.get_dtype() for name, piece in slices.items()}
            yield Container(source, description, names, shapes, types, file)
    except SafetensorError as error:
        raise ValueError(f"{source} is not a readable safetensors file: {error}.") from error


def _description(header: Mapping[str, str], config: str | None, source: str) -> Description:
    texts = {"header": header.get(HEADER), CONFIG: config}
    found = {name: parse(text, f"{source} ({name})") for name, text in texts.items() if text is not None}
    if not found:
        raise ValueError(f"{source} holds no cclnn configuration in its header; was it written by cclnn?")
    if len(found) == 2 and found["header"] != found[CONFIG]:
        raise ValueError(
            f"{source}: its header and the {CONFIG} beside it differ: {differing(found['header'], found[CONFIG])}."
        )
    return next(iter(found.values()))


def read_config(path: Path) -> str:
    """The text of a config.json."""
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{str(path)!r}: a configuration has at most {LONGEST} bytes, got {path.stat().st_size}.")
    return path.read_text(encoding="utf-8", errors="replace")


def check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError where a tensor holds NaN or infinity."""
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise ValueError(f"{source} holds numbers that are not finite, in {', '.join(broken[:10])}.")


def write_container(tensors: Mapping[str, Tensor], description: Description, path: Path) -> None:
    """Write one safetensors file, atomically, with the description in its header."""
    header = {HEADER: json.dumps({"version": __version__, **description.as_json()})}
    write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata=header))
