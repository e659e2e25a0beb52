"""Code in forks of a process that has imported torch alone: what it imports and takes, without seconds for torch."""

import json
import subprocess
import sys
from pathlib import Path

from forked import Done

SERVER = """
import json, os, sys, traceback
import torch

for line in sys.stdin:
    code, *printed = json.loads(line)
    if not (child := os.fork()):
        for descriptor, path in enumerate(printed, start=1):
            os.dup2(os.open(path, os.O_WRONLY), descriptor)
        status = 0
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class AfterTorch:
    """The process; `folder` holds what its forks print."""

    def __init__(self, folder: Path) -> None:
        self.printed = [folder / "stdout", folder / "stderr"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, code: str) -> Done:
        for path in self.printed:
            path.write_text("")
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([code, *map(str, self.printed)]) + "\n")
        self.process.stdin.flush()
        return Done(int(self.process.stdout.readline()), *(path.read_text() for path in self.printed))

    def close(self) -> None:
        self.process.communicate()
