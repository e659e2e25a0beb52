"""A model -> files, and back. Files of others are checked against the class before a number is read."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from cclnn._arguments import problems_of
from cclnn._checks import check_choice
from cclnn._device import usable_device
from cclnn._files import write_atomically
from cclnn._typing import Tensor
from cclnn.hub.card import model_card
from cclnn.hub.container import CARD, CONFIG, STORED, WEIGHTS, check_finite, open_container, write_container
from cclnn.hub.description import Description
from cclnn.hub.files import Files
from cclnn.hub.names import unwrap
from cclnn.hub.source import SCHEME
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.models._configured import ConfiguredModel
from cclnn.ops.sparse_attention import BACKENDS, Backend

COMPUTED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
LISTED = 50  # problems in one message


ModelT = TypeVar("ModelT", bound=nn.Module)


def read_model(
    class_of: Callable[[str], type[ModelT]],
    files: Files,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> ModelT:
    """The model in a weights file, in eval mode; every key and shape must match.

    Nothing is allocated before configuration, names, types and shapes, all read from the header, fit each other.

    Args:
        class_of: the name that the file gives -> the class to build; raises ValueError for a name it does not allow.
        files: what was opened.
        device: where the model goes.
        dtype: of its parameters; None is float32, whatever is stored.
        backend: of its sparse attentions; one that has none takes "auto" only.
    """
    check_choice("backend", backend, BACKENDS)
    dtype = torch.float32 if dtype is None else dtype
    check_choice("dtype", dtype, COMPUTED)
    device = usable_device(device)
    with open_container(files.weights, config=files.config) as container:
        kind = class_of(container.description.architecture)
        model = build(kind, container.description.arguments, container.source)
        check_fit(model, container.shapes, container.source, container.wrong_types(model.state_dict()))
        tensors = container.tensors()
    _choose_backend(model, backend)
    fill(model, {name: x.to(torch.float32 if x.is_floating_point() else x.dtype) for name, x in tensors.items()})
    return model.to(device=device, dtype=dtype).eval()


def _choose_backend(model: nn.Module, backend: Backend) -> None:
    attentions = [module for module in model.modules() if isinstance(module, NonLocalSparseAttention)]
    if backend != "auto" and not attentions:
        raise ValueError(f"`backend`={backend!r}: this {type(model).__name__} has no sparse attention. Use 'auto'.")
    for attention in attentions:
        attention.backend = backend


def build(kind: type[ModelT], arguments: Mapping[str, Any], source: str) -> ModelT:
    """A model on the meta device: all its shapes, none of its numbers; `fill` gives it those.

    Raises:
        ValueError: an argument that is missing, unexpected, of another type or out of range; `source` is named.
    """
    check_arguments(kind, arguments, source)
    try:
        return weightless(kind, arguments)
    except (TypeError, ValueError) as error:  # what only the constructor knows: divisibility, powers of two
        raise ValueError(f"{source}: `arguments` do not fit {kind.__name__}: {error}") from error


def weightless(kind: type[ModelT], arguments: Mapping[str, Any]) -> ModelT:
    """`kind(**arguments)` on the meta device; constants that no file holds are real. No random number is drawn."""
    with torch.random.fork_rng(devices=[]):
        return kind(**arguments, device="meta")


def check_arguments(kind: type, arguments: Mapping[str, Any], source: str) -> None:
    """Raise ValueError, naming `source`, unless a file may ask for `kind(**arguments)`."""
    if problems := problems_of(kind, arguments):
        raise ValueError(f"{source}: `arguments` do not fit {kind.__name__}: {'; '.join(problems)}.")


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model on the meta device its tensors, which `check_fit` has passed.

    Each is copied into memory of its own: a tensor that lies anywhere in a file's memory can be aligned differently,
    and then matrix products on a CPU take other paths and differ in their last bit from those of a fresh model.
    """
    model.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)


def check_fit(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], source: str, others: Sequence[str] = ()) -> None:
    """Raise ValueError that lists missing, unexpected and misshapen tensors, and the problems in `others`.

    No numbers are needed: a model on "meta" will do.
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


def describe(model: ConfiguredModel) -> Description:
    """The class of a model and its constructor's arguments."""
    return Description(type(model).__name__, model.config)


def pack(model: ConfiguredModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors to store, on the CPU, as `dtype`; what could not be loaded again is an error now."""
    check_choice("dtype", dtype, STORED)
    kind, state = type(model), model.state_dict()
    check_arguments(kind, model.config, kind.__name__)
    if parts := [name for name, module in model.named_modules() if _is_parametrized(module)]:
        raise ValueError(
            f"this {kind.__name__} has parametrised weights, which `load` could not read, in {', '.join(parts[:10])}. "
            f"Fold them first: torch.nn.utils.parametrize.remove_parametrizations(module, 'weight'), or "
            f"torch.nn.utils.remove_weight_norm(module)."
        )
    names = unwrap(state, kind.__name__)
    twin = weightless(kind, model.config)
    check_fit(twin, {name: tuple(state[stored].shape) for name, stored in names.items()}, f"this {kind.__name__}")
    found = {name: state[stored].detach() for name, stored in names.items()}
    tensors = {
        name: x.to("cpu", dtype if x.is_floating_point() else x.dtype, copy=True).contiguous()
        for name, x in found.items()
    }
    check_finite(tensors, f"{kind.__name__} as {str(dtype).removeprefix('torch.')}")
    return tensors


def _is_parametrized(module: nn.Module) -> bool:
    """By torch's parametrisations, or by the hooks that its weight_norm and spectral_norm used before."""
    hooks = (type(hook).__name__ for hook in module._forward_pre_hooks.values())
    return is_parametrized(module) or not {"WeightNorm", "SpectralNorm"}.isdisjoint(hooks)


def write_model(model: ConfiguredModel, path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Store the model's weights as `dtype` (float32, bfloat16 or float16) in one safetensors file, atomically.

    Tensors that the model shares are stored once for each of their names.
    """
    write_container(pack(model, dtype), describe(model), Path(path))


def save_folder(
    model: ConfiguredModel, folder: str | os.PathLike[str], *, dtype: torch.dtype, card: Mapping[str, Any] | None
) -> None:
    """Write config.json, model.safetensors and README.md into `folder` (made if need be), each atomically.

    Weights come last but carry their configuration: if the folder is half written, reading it says so.
    """
    folder, tensors = Path(folder), pack(model, dtype)
    readme = model_card(model, card or {})
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(describe(model).as_json(), indent=2) + "\n"
    write_atomically(folder / CARD, lambda temporary: temporary.write_text(readme, encoding="utf-8"))
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    write_container(tensors, describe(model), folder / WEIGHTS)


@contextmanager
def saved_for(
    model: ConfiguredModel, repo_id: str, *, dtype: torch.dtype, card: Mapping[str, Any] | None
) -> Iterator[Path]:
    """A temporary folder with the model as `repo_id` will hold it."""
    with TemporaryDirectory() as folder:
        save_folder(model, folder, dtype=dtype, card={"source": f"{SCHEME}{repo_id}", **(card or {})})
        yield Path(folder)
