"""Arithmetic of sizes that torch.compile and torch.export hold as symbols: `min` and `max` would ask their values."""

import torch
from torch.nn import functional as F

from cclnn._typing import Tensor


def smaller(a: int, b: int) -> int:
    """min(a, b)."""
    size: int = torch.sym_min(a, b)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return size


def larger(a: int, b: int) -> int:
    """max(a, b)."""
    size: int = torch.sym_max(a, b)  # type: ignore[no-untyped-call]
    return size


def parts(total: int, size: int) -> int:
    """How many parts of `size` hold `total`, 1 or more: total / size rounded up. Both must be positive, because
    ONNX divides integers towards zero and Python towards minus infinity: -(-total // size) is wrong in an ONNX file.
    """
    return (total + size - 1) // size


def one_more(x: Tensor) -> Tensor:
    """x with a first axis longer by one, of zeros. For an empty batch, where torch's operators fail or warn: what is
    computed from it, `[:0]`, is empty and has gradients, all zero.
    """
    return F.pad(x, (*[0] * (2 * x.ndim - 2), 0, 1))
