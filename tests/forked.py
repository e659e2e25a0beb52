"""Programs in processes forked from one that has imported torch: a start takes no seconds of imports.

Each runs as if started from a shell: a session, arguments, environment, standard output and exit code of its own.
"""

import atexit
import ctypes
import multiprocessing
import os
import resource
import runpy
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

FORKED = multiprocessing.get_context("forkserver")
# Optimisers import torch._dynamo, a second. Nothing here imports huggingface_hub, which reads the environment then.
FORKED.set_forkserver_preload(["cclnn_training.loop", "cclnn.pretrained", "torch._dynamo"])


def ranks(processes: int) -> list[dict[str, str]]:
    """What a launcher tells each of its processes, in environment variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    if processes == 1:
        return [shared]
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


class Done(NamedTuple):
    """What a program that has ended left; named as in subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """A started program, or with "-m" a module. `out` is an empty folder for what it prints, which outlives a kill.

    With `returns_memory` what is resident is what is in use: freed memory goes back to the system at once. Otherwise
    glibc's malloc keeps some, by what was allocated where before.
    """

    def __init__(
        self,
        arguments: list[str],
        out: Path,
        *,
        environment: dict[str, str] | None = None,
        file_limit: int = resource.RLIM_INFINITY,
        returns_memory: bool = False,
    ) -> None:
        self.printed = [out / "stdout", out / "stderr"]
        for path in self.printed:
            path.touch()
        values = (arguments, self.printed, environment or {}, file_limit, returns_memory)
        self.process: ForkServerProcess = FORKED.Process(target=_run, args=values)
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid

    def wait(self, seconds: float = 600) -> Done:
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"the program did not end within {seconds} s")
        return Done(self.process.exitcode, *(path.read_text() for path in self.printed))


def _run(
    arguments: list[str], printed: list[Path], environment: dict[str, str], file_limit: int, returns_memory: bool
) -> None:
    os.setsid()  # signals reach it and its own processes alone
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # for its own processes, the default, not this module's
    for descriptor, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    if returns_memory and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 65536)
        libc.mallopt(trim_threshold, 0)
    program = partial(runpy.run_path, arguments[0])
    sys.argv, place = arguments, str(Path(arguments[0]).parent)
    if arguments[0] == "-m":
        program = partial(runpy.run_module, arguments[1], alter_sys=True)
        sys.argv, place = arguments[1:], str(Path.cwd())
    sys.path.insert(0, place)
    os._exit(_exit_code(program))  # without waiting for processes that the program left, such as data workers


def _exit_code(program: Callable[..., object]) -> int:
    """Run the program, and what it registered for its end, as an interpreter does that was started with it."""
    code: object = 0
    try:
        program(run_name="__main__")
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:  # noqa: BLE001  # as an interpreter does
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201  # sys.exit("message")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)
