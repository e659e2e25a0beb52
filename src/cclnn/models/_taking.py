"""Tensors by name, for functions that read a network's arguments off its tensors."""

from collections.abc import Mapping

from cclnn._typing import Tensor


def take(tensors: Mapping[str, Tensor], *names: str, of: str) -> list[Tensor]:
    """The tensors with these names, which `of`, say "an EDSR", has.

    Raises:
        ValueError: one of them is missing.
    """
    for name in names:
        if name not in tensors:
            raise ValueError(f"`state_dict` has no tensor for {name!r}; is it {of}?")
    return [tensors[name] for name in names]
