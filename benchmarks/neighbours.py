"""How much a busy process beside it slows the sparse attention, with and without GOMP_SPINCOUNT=0.

python benchmarks/neighbours.py        # writes benchmarks/results/neighbours.json; nothing else should run

One `NonLocalSparseAttention` of 64 channels on 128x128 pixels, in evaluation, with torch's own number of threads, in a
process of its own for each setting. Seconds are medians of 15 calls after three; settings take turns three times, and
the median over the turns counts, so that a drift of the machine hits all alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from cclnn import NonLocalSparseAttention
from cclnn._files import write_atomically
from cclnn._machine import facts

RESULTS = Path(__file__).parent / "results" / "neighbours.json"
BUSY = "while True: pass"
TURNS, CALLS, FIRST = 3, 15, 3
SETTINGS: dict[str, dict[str, str]] = {"default": {}, "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().time:
        print(_seconds())
        return
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(TURNS):
        for name, environment in SETTINGS.items():
            seconds.setdefault((name, "alone"), []).append(_measured(environment))
            busy = subprocess.Popen([sys.executable, "-c", BUSY])
            try:
                seconds.setdefault((name, "beside one busy process"), []).append(_measured(environment))
            finally:
                busy.kill()
                busy.wait()
    medians = {" ".join(key): statistics.median(values) for key, values in seconds.items()}
    least = medians["default alone"]
    found = {
        "machine": facts(gpu=False),
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "times as long as alone": {name: round(value / least, 2) for name, value in medians.items()},
    }
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    write_atomically(RESULTS, lambda temporary: temporary.write_text(text))


def _measured(environment: dict[str, str]) -> float:
    """The layer's seconds in a fresh process."""
    command = [sys.executable, __file__, "--time"]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return float(done.stdout)


@torch.no_grad()
def _seconds() -> float:
    layer = NonLocalSparseAttention(64).eval()
    x = torch.rand(1, 64, 128, 128)
    found = []
    for _ in range(FIRST + CALLS):
        start = time.perf_counter()
        layer(x)
        found.append(time.perf_counter() - start)
    return statistics.median(found[FIRST:])


if __name__ == "__main__":
    main()
