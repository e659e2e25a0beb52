"""Whole networks, one architecture a file with its record; `registry.py` lists them."""

from cclnn.models._architecture import Architecture, Released
from cclnn.models._base import SRModel
from cclnn.models.registry import *  # noqa: F403  # every architecture, as registry.py imports them
from cclnn.models.registry import ARCHITECTURES, create_model, list_models

__all__ = ["Architecture", "Released", "SRModel", "create_model", "list_models", *ARCHITECTURES]
