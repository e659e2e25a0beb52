"""One model, one safetensors file: weights, with the configuration that rebuilds the model in the header."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cclnn._checks import check_choice
from cclnn._files import write_atomically
from cclnn._typing import Tensor
from cclnn._version import __version__
from cclnn.models._base import SRModel
from cclnn.models._registry import ARCHITECTURES

SCHEMA = 1
HEADER = "cclnn"  # the one key of the safetensors metadata: the order of several is random
CONFIG, WEIGHTS = "config.json", "model.safetensors"
STORED = (torch.float32, torch.bfloat16, torch.float16)


def describe(model: SRModel) -> dict[str, Any]:
    """What config.json holds: schema version, architecture, constructor arguments."""
    return {"schema": SCHEMA, "architecture": type(model).__name__, "arguments": model.config}


def build(description: dict[str, Any], source: str) -> SRModel:
    """A model with random weights from what `describe` gave; `source` is named in errors."""
    if description.get("schema") != SCHEMA:
        raise ValueError(f"{source}: schema must be {SCHEMA}, got {description.get('schema')!r}. Is cclnn up to date?")
    name = description.get("architecture")
    check_choice(f"{source}: architecture", name, sorted(ARCHITECTURES))
    try:
        return ARCHITECTURES[str(name)](**description["arguments"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source}: `arguments` do not fit {name}: {error}.") from error


def write_file(model: SRModel, path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Store the model's weights as `dtype` (float32, bfloat16 or float16) in one safetensors file, atomically."""
    check_choice("dtype", dtype, STORED)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    header = {
        HEADER: json.dumps({"version": __version__, **describe(model)})
    }  # one key: the order of several is random
    write_atomically(Path(path), lambda temporary: save_file(tensors, temporary, metadata=header))


def read_file(path: str | os.PathLike[str]) -> SRModel:
    """The model that `write_file` stored: float32, in eval mode; every key and shape must match."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a readable safetensors file: {error}.") from error
    try:
        description = json.loads(header[HEADER])
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} holds no cclnn configuration in its header; was it written by cclnn?"
        ) from error
    model = build(description, str(path))
    load_strictly(model, tensors, str(path))
    return model.eval()


def load_strictly(model: SRModel, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into the model; a missing, unexpected or misshapen one is an error that lists them all."""
    own = model.state_dict()
    problems = [f"missing {name}" for name in own.keys() - tensors.keys()]
    problems += [f"unexpected {name}" for name in tensors.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, needs {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if problems:
        raise ValueError(f"{source} does not fit {type(model).__name__}: {'; '.join(sorted(problems))}.")
    model.load_state_dict(tensors)


def save_pretrained(model: SRModel, folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Write config.json and model.safetensors into `folder` (made if need be), each atomically."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(model, folder / WEIGHTS, dtype=dtype)
    text = json.dumps(describe(model), indent=2) + "\n"
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text))
