"""Constructor arguments as data: captured from a call, and checked where a file asks for them.

An argument that a configuration file may set declares its limits where it is declared, in its annotation:
`channels: Annotated[int, Range(1, 1024)] = 64`. Only JSON values are allowed: numbers, texts, True, False, None, lists.
"""

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Union, get_args, get_origin

NOT_STORED = ("self", "backend", "device", "dtype")  # arguments that change neither weights nor output


@dataclass(frozen=True)
class Range:
    """The least and the largest value of a number, or of each number in a list, that a file may ask for."""

    least: float
    largest: float


@dataclass(frozen=True)
class Length:
    """The smallest and the largest number of elements of a list that a file may ask for."""

    least: int
    largest: int


@dataclass(frozen=True)
class Later:
    """An argument that was added after weights had been published: a file without it means its default."""


# Numbers whose annotation declares no range.
RANGES: dict[type, Range] = {int: Range(0, 1024), float: Range(-1e6, 1e6)}
LENGTH = Length(0, 256)


def stored_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters that a configuration holds, by name."""
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]  # read, not called
    return {name: parameter for name, parameter in parameters.items() if name not in NOT_STORED}


def defaults_of(kind: type) -> dict[str, Any]:
    """The stored parameters that have a default, with it."""
    parameters = stored_parameters(kind)
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def captured(kind: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What `kind(*args, **kwargs)` was called with, defaults included, as JSON values in the constructor's order.

    Empty where the call does not fit the constructor, which then raises the error in its own words.
    """
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]  # read, not called
    try:
        call = signature.bind_partial(None, *args, **kwargs)
    except TypeError:
        return {}
    call.apply_defaults()
    return {name: _plain(call.arguments[name]) for name in stored_parameters(kind) if name in call.arguments}


def _plain(value: Any) -> Any:
    """JSON has no tuples; the copy does not follow later changes of a list."""
    return [_plain(element) for element in value] if isinstance(value, (list, tuple)) else value


def problems_of(kind: type, arguments: Mapping[str, Any]) -> list[str]:
    """What is missing, unexpected, of another type or out of range in a file's arguments for `kind`, in words."""
    needed = stored_parameters(kind)
    absent = needed.keys() - arguments.keys()
    problems = [f"missing {name}" for name in absent if not _added_later(needed[name].annotation)]
    problems += [f"unexpected {name}" for name in arguments.keys() - needed.keys()]
    for name in needed.keys() & arguments.keys():
        problems += _problem_of(name, arguments[name], needed[name].annotation)
    return sorted(problems)


def _added_later(annotation: Any) -> bool:
    return any(isinstance(limit, Later) for limit in _unwrapped(annotation)[1])


def _problem_of(name: str, value: object, annotation: Any) -> list[str]:
    hint, limits = _unwrapped(annotation)
    if not _is_a(value, hint):
        return [f"{name} must be {_spelled(hint)}, got {_shortened(value)}"]
    if isinstance(value, list):
        length = next((limit for limit in limits if isinstance(limit, Length)), LENGTH)
        if not length.least <= len(value) <= length.largest:
            return [f"{name} must have {length.least} to {length.largest} elements, got {len(value)}"]
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        limit = next((limit for limit in limits if isinstance(limit, Range)), RANGES[type(number)])
        if not limit.least <= number <= limit.largest:  # nor NaN
            return [f"{name} must lie in [{limit.least}, {limit.largest}], got {_shortened(number)}"]
    return []


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type in an annotation, and the limits declared with it, also inside `Annotated[...] | None`."""
    if get_origin(annotation) is Annotated:
        hint, *limits = get_args(annotation)
        return hint, tuple(limits)
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [_unwrapped(part) for part in get_args(annotation)]
        return reduce(or_, (hint for hint, _ in parts)), tuple(limit for _, limits in parts for limit in limits)
    return annotation, ()


def _is_a(value: object, hint: Any) -> bool:
    """Whether a JSON value has the type; an integer may stand for a float, True not for 1."""
    hint, _ = _unwrapped(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_is_a(value, part) for part in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(hint))
    if origin in (list, tuple):
        element = get_args(hint)[0]
        return isinstance(value, list) and all(_is_a(part, element) for part in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spelled(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _shortened(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 200:  # printing more digits is an error of its own
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
