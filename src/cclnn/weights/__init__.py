"""The published weights: the files in this folder, and the manifest that describes them. Does not import torch."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def manifest() -> dict[str, Any]:
    """Published name -> "file" in the package, "hub" or "path" in a checkout; sha256, config, training, measured."""
    entries: dict[str, Any] = json.loads(resources.files(__name__).joinpath("manifest.json").read_text())
    return entries
