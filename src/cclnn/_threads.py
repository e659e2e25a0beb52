"""The threads of torch's CPU library, which a fork loses: an error in the child, which would wait for ever.

GNU's OpenMP, which torch's wheels for Linux use, keeps a pool of threads for each thread that has computed. A fork
copies the record of the pool without its threads. Other OpenMP libraries make new ones.

Not detected: a fork while other threads compute, or in the moment in which a pool ends with its thread. They may hold
the lock of MKL's memory, and the child, which inherits it, waits for ever.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

import torch

MAPS = Path("/proc/self/maps")
_here = threading.local()  # started: this thread may have a pool; lost: it had one before the fork


def use_threads() -> None:
    """Call it before torch computes on the CPU in many threads.

    Raises:
        RuntimeError: this process is a fork, and the thread that forked had computed before.
    """
    if torch.get_num_threads() == 1:
        return  # there is no pool
    if getattr(_here, "lost", False):
        raise RuntimeError(
            "this process was forked after networks had run, and torch's CPU threads do not survive a fork: it would "
            "wait for ever. Start processes by multiprocessing.get_context('spawn'), or call "
            "torch.set_num_threads(1) in this one."
        )
    _here.started = True


def _after_fork() -> None:
    if getattr(_here, "started", False):
        with suppress(OSError):  # without Linux's /proc it is another library
            _here.lost = "libgomp" in MAPS.read_text()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
