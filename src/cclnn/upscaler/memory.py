"""How much memory a network takes per pixel, how much there is, and the tile that follows."""

import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cclnn._typing import Tensor
from cclnn.models import SRModel
from cclnn.precision import autocast

SIDES = (512, 384, 256, 192, 128, 96, 64)  # few, so that the same image gives the same result on most machines
PROBE = 64  # pixels per side of the image that a network is measured on
SHARE = 0.5  # of the memory at hand that a tile may take
CPU_LIMIT = 768 * 2**20  # bytes that a tile may take of a machine's main memory, however much there is
ASSUMED = 2 * 2**30  # bytes at hand where the system does not tell


def auto_tile(bytes_per_pixel: float, available: float, *, least: int, limit: float = float("inf")) -> int:
    """The largest of `SIDES` whose square takes no more than `SHARE` of `available` and no more than `limit` bytes.

    Where even the smallest takes more, the smallest that is at least `least`.
    """
    room = min(SHARE * available, limit)
    allowed = [side for side in SIDES if side >= least] or [least]
    return next((side for side in allowed if side * side * bytes_per_pixel <= room), allowed[-1])


def bytes_per_pixel(model: SRModel, dtype: torch.dtype, device: torch.device) -> float:
    """Peak of the bytes that a forward pass holds, per pixel of its input: measured on a small grey image.

    Convolutional networks and the sparse attention grow in proportion to the pixels, so a small image tells.
    """
    probe = torch.full((1, 3, PROBE, PROBE), 0.5, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(dtype, device), _Held() as held:
        model(probe)
    return float(held.peak) / PROBE**2


def available(device: torch.device) -> float:
    """Bytes that can be taken: free memory of the GPU, or of the machine and the control group the process is in."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([*_of_the_machine(), *_of_the_group()], default=ASSUMED)


def _of_the_machine() -> list[float]:
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _of_the_group(folder: Path = Path("/sys/fs/cgroup")) -> list[float]:
    """What a container's limit (control groups, version 2) leaves; nothing where there is no limit."""
    limit, used = folder / "memory.max", folder / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return []
    return [max(int(limit.read_text()) - int(used.read_text()), 0)]


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base has no types
    """The bytes of all storages that operators made and that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
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
