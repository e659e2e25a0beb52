"""How much memory a network takes for a tile, and the largest tile that fits."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cclnn._typing import Tensor
from cclnn.precision import autocast
from cclnn.pretrained.foreign import Network

SIDES = (512, 384, 256, 192, 128, 96, 64)  # few, so that the same image gives the same result on most machines
FIRST_PROBE = 32  # pixels per side of the first image that a network is measured on
SECOND_PROBES = (64, 48, 40)  # of the second: the largest that is sure to fit
SHARE = 0.5  # of the memory at hand that a tile may take
CPU_LIMIT = 832 * 2**20  # bytes that a tile may take of a machine's main memory, however much there is


@dataclass(frozen=True)
class Growth:
    """Bytes that a forward pass takes at its peak: linear * p + quadratic * p^2 for an input of p pixels."""

    linear: float
    quadratic: float = 0.0

    def __call__(self, pixels: int) -> float:
        return self.linear * pixels + self.quadratic * pixels**2


def budget(available: float, device: torch.device) -> float:
    """Bytes that a tile may take where `available` bytes are at hand."""
    return min(SHARE * available, CPU_LIMIT if device.type == "cpu" else float("inf"))


def auto_tile(growth: Growth, limit: float, *, least: int, outside: int = 0) -> int:
    """The largest of `SIDES` whose square, with `outside` pixels more on each side, takes no more than `limit` bytes.

    Where even the smallest takes more, the smallest that is at least `least`.
    """
    allowed = [side for side in SIDES if side >= least] or [least]
    return next((side for side in allowed if growth((side + 2 * outside) ** 2) <= limit), allowed[-1])


def measure(model: Network, dtype: torch.dtype, device: torch.device, *, limit: float) -> Growth:
    """How the memory of a forward pass grows with the pixels of its input, measured on two small grey images.

    Convolutions and sparse attention take memory in proportion to the pixels, dense attention to their square. What
    does not grow counts as if it grew in proportion. Neither image is larger than the smallest of `SIDES`; the second
    is one that takes no more than `limit` bytes even if all that the first took grows with the square.
    """
    first = _peak(model, FIRST_PROBE, dtype, device)
    fitting = (side for side in SECOND_PROBES if first * (side / FIRST_PROBE) ** 4 <= limit)
    side = next(fitting, None)
    if side is None:
        return Growth(0.0, first / FIRST_PROBE**4)
    return fit((FIRST_PROBE**2, first), (side**2, _peak(model, side, dtype, device)))


def fit(small: tuple[int, float], large: tuple[int, float]) -> Growth:
    """The growth through two points (pixels, bytes), neither part of it negative; exact at the larger one."""
    (p, p_bytes), (q, q_bytes) = small, large
    quadratic = (q_bytes / q - p_bytes / p) / (q - p)
    quadratic = min(max(quadratic, 0.0), q_bytes / q**2)
    return Growth(q_bytes / q - quadratic * q, quadratic)


def _peak(model: Network, side: int, dtype: torch.dtype, device: torch.device) -> int:
    """Bytes that a forward pass on a square grey image holds at its peak."""
    probe = torch.full((1, 3, side, side), 0.5, device=device).contiguous(memory_format=torch.channels_last)
    held = _Held()
    with torch.inference_mode(), autocast(dtype, device), held:
        model(probe)
    return held.peak


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base has no types
    """The bytes of all storages that operators made and that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.known:
            self.known.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._remove, key, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
