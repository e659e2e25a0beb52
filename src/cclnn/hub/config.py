"""The description of a model (config.json) -> a model, and back; what others wrote is checked before it is used."""

import inspect
import json
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import torch
from torch.overrides import TorchFunctionMode

from cclnn._checks import check_choice
from cclnn.models._base import SRModel
from cclnn.models._registry import ARCHITECTURES

SCHEMA = 1
LONGEST = 65_536  # characters of a description
NOT_STORED = ("self", "backend")  # of a constructor

# Argument -> least and largest value that a file may ask for. Others: by type.
LIMITS: dict[str, tuple[float, float]] = {
    "scale": (1, 16),
    "channels": (1, 1024),
    "n_resblocks": (1, 256),
    "n_hashes": (1, 16),
    "chunk_size": (1, 65_536),
    "res_scale": (-100, 100),
    "ratio": (0, 1),
    "margin": (-1000, 1000),
    "rgb_range": (1e-3, 65_535),
    "seed": (0, 2**32 - 1),
}
LIMITS_BY_TYPE: dict[type, tuple[float, float]] = {int: (0, 1024), float: (-1e6, 1e6)}


def describe(model: SRModel) -> dict[str, Any]:
    """What config.json holds: schema version, architecture, constructor arguments."""
    return {"schema": SCHEMA, "architecture": type(model).__name__, "arguments": model.config}


def parse(text: str, source: str) -> dict[str, Any]:
    """The description in a JSON text, its arguments checked; `source` is named in errors."""
    if len(text) > LONGEST:
        raise ValueError(f"{source}: a configuration has at most {LONGEST} characters, got {len(text)}.")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: the configuration is not JSON: {error}.") from error
    if not isinstance(description, dict):
        raise ValueError(f"{source}: the configuration must be a JSON object, got {type(description).__name__}.")
    description.pop("version", None)  # of the cclnn that wrote it
    check(description, source)
    return description


def check(description: Mapping[str, Any], source: str) -> None:
    """Raise ValueError unless schema, architecture and every argument are known, of the right type and in range."""
    if type(description.get("schema")) is not int or description["schema"] != SCHEMA:  # True == 1
        raise ValueError(f"{source}: schema must be {SCHEMA}, got {description.get('schema')!r}. Is cclnn up to date?")
    name, arguments = description.get("architecture"), description.get("arguments")
    check_choice(f"{source}: architecture", name, sorted(ARCHITECTURES))
    if not isinstance(arguments, dict):
        raise ValueError(f"{source}: `arguments` must be a JSON object, got {type(arguments).__name__}.")
    parameters = inspect.signature(ARCHITECTURES[str(name)].__init__).parameters
    needed = {key: parameter for key, parameter in parameters.items() if key not in NOT_STORED}
    problems = [f"missing {key}" for key in needed.keys() - arguments.keys()]
    problems += [f"unexpected {key}" for key in arguments.keys() - needed.keys()]
    problems += [f"unexpected {key}" for key in description.keys() - {"schema", "architecture", "arguments"}]
    for key in needed.keys() & arguments.keys():
        problems += _problem_of(key, arguments[key], needed[key].annotation)
    if problems:
        raise ValueError(f"{source}: `arguments` do not fit {name}: {'; '.join(sorted(problems))}.")


def _problem_of(name: str, value: object, annotation: Any) -> list[str]:
    if not _is_a(value, annotation):
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        return [f"{name} must be {kind}, got {_shortened(value)}"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    low, high = LIMITS.get(name) or LIMITS_BY_TYPE[type(value)]
    if not low <= value <= high:  # nor NaN
        return [f"{name} must lie in [{low}, {high}], got {_shortened(value)}"]
    return []


def _is_a(value: object, annotation: Any) -> bool:
    """Whether a JSON value has the annotated type; an integer may stand for a float, True not for 1."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_a(value, part) for part in get_args(annotation))
    if get_origin(annotation) is Literal:
        return isinstance(value, str) and value in get_args(annotation)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _shortened(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 200:  # printing more digits is an error of its own
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


class _Blank(TorchFunctionMode):
    """Parameters are made on `device` and left as `torch.empty` made them; constants are computed as always.

    Weights from a file replace them all. Not `torch.device("meta")`: under it MeanShift's `torch.eye` would import
    torch._dynamo, which takes longer than everything else that loading does.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is torch.empty:
            kwargs = {**kwargs, "device": self.device}
        return func(*args, **kwargs)


def build(description: Mapping[str, Any], source: str, *, device: str) -> SRModel:
    """The model that a description, which `check` has passed, describes; see `blank`."""
    architecture = ARCHITECTURES[description["architecture"]]
    try:
        return blank(architecture, description["arguments"], device=device)
    except (TypeError, ValueError) as error:  # what only the constructor knows: divisibility, powers of two
        raise ValueError(f"{source}: `arguments` do not fit {architecture.__name__}: {error}") from error


def blank(architecture: type[SRModel], arguments: Mapping[str, Any], *, device: str) -> SRModel:
    """A model with parameters that hold anything ("cpu"), or that have a shape and no memory ("meta").

    The global random state is as it was.
    """
    with torch.random.fork_rng(devices=[]), _Blank(device):
        return architecture(**arguments)
