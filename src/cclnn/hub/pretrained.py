"""A published name, a folder, a file or a repository of the Hub -> a model with its weights."""

import json
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from cclnn._checks import check_choice
from cclnn._device import usable_device
from cclnn.hub import checkpoint, config, download
from cclnn.hub.source import Local, Published, find
from cclnn.models._base import SRModel
from cclnn.models._registry import MODELS

LICENSE = "apache-2.0"  # of the package, and so of weights whose entry names no other
COMPUTED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def list_pretrained() -> list[str]:
    """Published names that `load` knows, sorted: bundled, or pinned to a repository of the Hub."""
    return sorted(name for name, entry in manifest().items() if "file" in entry or "hub" in entry)


def load(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> SRModel:
    """A model with its trained weights, in eval mode.

    Files are verified before a tensor is read: published names against the sha256 in the manifest, those of the Hub
    against the hash that the Hub states for them. Nothing is unpickled. See docs/weights.md.

    Args:
        source: a name of `list_pretrained()` ("cclnn-t-x2"); a folder written by `model.save_pretrained`; a
            `.safetensors` file written by cclnn, with or without its suffix; or
            "hf-hub:org/repo[@revision][/subfolder]".
        revision: branch, tag or commit of a "hf-hub:" source; with a commit nothing can change under you.
        cache_dir: of downloads; None is the Hub client's own.
        token: of the Hub; None is the one that `hf auth login` stored, False none.
        local_files_only: download nothing.
        device: where the model goes.
        dtype: of its parameters; None is float32, whatever was stored.

    Raises:
        ValueError: an unknown name, a damaged or replaced file, a configuration out of range, weights that do not fit
            it, a device that cannot be used. FileNotFoundError: no such folder, repository, revision or file.
        PermissionError: a gated repository. OSError: the download failed.
    """
    dtype = torch.float32 if dtype is None else dtype
    check_choice("dtype", dtype, COMPUTED)
    device = usable_device(device)
    place = find(source, manifest(), revision=revision)
    access = download.Access(None if cache_dir is None else Path(cache_dir), token, local_files_only)
    if isinstance(place, Published):
        model = _load_published(place.name, access)
    elif isinstance(place, Local):
        model = checkpoint.read_folder(place.path) if place.path.is_dir() else checkpoint.read_file(place.path)
    else:
        description, weights = download.fetch(place, access)
        model = checkpoint.read_file(weights, config=checkpoint.read_config(description))
    return model.to(device=device, dtype=dtype)


@cache
def manifest() -> dict[str, Any]:
    """Published name -> "file" of the package, "hub" or "path" in a checkout; sha256, config, training, measured."""
    entries: dict[str, Any] = json.loads(resources.files("cclnn.weights").joinpath("manifest.json").read_text())
    return entries


def published_facts(name: str) -> dict[str, Any]:
    """What the manifest says of a published model, for `save_pretrained(card=...)`: licence, training, quality."""
    check_choice("name", name, sorted(manifest()))
    entry = manifest()[name]
    facts = {"name": name, "source": name, "license": entry.get("license", LICENSE)}
    return {**facts, "training": entry["training"], "measured": entry["measured"]}


def _load_published(name: str, access: download.Access) -> SRModel:
    """From the wheel, else from its repository at the manifest's revision; either way the manifest's sha256."""
    entry = manifest()[name]
    architecture = MODELS[entry["model"]].architecture.__name__
    described = json.dumps({"schema": config.SCHEMA, "architecture": architecture, "arguments": entry["config"]})
    bundled = resources.files("cclnn.weights").joinpath(entry["file"]) if "file" in entry else None
    if bundled is not None and bundled.is_file():
        with resources.as_file(bundled) as path:
            found = download.sha256_of(path)
            if found != entry["sha256"]:
                raise ValueError(
                    f"the weights of {name!r} are damaged: {path} has sha256 {found}, the manifest says "
                    f"{entry['sha256']}. Reinstall cclnn."
                )
            return checkpoint.read_file(path, config=described)
    if "path" in entry:
        raise FileNotFoundError(
            f"the weights of {name!r} are too large for the package: in a checkout of cclnn, load {entry['path']!r}."
        )
    if "hub" not in entry:
        raise FileNotFoundError(f"the weights of {name!r} are not in this installation. Reinstall cclnn.")
    repository, commit, digest = download.pins(entry)
    path = download.download(repository, commit, checkpoint.WEIGHTS, access, pinned=digest)
    return checkpoint.read_file(path, config=described)
