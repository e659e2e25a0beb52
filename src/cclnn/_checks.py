"""Argument checks shared by every public entry point: errors are phrased here, once."""

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor


def check_shape(name: str, x: Tensor, pattern: str, **sizes: int) -> None:
    """Raise ValueError unless `x` has the axes of `pattern`, with the given sizes, none of them but the batch empty."""
    axes = pattern.split()
    if x.ndim != len(axes) or any(x.shape[axes.index(axis)] != size for axis, size in sizes.items()):
        needed = " ".join(f"{axis}={sizes[axis]}" if axis in sizes else axis for axis in axes)
        raise ValueError(f"`{name}` must have shape ({needed}), got {tuple(x.shape)}.")
    check_not_empty(name, x, pattern, ignore="b")


def check_not_empty(name: str, x: Tensor, pattern: str, *, ignore: str = "") -> None:
    """Raise ValueError if an axis of `x`, which has those of `pattern`, is empty, but for the one to ignore."""
    axes = pattern.split()
    if 0 in x.shape and any(size == 0 for axis, size in zip(axes, x.shape, strict=True) if axis != ignore):
        raise ValueError(f"`{name}` must not be empty, got shape {tuple(x.shape)} for ({' '.join(axes)}).")


def check_floating(name: str, x: Tensor) -> None:
    """Raise TypeError unless `x` holds real floating-point numbers."""
    if not x.is_floating_point():
        raise TypeError(f"`{name}` must be a floating-point tensor, got {x.dtype}.")


def check_integers(name: str, x: Tensor) -> None:
    """Raise TypeError unless `x` holds integers."""
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"`{name}` must be an integer tensor, got {x.dtype}.")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError unless value >= least (so NaN fails too)."""
    if not value >= least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless value > 0 (so NaN fails too)."""
    if not value > 0:
        raise ValueError(f"`{name}` must be positive, got {value}.")


def check_divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """Raise ValueError unless `value` is a positive divisor of `whole`."""
    check_at_least(name, value, 1)
    if whole % value:
        divisors = [d for d in range(1, whole + 1) if whole % d == 0]
        near = [*[d for d in divisors if d < value][-1:], *[d for d in divisors if d > value][:1]]
        hint = f"The nearest that do are {near[0]} and {near[-1]}." if len(near) == 2 else f"{near[0]} does."
        raise ValueError(f"`{name}`={value} must divide `{whole_name}`={whole}. {hint}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError unless `value` is one of `choices`, suggesting the nearest spelling."""
    known = list(choices)
    if value not in known:
        spelt = {str(choice): choice for choice in known}
        close = difflib.get_close_matches(str(value), spelt, n=1)
        hint = f" Did you mean {spelt[close[0]]!r}?" if close else ""
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}, got {value!r}.{hint}")
