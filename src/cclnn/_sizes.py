"""Arithmetic of sizes that torch.compile and torch.export hold as symbols: `min` and `max` would ask their values."""

import torch


def smaller(a: int, b: int) -> int:
    """min(a, b)."""
    size: int = torch.sym_min(a, b)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return size


def larger(a: int, b: int) -> int:
    """max(a, b)."""
    size: int = torch.sym_max(a, b)  # type: ignore[no-untyped-call]
    return size
