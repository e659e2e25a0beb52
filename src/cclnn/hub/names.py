"""Names of tensors in state dicts that were saved from inside a wrapper."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")  # BasicSR, Lightning, DiVANet, timm
COMPILED = "_orig_mod"  # torch.compile, around the model or one of its parts
PARALLEL = "module."  # DataParallel, DistributedDataParallel, AveragedModel


def unpack(checkpoint: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The state dict in a checkpoint: itself, or the first of `CONTAINERS` that it has (so averages come first)."""
    for _ in CONTAINERS:
        inner = next((checkpoint[key] for key in CONTAINERS if isinstance(checkpoint.get(key), Mapping)), None)
        if inner is None:
            break
        checkpoint = inner
    if not checkpoint:
        raise ValueError(f"{source} holds no tensors.")
    return dict(checkpoint)


def unwrap(names: Iterable[str], source: str) -> dict[str, str]:
    """Name without wrappers -> name as stored.

    `_orig_mod` is dropped wherever it stands, `module.` only from the front and only where every name has it.
    """
    stored = list(names)
    plain = [".".join(part for part in name.split(".") if part != COMPILED) for name in stored]
    while plain and all(name.startswith(PARALLEL) for name in plain):
        plain = [name.removeprefix(PARALLEL) for name in plain]
    found = dict(zip(plain, stored, strict=True))
    if len(found) != len(stored):
        twice = sorted(name for name, times in Counter(plain).items() if times > 1)
        raise ValueError(f"{source} holds several tensors for {', '.join(twice)} once wrappers' prefixes are dropped.")
    return found
