"""One model, one safetensors file: weights, with the configuration that rebuilds the model in the header."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cclnn._checks import check_choice
from cclnn._files import write_atomically
from cclnn._typing import Tensor
from cclnn._version import __version__
from cclnn.hub.card import model_card
from cclnn.hub.config import LONGEST, build, check, describe, parse
from cclnn.hub.names import unwrap
from cclnn.models._base import SRModel

HEADER = "cclnn"  # the one key of the safetensors metadata: the order of several is random
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
STORED = (torch.float32, torch.bfloat16, torch.float16)
LISTED = 50  # problems in one message
READ = ("F32", "BF16", "F16", "F64")  # safetensors' names


def read_file(path: str | os.PathLike[str], *, config: str | None = None) -> SRModel:
    """The model in a safetensors file: float32, in eval mode; every key and shape must match.

    Nothing is allocated before configuration, names, types and shapes, all read from the header, fit each other.

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
            shapes, types = {}, {}
            for ours, stored in names.items():
                piece = file.get_slice(stored)
                shapes[ours], types[ours] = tuple(piece.get_shape()), piece.get_dtype()
            twin = build(description, source, device="meta")
            other = [f"{name} is stored as {kind}, not as a float" for name, kind in types.items() if kind not in READ]
            check_fit(twin, shapes, source, other)
            tensors = {ours: file.get_tensor(stored) for ours, stored in names.items()}
    except SafetensorError as error:
        raise ValueError(f"{source} is not a readable safetensors file: {error}.") from error
    check_finite(tensors, source)
    model = build(description, source, device="cpu")
    load_strictly(model, tensors, source)
    return model.eval()


def read_folder(folder: str | os.PathLike[str]) -> SRModel:
    """The model that `save_pretrained` wrote; config.json may be absent, as the weights' header holds the same."""
    folder = Path(folder)
    return read_file(folder / WEIGHTS, config=read_config(folder / CONFIG) if (folder / CONFIG).is_file() else None)


def read_config(path: Path) -> str:
    """The text of a config.json."""
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{str(path)!r}: a configuration has at most {LONGEST} bytes, got {path.stat().st_size}.")
    return path.read_text(encoding="utf-8", errors="replace")


def _description(header: Mapping[str, str], config: str | None, source: str) -> dict[str, Any]:
    texts = {"header": header.get(HEADER), CONFIG: config}
    found = {name: parse(text, f"{source} ({name})") for name, text in texts.items() if text is not None}
    if not found:
        raise ValueError(f"{source} holds no cclnn configuration in its header; was it written by cclnn?")
    if len(found) == 2 and found["header"] != found[CONFIG]:
        raise ValueError(
            f"{source}: its header and the {CONFIG} beside it differ: {_differing(found['header'], found[CONFIG])}."
        )
    return next(iter(found.values()))


def _differing(header: dict[str, Any], config: dict[str, Any]) -> str:
    if header["architecture"] != config["architecture"]:
        return f"architecture is {header['architecture']!r} and {config['architecture']!r}"
    ours, theirs = header["arguments"], config["arguments"]
    return ", ".join(f"{name} is {ours[name]!r} and {theirs[name]!r}" for name in ours if ours[name] != theirs[name])


def load_strictly(model: SRModel, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into the model; a missing, unexpected or misshapen one is an error that lists them all."""
    check_fit(model, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    model.load_state_dict(dict(tensors))


def check_fit(model: SRModel, shapes: Mapping[str, tuple[int, ...]], source: str, others: Sequence[str] = ()) -> None:
    """Raise ValueError that lists missing, unexpected and misshapen tensors, and `others`' problems; no numbers needed.

    A model on "meta" will do.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = sorted([*differences(own, shapes), *others])
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ValueError(f"{source} does not fit {type(model).__name__}: {'; '.join(problems[:LISTED])}{more}.")


def differences(needed: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is missing, unexpected and misshapen, in words; empty if two sets of names and shapes are equal."""
    problems = [f"missing {name}" for name in needed.keys() - found.keys()]
    problems += [f"unexpected {name}" for name in found.keys() - needed.keys()]
    problems += [
        f"{name} has shape {found[name]}, needs {needed[name]}"
        for name in needed.keys() & found.keys()
        if needed[name] != found[name]
    ]
    return problems


def check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError where a tensor holds NaN or infinity."""
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise ValueError(f"{source} holds numbers that are not finite, in {', '.join(broken[:10])}.")


def write_file(model: SRModel, path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Store the model's weights as `dtype` (float32, bfloat16 or float16) in one safetensors file, atomically.

    Tensors that the model shares are stored once for each of their names.
    """
    _write(pack(model, dtype), Path(path))


def pack(model: SRModel, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header to store, on the CPU; what could not be loaded again is an error now."""
    check_choice("dtype", dtype, STORED)
    description, kind = describe(model), type(model).__name__
    check(description, kind)
    state = model.state_dict()
    tensors = {
        ours: state[name].detach().to("cpu", dtype, copy=True).contiguous()
        for ours, name in unwrap(state, kind).items()
    }
    check_finite(tensors, f"{kind} as {str(dtype).removeprefix('torch.')}")
    return tensors, {HEADER: json.dumps({"version": __version__, **description})}


def _write(packed: tuple[dict[str, Tensor], dict[str, str]], path: Path) -> None:
    tensors, header = packed
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def save_pretrained(
    model: SRModel,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json, model.safetensors and README.md into `folder` (made if need be), each atomically.

    Weights come last but carry their configuration: if the folder is half written, `read_folder` says so.
    """
    folder, packed = Path(folder), pack(model, dtype)
    readme = model_card(model, card or {})
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(describe(model), indent=2) + "\n"
    write_atomically(folder / CARD, lambda temporary: temporary.write_text(readme, encoding="utf-8"))
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    _write(packed, folder / WEIGHTS)
