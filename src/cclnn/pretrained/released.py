"""Checkpoints of released code <-> models of cclnn: a record renames every key, or the key is an error."""

from collections.abc import Mapping
from typing import Any

import torch

from cclnn._typing import Tensor
from cclnn.hub.container import check_finite
from cclnn.hub.names import unpack, unwrap
from cclnn.hub.renames import inverted, pattern, rename
from cclnn.models._architecture import Released, Tensors
from cclnn.models._base import SRModel
from cclnn.models._files import check_fit, fill, weightless
from cclnn.models.registry import ARCHITECTURES, find_variant

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def convert_official(architecture: str, state_dict: Mapping[str, Any], **arguments: Any) -> SRModel:
    """The model that a released checkpoint describes, in eval mode, with its weights; strict.

    What shapes and values reveal (scale, channels, depth, reductions, range of values) is read off the tensors. What
    they cannot (for example res_scale, n_hashes, chunk_size) comes from `arguments`, else from the model of
    `list_models()` with this architecture and size (so `edsr` of 64 channels and 16 blocks gets the res_scale of
    `edsr-baseline`), and where there is none from the model that is named.

    Args:
        architecture: a name of `list_models()`: "edsr", "edsr-baseline", "nlsn", ...; "cclnn" stands for NLSN's layout
            with a block's parts named pa, nlsa, cca and res. "auto" detects the architecture from the keys.
        state_dict: official key -> tensor, as the released code saves it; containers ("params_ema", "state_dict", ...)
            and wrappers' prefixes ("module.", "_orig_mod.") are unpacked.
        arguments: keywords of the architecture's constructor.

    Raises:
        ValueError: unknown architecture, a key that no rule renames, missing keys or other shapes.
    """
    if architecture != "auto":
        find_variant(architecture)
    inner = unpack(state_dict, "`state_dict`")
    official: dict[str, Any] = {key: inner[stored] for key, stored in unwrap(inner, "`state_dict`").items()}
    named = detect(official) if architecture == "auto" else architecture
    kind = find_variant(named).kind
    rules = _released(kind)
    kept = kept_of(official, rules)
    check_tensors(kept)
    tensors = _renamed(rules.unpack(kept) if rules.unpack else kept, rules, kind)
    return with_tensors(kind, tensors, arguments, named, f"the official {named} state dict")


def twin_of(kind: type[SRModel], tensors: Tensors, arguments: Mapping[str, Any], named: str, source: str) -> SRModel:
    """The model that `with_tensors` makes, on the meta device: its shapes without its numbers."""
    inferred = {**kind.architecture.infer(tensors, arguments), **arguments}
    variant = find_variant(_variant_like(kind, inferred) or named)
    model = weightless(kind, {**variant.given, **inferred})
    check_fit(model, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    return model


def with_tensors(
    kind: type[SRModel], tensors: Tensors, arguments: Mapping[str, Any], named: str, source: str
) -> SRModel:
    """The model of class `kind` that has these tensors, in eval mode.

    Args:
        kind: its class.
        tensors: our key -> tensor.
        arguments: given by the caller; they override what is inferred.
        named: the variant that other arguments come from where none has the inferred size.
        source: of the tensors, in words.

    Raises:
        ValueError: names or shapes do not fit, or a number is not finite; `source` is named.
    """
    model = twin_of(kind, tensors, arguments, named, source)
    check_finite(tensors, "`state_dict`")
    fill(model, {name: tensor.cpu() for name, tensor in tensors.items()})
    return model.eval()


def to_official(model: SRModel) -> dict[str, Tensor]:
    """The model's state dict as the released code of its architecture names it: the inverse of `convert_official`.

    Raises:
        ValueError: there is no released code of this architecture.
    """
    rules = _released(type(model))
    backwards = inverted(rules.renames)
    official = {}
    for key, tensor in model.state_dict().items():
        name = rename(key, backwards)
        assert name is not None, key  # a test converts every architecture there and back
        official[name] = tensor
    return rules.restore(model, official) if rules.restore else official


def detect(official: Mapping[str, Any]) -> str:
    """The name of `list_models()` whose released code wrote these keys: the first variant of its architecture.

    An architecture is known by one key, its signature. Where several are, one may be another with more parts, as HAN is
    RCAN with attention between layers: the one whose rules rename every key is taken.

    Raises:
        ValueError: no architecture of the library has these keys, or several have.
    """
    found = [
        kind for kind in ARCHITECTURES.values() if (rules := kind.architecture.released) and _is_signed(official, rules)
    ]
    if len(found) > 1:
        found = [kind for kind in found if _takes_all(official, _released(kind))] or found
    if len(found) == 1:
        return next(iter(found[0].architecture.variants))
    known = ", ".join(kind.__name__ for kind in ARCHITECTURES.values() if kind.architecture.released)
    shown = ", ".join(sorted(official)[:4])
    if found:
        fitting = " and ".join(kind.__name__ for kind in found)
        raise ValueError(f"`state_dict` fits {fitting}; name the architecture. It holds {shown}, ...")
    raise ValueError(f"`state_dict` is of no architecture that cclnn converts ({known}): it holds {shown}, ...")


def _released(kind: type[SRModel]) -> Released:
    rules = kind.architecture.released
    if rules is None:
        raise ValueError(f"no released code of {kind.__name__} is known to cclnn, so it has no official state dict.")
    return rules


def _is_signed(official: Mapping[str, Any], rules: Released) -> bool:
    signatures = (rules.signature,) if isinstance(rules.signature, str) else rules.signature
    return any(pattern(signature).fullmatch(key) for signature in signatures for key in official)


def kept_of(official: Mapping[str, Any], rules: Released) -> dict[str, Any]:
    return {key: x for key, x in official.items() if not any(pattern(drop).fullmatch(key) for drop in rules.dropped)}


def _takes_all(official: Mapping[str, Any], rules: Released) -> bool:
    kept = kept_of(official, rules)
    return all(rename(key, rules.renames) for key in (rules.unpack(kept) if rules.unpack else kept))


def _renamed(official: Mapping[str, Tensor], rules: Released, kind: type[SRModel]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for key, tensor in official.items():
        name = rename(key, rules.renames)
        if name is None:
            raise ValueError(f"`state_dict` holds {key!r}, which no rule for {kind.__name__} renames.")
        if name in tensors:
            raise ValueError(f"`state_dict` holds several tensors for {name!r}, the last of them {key!r}.")
        tensors[name] = tensor
    return tensors


def _variant_like(kind: type[SRModel], inferred: Mapping[str, Any]) -> str | None:
    """The first variant of `kind` that has the size shown by the tensors: what variants differ in, where it shows."""
    variants = kind.architecture.variants
    sizes = {name for given in variants.values() for name in given} & inferred.keys()
    for name in variants:
        arguments = find_variant(name).arguments
        if sizes and all(arguments[size] == inferred[size] for size in sizes):
            return name
    return None


def check_tensors(state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"`state_dict` must hold tensors, but {key!r} is of type {type(value).__name__}.")
        counter = value.dtype == torch.int64 and key.endswith("num_batches_tracked")
        if not (value.dtype in FLOATS or counter) or value.layout is not torch.strided or value.is_meta:
            kind = f"{value.dtype}, {value.layout}, on {value.device}"
            raise ValueError(f"`state_dict` must hold plain floating-point tensors, but {key!r} is {kind}.")
        if not value.numel():
            raise ValueError(f"`state_dict`: {key!r} of shape {tuple(value.shape)} holds no numbers.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(
                f"`state_dict`: {key!r} of shape {tuple(value.shape)} is larger than the numbers stored for it."
            )
