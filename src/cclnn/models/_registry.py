"""The one table of models: name -> architecture and arguments."""

import difflib
from dataclasses import dataclass, field
from typing import Any

from cclnn._checks import check_choice
from cclnn.models._base import SRModel
from cclnn.models.cclnn import CCLNN
from cclnn.models.edsr import EDSR
from cclnn.models.nlsn import NLSN


@dataclass(frozen=True)
class Entry:
    """An architecture, the arguments that make it this model, the scales it was designed for."""

    architecture: type[SRModel]
    arguments: dict[str, Any] = field(default_factory=dict)
    scales: tuple[int, ...] = (2, 3, 4, 8)


LIGHT: dict[str, Any] = {"channels": 128, "n_resblocks": 16}
TINY: dict[str, Any] = {"channels": 64, "n_resblocks": 8, "res_scale": 1.0, "chunk_size": 64, "n_hashes": 1}

MODELS: dict[str, Entry] = {
    "cclnn": Entry(CCLNN),
    "cclnn-l": Entry(CCLNN, LIGHT),
    "cclnn-t": Entry(CCLNN, TINY),
    "edsr": Entry(EDSR),
    "edsr-baseline": Entry(EDSR, {"channels": 64, "n_resblocks": 16, "res_scale": 1.0}),
    "edsr-l": Entry(EDSR, LIGHT),
    "nlsn": Entry(NLSN),
    "nlsn-l": Entry(NLSN, LIGHT),
}

ARCHITECTURES: dict[str, type[SRModel]] = {"CCLNN": CCLNN, "EDSR": EDSR, "NLSN": NLSN}


def list_models() -> list[str]:
    """Names that `create_model` knows, sorted."""
    return sorted(MODELS)


def create_model(name: str, *, scale: int = 2, **arguments: Any) -> SRModel:
    """A model with random weights and the paper's defaults.

    Args:
        name: one of `list_models()`.
        scale: 2, 3, 4 or 8.
        arguments: override the table's, by the keywords of the architecture's constructor.

    Raises:
        ValueError: unknown name or scale. TypeError: an argument that the architecture does not have.
    """
    check_model_name(name)
    entry = MODELS[name]
    check_choice("scale", scale, entry.scales)
    return entry.architecture(scale, **{**entry.arguments, **arguments})


def check_model_name(name: str) -> None:
    """Raise ValueError for an unknown name, with the nearest known one."""
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown model {name!r}.{hint} list_models() shows all.")
