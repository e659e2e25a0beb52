"""A published name, a folder or a file -> a model with its weights."""

import difflib
import hashlib
import json
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cclnn.hub import checkpoint
from cclnn.models._base import SRModel


def list_pretrained() -> list[str]:
    """Published names that `load` knows, sorted."""
    return sorted(manifest())


def load(source: str | os.PathLike[str]) -> SRModel:
    """A model with its trained weights, float32 on the CPU, in eval mode.

    Args:
        source: a name of `list_pretrained()` ("cclnn-t-x2"), a folder written by `model.save_pretrained`, or a
            `.safetensors` file written by cclnn.

    Raises:
        ValueError: an unknown name, a damaged file, weights that do not fit the configuration.
        FileNotFoundError: a folder without weights.
    """
    path = Path(source)
    if str(source) in manifest():
        return _load_bundled(str(source))
    if path.is_dir():
        return checkpoint.read_file(path / checkpoint.WEIGHTS)
    if path.is_file():
        return checkpoint.read_file(path)
    close = difflib.get_close_matches(str(source), manifest(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"`source`={str(source)!r} is neither a published name ({', '.join(list_pretrained())}) nor an existing folder "
        f"or .safetensors file.{hint}"
    )


@cache
def manifest() -> dict[str, Any]:
    """Published name -> file, sha256, configuration, training and measured quality."""
    entries: dict[str, Any] = json.loads(resources.files("cclnn.weights").joinpath("manifest.json").read_text())
    return entries


def _load_bundled(name: str) -> SRModel:
    entry = manifest()[name]
    with resources.as_file(resources.files("cclnn.weights").joinpath(entry["file"])) as path:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != entry["sha256"]:
            raise ValueError(
                f"the weights of {name!r} are damaged: {path} has sha256 {found}, the manifest says {entry['sha256']}. "
                "Reinstall cclnn."
            )
        return checkpoint.read_file(path)
