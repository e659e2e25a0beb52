"""Measure the peak memory of one call in its own process, where no earlier call has left memory allocated."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from cclnn import _machine
from cclnn._typing import Tensor

ResultT = TypeVar("ResultT")


def peak_memory(run: Callable[[Tensor], Tensor], size: tuple[int, int], *, device: str = "cpu") -> int | None:
    """Measure by how many bytes `run(x)` raises memory at its peak, for x of shape (1, 3, *size) in its dtype.

    On a CPU this is the growth of the resident set with the default allocator, or None where the system does not report
    it (Linux does). On a GPU it is the growth of the memory that torch has allocated.

    Args:
        run: a model, an `Upscaler` or any other callable that can be pickled.
        size: rows and columns of x.
        device: the device of x.

    Raises:
        ValueError: `run` cannot be pickled, or its class is defined in a script or notebook.
        RuntimeError: the measuring process failed.
    """
    if not _machine.reports_peak_memory(torch.device(device)):
        return None
    with tempfile.TemporaryDirectory(prefix="cclnn-") as folder:
        path = Path(folder) / "call"
        try:
            torch.save((run, size, device), path)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"`run` must be picklable to be measured in a process of its own: {error}.") from error
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(  # noqa: S603  # this very interpreter on this very file
            [sys.executable, "-m", __name__, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        if "Can't get attribute" in reason:
            raise ValueError(f"`run` must be of classes that another process can import, not of __main__: {reason}.")
        raise RuntimeError(f"the process that measures memory failed: {reason}")
    return int(done.stdout)


def with_peak(call: Callable[[], ResultT], *, device: str = "cpu") -> tuple[ResultT, int | None]:
    """Call `call` and measure the most bytes in use meanwhile, those in use before included.

    On a CPU the bytes of this process that are resident, None where the system does not report them (Linux does); on a
    GPU those that torch has allocated there. Other threads count, too.

    Args:
        call: takes nothing.
        device: where it computes.

    Returns:
        What the call returned, and the bytes.
    """
    where = torch.device(device)
    if not _machine.reports_peak_memory(where):
        return call(), None
    _machine.restart_peak(where)
    return call(), _machine.peak_in_use(where)


def _measure(path: str) -> int:
    run, size, device = torch.load(path, weights_only=False)  # written by peak_memory a moment ago
    x = torch.zeros(1, 3, *size, device=device)
    if isinstance(run, torch.nn.Module):
        run.eval().to(device)
        x = x.to(next(run.parameters(), x).dtype)
    with torch.no_grad():
        return _machine.peak_growth(lambda: run(x), x.device)


if __name__ == "__main__":
    sys.stdout.write(str(_measure(sys.argv[1])))
