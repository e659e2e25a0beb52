"""Every architecture of the library: one import each. All lists of models, everywhere, are derived from here."""

import difflib
from dataclasses import dataclass
from typing import Any

from cclnn._arguments import defaults_of
from cclnn._checks import check_choice
from cclnn.models._architecture import Architecture
from cclnn.models._base import SRModel
from cclnn.models.a2n import A2N as A2N
from cclnn.models.cclnn import CCLNN as CCLNN
from cclnn.models.cclnn_s import SmallCCLNN as SmallCCLNN
from cclnn.models.csnln import CSNLN as CSNLN
from cclnn.models.dasr import DASR as DASR
from cclnn.models.divanet import DiVANet as DiVANet
from cclnn.models.dlnfn import DLNFN as DLNFN
from cclnn.models.edsr import EDSR as EDSR
from cclnn.models.enlcn import ENLCN as ENLCN
from cclnn.models.han import HAN as HAN
from cclnn.models.lnfsr import LNFSR as LNFSR
from cclnn.models.nlsn import NLSN as NLSN
from cclnn.models.pan import PAN as PAN
from cclnn.models.rcan import RCAN as RCAN
from cclnn.models.rnan import RNAN as RNAN
from cclnn.models.srcnn import SRCNN as SRCNN
from cclnn.models.srfbn import SRFBN as SRFBN
from cclnn.models.vdsr import VDSR as VDSR

# Class name -> class, for every class imported above.
ARCHITECTURES: dict[str, type[SRModel]] = {
    name: kind
    for name, kind in sorted(globals().items())
    if isinstance(kind, type) and issubclass(kind, SRModel) and kind is not SRModel
}


@dataclass(frozen=True)
class Variant:
    """A model of `list_models()`: its class, and the arguments that make it this model."""

    kind: type[SRModel]
    given: dict[str, Any]

    @property
    def record(self) -> Architecture:
        """The record of its class."""
        return self.kind.architecture

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument, the class's defaults included."""
        return {**defaults_of(self.kind), **self.given}


def models() -> dict[str, Variant]:
    """Name -> variant, for every model, sorted by name."""
    found = {
        name: Variant(kind, dict(given))
        for kind in ARCHITECTURES.values()
        for name, given in kind.architecture.variants.items()
    }
    return dict(sorted(found.items()))


def list_models() -> list[str]:
    """Names that `create_model` knows, sorted."""
    return list(models())


def create_model(name: str, *, scale: int = 2, **arguments: Any) -> SRModel:
    """A model with random weights and the paper's defaults.

    Args:
        name: one of `list_models()`.
        scale: one of those that its paper designed it for, 2, 3, 4 or 8 for most.
        arguments: keywords of the architecture's constructor; they override the variant's. `device` and `dtype` too.

    Raises:
        ValueError: unknown name or scale. TypeError: an argument that the architecture does not have.
    """
    variant = find_variant(name)
    check_choice("scale", scale, variant.record.scales)
    return variant.kind(scale, **{**variant.given, **arguments})


def find_variant(name: str) -> Variant:
    """The variant of that name; ValueError for an unknown one, with the nearest known name."""
    known = models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown model {name!r}.{hint} list_models() shows all.")
    return known[name]


def class_named(name: str, source: str) -> type[SRModel]:
    """The architecture that a file names; looked up here and nowhere else. `source` is named in the error."""
    check_choice(f"{source}: architecture", name, sorted(ARCHITECTURES))
    return ARCHITECTURES[name]
