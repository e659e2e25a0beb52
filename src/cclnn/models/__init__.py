"""Whole networks, one architecture a file; `_registry.py` is the table of names."""

from cclnn.models._base import SRModel
from cclnn.models._registry import create_model, list_models
from cclnn.models.cclnn import CCLNN
from cclnn.models.edsr import EDSR
from cclnn.models.nlsn import NLSN

__all__ = ["CCLNN", "EDSR", "NLSN", "SRModel", "create_model", "list_models"]
