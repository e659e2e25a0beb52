"""Time and peak memory of the attention's backends, as ratios to `reference` in the same run.

python benchmarks/run.py [--only TEXT] [--quick] [--results FOLDER]

First the op's tests are run; a red one stops everything. Seconds: medians over interleaved calls (one backend after the
other, so that a drift of the machine hits all alike) in one process. Memory: peak resident set over what was there
before the call, on a GPU the peak allocated, in a fresh process for each backend. Everything runs in torch's default
environment: the allocator is not tuned. Writes DEVICE.json and DEVICE.md.
"""

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cases import LAYERS, NETWORKS, Case

import cclnn
from cclnn._files import write_atomically
from cclnn.ops.lsh_attention import Backend
from cclnn.precision import DTYPES, autocast, lay_out

ROOT = Path(__file__).parents[1]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS: tuple[Backend, ...] = ("reference", "chunked")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 7")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "BACKEND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    cases = {case.name: case for case in [*LAYERS, *NETWORKS]}
    if args.memory_of:
        print(json.dumps(peak_memory(cases[args.memory_of[0]], args.memory_of[1])))
        return

    tests = subprocess.run([sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "ops")], cwd=ROOT, check=False)
    if tests.returncode:
        sys.exit("the op's tests fail: nothing is timed")
    rows = []
    for name, case in cases.items():
        if args.only not in name:
            continue
        rows.append(measure(case, repeats=3 if args.quick else 7))
        print(markdown_row(rows[-1]), flush=True)
    results = {"machine": machine(), "import": import_seconds(), "rows": rows}
    args.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    write_atomically(args.results / f"{DEVICE}.json", lambda path: path.write_text(text))
    write_atomically(args.results / f"{DEVICE}.md", lambda path: path.write_text(markdown(results)))


def measure(case: Case, *, repeats: int) -> dict[str, Any]:
    """Seconds and extra bytes of every backend."""
    calls = {backend: prepare(case, backend) for backend in BACKENDS}
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    for _ in range(repeats):
        for backend, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[backend].append(time.perf_counter() - started)
    del calls
    row: dict[str, Any] = {"case": case.name, **case.as_dict()}
    for backend in BACKENDS:
        child = [sys.executable, __file__, "--memory-of", case.name, backend]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
        row[backend] = {
            "seconds": statistics.median(seconds[backend]),
            "fastest": min(seconds[backend]),
            "slowest": max(seconds[backend]),
            "bytes": json.loads(done.stdout),
        }
    return row


def prepare(case: Case, backend: Backend) -> Callable[[], None]:
    """A call that does the case's work once, to its end."""
    torch.manual_seed(0)
    model: torch.nn.Module
    if case.subject == "nlsa":
        model = cclnn.NonLocalSparseAttention(case.channels, backend=backend)
        x = torch.randn(case.batch, case.channels, case.height, case.width)
    else:
        model = cclnn.create_model(case.subject, scale=2, backend=backend)
        x = torch.rand(case.batch, 3, case.height, case.width)
    model.train(case.task == "training").to(DEVICE)
    x = x.to(DEVICE)
    if case.number == "bf16":
        x = x.contiguous(memory_format=torch.channels_last)
        lay_out(model)
    dtype = DTYPES[case.number]

    def infer() -> None:
        with torch.no_grad(), autocast(dtype, DEVICE):
            model(x)
        synchronize()

    def train() -> None:
        model.zero_grad()
        leaf = x.detach().requires_grad_(case.subject == "nlsa")
        with autocast(dtype, DEVICE):
            out = model(leaf)
        out.square().mean().backward()
        synchronize()

    return train if case.task == "training" else infer


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def peak_memory(case: Case, backend: Backend) -> int:
    """Bytes that a call takes at its peak over what its model and input take; this process must be fresh."""
    call = prepare(case, backend)
    if DEVICE == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(key: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024


def import_seconds() -> dict[str, float]:
    """`import torch`, and what importing the layers adds."""

    def seconds(code: str) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    torch_alone = seconds("import torch")
    return {
        "torch": torch_alone,
        "cclnn over torch": seconds("import torch, cclnn") - torch_alone,
        "cclnn.layers over torch": seconds("import torch, cclnn.layers") - torch_alone,
    }


def machine() -> dict[str, Any]:
    cpu = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), ""
    )
    return {
        "processor": cpu or platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if DEVICE == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cclnn": cclnn.__version__,
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
    }


def markdown(results: dict[str, Any]) -> str:
    lines = [
        "# Attention backends",
        "",
        "Written by `make bench`: `chunked` against `reference`, the released formulation, in one run.",
        "Ratios above 1 mean faster or leaner.",
        "",
        *(f"- {key}: {value}" for key, value in results["machine"].items() if value is not None),
        *(f"- import {key}: {value:.2f} s" for key, value in results["import"].items()),
        "",
        "| case | reference, s | chunked, s | faster | reference, MiB | chunked, MiB | leaner |",
        "|---|---|---|---|---|---|---|",
        *(markdown_row(row) for row in results["rows"]),
    ]
    return "\n".join(lines) + "\n"


def markdown_row(row: dict[str, Any]) -> str:
    slow, fast = row["reference"], row["chunked"]
    mib = [x["bytes"] / 2**20 for x in (slow, fast)]
    return (
        f"| {row['case']} | {slow['seconds']:.3f} | {fast['seconds']:.3f} | {slow['seconds'] / fast['seconds']:.1f}x "
        f"| {mib[0]:.0f} | {mib[1]:.0f} | {mib[0] / max(mib[1], 1):.1f}x |"
    )


if __name__ == "__main__":
    main()
