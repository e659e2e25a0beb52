"""State dicts without a configuration, ours or of released code: names and shapes tell what network they are of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cclnn._typing import Tensor
from cclnn.hub.names import unpack, unwrap
from cclnn.hub.renames import rename
from cclnn.models._architecture import Released, Tensors
from cclnn.models._base import SRModel
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained.released import check_tensors, kept_of, twin_of, with_tensors

SOURCE = "`state_dict`"
UNFIT = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
)  # from rules that read shapes of another network's tensors


class Reading(NamedTuple):
    """A state dict as the weights of a class."""

    kind: type[SRModel]
    tensors: Tensors

    @property
    def named(self) -> str:
        """The variant that decides what tensors do not show, where none has their size."""
        return next(iter(self.kind.architecture.variants))

    def fits(self) -> bool:
        """Whether the class, built as the tensors tell, has these very names and shapes."""
        try:
            twin_of(self.kind, self.tensors, {}, self.named, SOURCE)
        except UNFIT:
            return False
        return True


def from_state_dict(
    state_dict: Mapping[str, Any], *, among: Iterable[type[SRModel]] | None = None, **arguments: Any
) -> SRModel:
    """The model that has these tensors, by their names and shapes alone, in eval mode, in their number format.

    Names may be ours, as in `model.state_dict()`, or the released code's. What neither names nor shapes show, such as
    res_scale and chunk_size, the scale of SRCNN and VDSR, or x3 of PAN and A2N, which looks like x2, comes from
    `arguments`, else from the model of `list_models()` with this architecture and size. `cclnn.load` reads it from the
    file where cclnn wrote one: prefer that.

    Args:
        state_dict: key -> tensor; containers and wrappers' prefixes are unpacked as in `convert_official`.
        among: the classes to try; None is all.
        arguments: keywords of the class's constructor.

    Raises:
        ValueError: the tensors are of no class in `among`, or hold numbers that are not finite.
        TypeError: an argument that the class does not have.

    >>> from cclnn.models import create_model
    >>> from_state_dict(create_model("edsr-baseline", scale=3).state_dict()).config
    {'scale': 3, 'channels': 64, 'n_resblocks': 16, 'res_scale': 1.0, 'rgb_range': 1.0}
    """
    kinds = _classes(among)
    found = _read(state_dict, kinds)
    if found is None:
        tried, shown = ", ".join(kind.__name__ for kind in kinds), ", ".join(sorted(map(str, state_dict))[:4])
        raise ValueError(f"{SOURCE} does not hold the tensors of a network that cclnn has ({tried}): it holds {shown}.")
    return with_tensors(found.kind, found.tensors, arguments, found.named, SOURCE)


def recognize(state_dict: Mapping[str, Any], *, among: Iterable[type[SRModel]] | None = None) -> type[SRModel] | None:
    """The class of which these are the tensors, every name and every shape; None if there is none.

    Args:
        state_dict: key -> tensor under our names or the released code's. Anything else in it gives None, no error.
        among: the classes to try; None is all.

    >>> from cclnn.models import create_model
    >>> recognize(create_model("pan").state_dict()).__name__
    'PAN'
    """
    found = _read(state_dict, _classes(among))
    return None if found is None else found.kind


def _classes(among: Iterable[type[SRModel]] | None) -> tuple[type[SRModel], ...]:
    return tuple(ARCHITECTURES.values() if among is None else among)


def _read(state_dict: Mapping[str, Any], kinds: tuple[type[SRModel], ...]) -> Reading | None:
    try:
        inner = unpack(state_dict, SOURCE)
        state = {name: inner[stored] for name, stored in unwrap(inner, SOURCE).items()}
    except ValueError:
        return None
    return next((reading for kind in kinds for reading in _readings(kind, state) if reading.fits()), None)


def _readings(kind: type[SRModel], state: Mapping[str, Any]) -> Iterator[Reading]:
    """The state as the class's tensors: under released names where the rules take every key, and under our names."""
    rules = kind.architecture.released
    if rules is not None and (kept := _checked(kept_of(state, rules))) and (ours := _renamed(kept, rules)):
        yield Reading(kind, ours)
    if tensors := _checked(state):
        yield Reading(kind, tensors)


def _renamed(official: Tensors, rules: Released) -> dict[str, Tensor] | None:
    """The tensors under our names; None where the rules leave one without."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in (rules.unpack(official) if rules.unpack else official).items():
        name = rename(key, rules.renames)
        if name is None or name in tensors:
            return None
        tensors[name] = tensor
    return tensors


def _checked(state: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The state if there are tensors in it and nothing else."""
    try:
        check_tensors(state)
    except ValueError:
        return None
    return dict(state)
