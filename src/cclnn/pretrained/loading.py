"""A published name, a folder, a file or a repository of the Hub -> a model with its weights."""

import os
from pathlib import Path
from typing import Any

import torch

from cclnn import weights
from cclnn._checks import check_choice
from cclnn._threads import use_threads
from cclnn.hub.download import Access
from cclnn.hub.files import files_in, open_source
from cclnn.models._base import SRModel
from cclnn.models._files import read_model
from cclnn.models.registry import class_named, list_models
from cclnn.ops.sparse_attention import Backend

LICENSE = "apache-2.0"  # the package's, and so that of weights whose entry names no other


def list_pretrained() -> list[str]:
    """Published names that `load` knows, sorted: bundled, or pinned to a repository of the Hub."""
    return sorted(name for name, entry in weights.manifest().items() if "file" in entry or "hub" in entry)


def load(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> SRModel:
    """A model with its trained weights, in eval mode.

    Files are verified before a tensor is read: published names against the sha256 in the manifest, those of the Hub
    against the hash that the Hub states for them. Nothing is unpickled. See docs/weights.md.

    Args:
        source: a name of `list_pretrained()` ("cclnn-s-x2"); a folder written by `model.save_pretrained`; a
            `.safetensors` file written by cclnn, with or without its suffix; or
            `hf-hub:org/repo[@revision][/subfolder]`.
        revision: branch, tag or commit of a "hf-hub:" source; with a commit nothing can change under you.
        cache_dir: folder for downloads; None is the Hub client's own.
        token: access token for the Hub; None is the one that `hf auth login` stored, False none.
        local_files_only: download nothing.
        device: where the model goes.
        dtype: number format of its parameters; None is float32, whatever was stored.
        backend: of its sparse attentions, see `cclnn.ops.lsh_attention`.

    Raises:
        ValueError: an unknown name, a damaged or replaced file, a configuration out of range, weights that do not fit
            it, a device that cannot be used. FileNotFoundError: no such folder, repository, revision or file.
        PermissionError: a gated repository. OSError: the download failed. RuntimeError: the process was forked after
            networks had run.
    """
    use_threads()
    access = Access(Path(cache_dir) if cache_dir else None, token, local_files_only)
    made: dict[str, Any] = {"device": device, "dtype": dtype, "backend": backend}
    try:
        with open_source(source, access, revision=revision) as files:
            return read_model(lambda name: class_named(name, repr(str(files.weights))), files, **made)
    except (ValueError, FileNotFoundError) as error:
        if source in list_models():
            hint = f"{source!r} is an architecture: cclnn.create_model({source!r}) makes one with random weights."
            raise type(error)(f"{error} {hint}") from error
        raise


def load_folder(folder: str | os.PathLike[str]) -> SRModel:
    """The model that `save_pretrained` wrote into a folder, whatever the folder is called."""
    files = files_in(Path(folder))
    return read_model(lambda name: class_named(name, repr(str(files.weights))), files)


def published_facts(name: str) -> dict[str, Any]:
    """What the manifest says of a published model, for `save_pretrained(card=...)`: licence, training, quality."""
    check_choice("name", name, sorted(weights.manifest()))
    entry = weights.manifest()[name]
    facts = {"name": name, "source": name, "license": entry.get("license", LICENSE)}
    return {**facts, "training": entry["training"], "measured": entry["measured"]}
