"""The number format and memory layout a network runs in: one policy for the upscaler and for training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cclnn._autocast import autocast_dtype
from cclnn._checks import check_choice
from cclnn._machine import has_fast_bf16, keep_freed_memory
from cclnn._names import PRECISIONS, Precision
from cclnn._typing import Tensor

__all__ = [
    "DTYPES",
    "PRECISIONS",
    "Precision",
    "autocast",
    "cast_once",
    "choose_dtype",
    "keep_freed_memory",
    "lay_out",
]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """The dtype of matrix products and convolutions; weights, hashing, mean shift and the final add stay float32.

    "auto" is bfloat16 where the hardware multiplies it natively (CPUs with AVX512-BF16 or AMX, GPUs from Ampere on)
    and float32 elsewhere.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return DTYPES[precision]
    return torch.bfloat16 if has_fast_bf16(torch.device(device)) else torch.float32


@contextmanager
def autocast(dtype: torch.dtype, device: torch.device | str) -> Iterator[None]:
    """torch.autocast to `dtype`, nothing at all for float32."""
    with torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype != torch.float32):
        yield


def cast_once(x: Tensor) -> Tensor:
    """`x` in autocast's dtype where autocast is on: for a tensor that several of its operations would each cast."""
    return x.to(autocast_dtype(x) or x.dtype)


def lay_out(model: nn.Module) -> nn.Module:
    """The model with its convolutions in channels_last, the layout that CPUs and GPUs run fastest; in place."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stub
    return model
