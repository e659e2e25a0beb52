"""Facts about the machine: its processor, the memory at hand and in use, fast bfloat16; and glibc's malloc."""

import ctypes
import datetime
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cclnn._version import __version__

STATUS = Path("/proc/self/status")
CLEAR_PEAK = Path("/proc/self/clear_refs")
CPU_INFO = Path("/proc/cpuinfo")
MEMORY_INFO = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")
ASSUMED = 2 * 2**30  # bytes at hand where the system does not report it


def memory_at_hand(device: torch.device) -> float:
    """Bytes that can be allocated: free memory of the GPU, or of the machine and the process's control group."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([*_free_in_machine(), *_free_in_control_group()], default=ASSUMED)


def reports_peak_memory(device: torch.device) -> bool:
    """Whether `peak_growth` works: on a GPU always, on a CPU where the system has Linux's /proc."""
    return device.type == "cuda" or (STATUS.is_file() and CLEAR_PEAK.is_file())


def peak_growth(call: Callable[[], object], device: torch.device) -> int:
    """Bytes that `call()` takes at its peak beyond what is in use when it begins.

    On a GPU: torch's allocated memory. On a CPU: the resident set of this process, so memory that malloc kept from an
    earlier call hides what this one takes; measure in a fresh process.
    """
    before = restart_peak(device)
    call()
    return peak_in_use(device) - before


def restart_peak(device: torch.device) -> int:
    """Bytes in use now, as `peak_growth` counts them; `peak_in_use` counts from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    CLEAR_PEAK.write_text("5")
    return _status("VmRSS")


def peak_in_use(device: torch.device) -> int:
    """The largest number of bytes in use since `restart_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively: AVX512-BF16 or AMX on CPUs, Ampere or later on GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        flags = CPU_INFO.read_text() if CPU_INFO.is_file() else ""
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def facts(*, gpu: bool) -> dict[str, Any]:
    """What a measurement was made on: processor, GPU (None unless `gpu`), threads, versions and date; JSON-able."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": processor or platform.processor(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cclnn": __version__,
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
    }


def keep_freed_memory() -> None:
    """Let glibc's malloc keep large freed blocks instead of returning each to the kernel.

    A training step on a CPU is several times faster. It changes the whole process, so programs call it, never the
    library. No effect on other systems.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            libc.mallopt(mmap_threshold, 2**30)
            libc.mallopt(trim_threshold, 2**31 - 1)


def _free_in_machine() -> list[float]:
    lines = MEMORY_INFO.read_text().splitlines() if MEMORY_INFO.is_file() else []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _free_in_control_group() -> list[float]:
    """What a container's limit (control groups, version 2) leaves; empty where there is no limit."""
    limit, used = CONTROL_GROUP / "memory.max", CONTROL_GROUP / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return []
    return [max(int(limit.read_text()) - int(used.read_text()), 0)]


def _status(key: str) -> int:
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024
