"""Time and peak memory of the attention's backends, as ratios to `reference` in the same run.

python benchmarks/run.py [--only TEXT] [--quick] [--results FOLDER] [--released PATH]; DEVICE.json and DEVICE.md are
written there

First the op's tests are run; a red one stops everything. Seconds: medians over interleaved calls (one backend after the
other, so that a drift of the machine hits all alike) in one process. Memory: peak resident set over what was there
before the call, on a GPU the peak allocated, in a fresh process for each backend. Everything runs in torch's default
environment: the allocator is not tuned. Besides: how time and memory grow with the tokens (slope of the logarithms),
`cclnn-t` and `cclnn-s` against an EDSR of 8 blocks and 64 channels, the options of the layer against its default, what
bfloat16 costs in PSNR, and what `import cclnn` costs. With a checkout of the released NLSN code (github.com/
HarukiYqM/Non-Local-Sparse-Attention) at PATH, its layer is timed beside ours: where `reference` is called the released
formulation, this is the released code.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from cases import CHOICES, GROWTH, LAYERS, NETWORKS, NUMBERS, OPTIONS, Case
from PIL import Image

import cclnn
from cclnn._files import write_atomically
from cclnn._machine import facts, peak_growth
from cclnn.metrics import psnr
from cclnn.ops import imresize
from cclnn.ops.sparse_attention import Backend
from cclnn.precision import DTYPES, autocast, lay_out

ROOT = Path(__file__).parents[1]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS: tuple[Backend, ...] = ("reference", "chunked") if DEVICE == "cpu" else ("reference", "chunked", "fused")
RELEASED = "CCLNN_RELEASED_NLSN"  # environment variable: the checkout that --released names
PHOTO = ROOT / "examples" / "images" / "chelsea.png"
Contestant = Backend | Literal["released"]
PATIENCE = 20.0  # seconds that one backend is timed for, once it has run three times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 7")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--released", type=Path, metavar="PATH", help="a checkout of the released NLSN code")
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "BACKEND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.released:
        if not (args.released / "src" / "model" / "attention.py").is_file():
            sys.exit(f"--released {args.released}: there is no src/model/attention.py in it")
        os.environ[RELEASED] = str(args.released.resolve())  # for the processes that measure memory, too
    cases = {case.name: case for case in [*LAYERS, *NETWORKS, *CHOICES]}
    if args.memory_of:
        print(json.dumps(peak_memory(cases[args.memory_of[0]], args.memory_of[1])))
        return

    tests = subprocess.run([sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "ops")], cwd=ROOT, check=False)
    if tests.returncode:
        sys.exit("the op's tests fail: nothing is timed")
    rows, repeats = [], 3 if args.quick else 7
    for case in (*LAYERS, *NETWORKS):
        if args.only not in case.name:
            continue
        rows.append(measure(case, repeats=repeats))
        print(*markdown_rows(rows[-1:]), sep="\n", flush=True)
    machine = facts(gpu=DEVICE == "cuda")
    results: dict[str, Any] = {"machine": machine, "repeats": repeats, "import": import_seconds(), "rows": rows}
    if not args.only:
        results |= {
            "growth": growth(rows),
            "networks": against_edsr(),
            "options": options(),
            "bf16 costs, dB": cost_of_bf16(),
        }
    args.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    write_atomically(args.results / f"{DEVICE}.json", lambda path: path.write_text(text))
    write_atomically(args.results / f"{DEVICE}.md", lambda path: path.write_text(markdown(results)))


def measure(case: Case, *, repeats: int) -> dict[str, Any]:
    """Seconds and extra bytes of every backend, and of the released layer where it is at hand."""
    contestants: tuple[Contestant, ...] = BACKENDS
    if RELEASED in os.environ and case.subject == "nlsa":
        contestants = (*BACKENDS, "released")
    seconds = interleaved({name: prepare(case, name) for name in contestants}, repeats=repeats)
    return {"case": case.name, **case.as_dict(), **{name: figures(case, name, seconds[name]) for name in contestants}}


def figures(case: Case, contestant: Contestant, seconds: list[float]) -> dict[str, Any]:
    """Seconds, and extra bytes, which a process of its own measures."""
    child = [sys.executable, __file__, "--memory-of", case.name, contestant]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "bytes": json.loads(done.stdout),
    }


def interleaved(calls: dict[Any, Callable[[], None]], *, repeats: int) -> dict[Any, list[float]]:
    """Seconds of each call, one after the other in turns; fewer repeats, three at least, where they take long."""
    for call in calls.values():
        call()
    seconds: dict[Any, list[float]] = {name: [] for name in calls}
    for done in range(repeats):
        if done >= 3 and max(map(sum, seconds.values())) > PATIENCE:
            break
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def prepare(case: Case, contestant: Contestant) -> Callable[[], None]:
    """A call that does the case's work once, to its end."""
    torch.manual_seed(0)
    model: torch.nn.Module
    if contestant == "released":
        sys.path.insert(0, str(Path(os.environ[RELEASED]) / "src"))
        model = importlib.import_module("model.attention").NonLocalSparseAttention(channels=case.channels)
        x = torch.randn(case.batch, case.channels, case.height, case.width)
    elif case.subject == "nlsa":
        model = cclnn.NonLocalSparseAttention(case.channels, backend=contestant, **OPTIONS[case.option])
        x = torch.randn(case.batch, case.channels, case.height, case.width)
    else:
        model = cclnn.create_model(case.subject, scale=2, backend=contestant)
        x = torch.rand(case.batch, 3, case.height, case.width)
    return call_of(model, x, case)


def call_of(model: torch.nn.Module, x: torch.Tensor, case: Case) -> Callable[[], None]:
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


def peak_memory(case: Case, contestant: Contestant) -> int:
    """Bytes that a call takes at its peak over what its model and input take; this process must be fresh."""
    side = 17 if contestant == "released" else 8  # the released layer needs two chunks
    prepare(replace(case, batch=1, height=side, width=side), contestant)()  # what the first call of a process sets up
    call = prepare(case, contestant)
    return peak_growth(call, torch.device(DEVICE))


def growth(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Exponents of time and memory as a function of the number of tokens: 1 is linear."""
    found: dict[str, dict[str, float]] = {}
    for number in NUMBERS:
        measured = [row for case in GROWTH for row in rows if row["case"] == case.name and case.number == number]
        tokens = np.log([row["height"] * row["width"] for row in measured])
        for backend in BACKENDS:
            found[f"{backend} {number}"] = {
                key: float(np.polyfit(tokens, np.log([row[backend][key] for row in measured]), 1)[0])
                for key in ("seconds", "bytes")
            }
    return found


def against_edsr() -> list[dict[str, Any]]:
    """Seconds of our small networks and of an EDSR of 8 blocks of 64 channels, x2, in turns, and their ratio."""
    found = []
    for case in NETWORKS:
        if case.subject not in ("cclnn-t", "cclnn-s"):
            continue
        torch.manual_seed(0)
        x = torch.rand(case.batch, 3, case.height, case.width)
        models = {"ours": cclnn.create_model(case.subject), "edsr": cclnn.create_model("edsr-baseline", n_resblocks=8)}
        seconds = interleaved({name: call_of(model, x, case) for name, model in models.items()}, repeats=15)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        found.append({"case": case.name, **medians, "ratio": medians["ours"] / medians["edsr"]})
    return found


def options() -> list[dict[str, Any]]:
    """Seconds and extra bytes of the layer with each of its options, in turns with the default, default backend."""
    backend = BACKENDS[-1]
    found = []
    for default in (case for case in CHOICES if case.option == "default"):
        cases = {option: replace(default, option=option) for option in OPTIONS}
        seconds = interleaved({option: prepare(case, backend) for option, case in cases.items()}, repeats=7)
        measured = {option: figures(case, backend, seconds[option]) for option, case in cases.items()}
        found.append({"case": default.name, **measured})
    return found


def cost_of_bf16() -> float:
    """PSNR of cclnn-s-x2 on the example photograph in float32 less that under bfloat16 autocast."""
    with Image.open(PHOTO) as image:
        pixels = np.asarray(image.convert("RGB"))
    hr = torch.from_numpy(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2].copy())
    hr = hr.permute(2, 0, 1)[None]
    lr = (imresize(hr, 0.5).float() / 255).to(DEVICE)
    model = cclnn.load("cclnn-s-x2").to(DEVICE)
    found = []
    for number in NUMBERS:
        with torch.no_grad(), autocast(DTYPES[number], DEVICE):
            sr = model(lr).clamp(0, 1).cpu()
        found.append(psnr(sr, hr.float() / 255, border=2).item())
    return found[0] - found[1]


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


def markdown(results: dict[str, Any]) -> str:
    lines = [
        "# Attention backends",
        "",
        "Written by `benchmarks/run.py`: every backend against `reference`, the released formulation, in one run, as",
        f"medians of {results['repeats']} calls (three of what takes long). Ratios above 1 mean faster or leaner;",
        "those of bf16 rows are to the bf16 reference, in brackets to the fp32 one.",
        "",
        *(f"- {key}: {value}" for key, value in results["machine"].items() if value is not None),
        *(f"- import {key}: {value:.2f} s" for key, value in results["import"].items()),
        "",
        "| case | backend | reference, s | s | faster | reference, MiB | MiB | leaner |",
        "|---|---|---|---|---|---|---|---|",
        *markdown_rows(results["rows"]),
        "",
    ]
    if any("released" in row for row in results["rows"]):
        lines += ["The released code, timed in the same turns:", "", *released_rows(results["rows"]), ""]
    if "growth" in results:
        lines += ["| one NLSA of 64 channels, 96x96 to 512x512 | time ~ tokens^ | memory ~ tokens^ |", "|---|---|---|"]
        lines += [f"| {k} | {v['seconds']:.2f} | {v['bytes']:.2f} |" for k, v in results["growth"].items()]
        lines += ["", "| x2 | s | EDSR 8 blocks 64 channels, s | ratio |", "|---|---|---|---|"]
        lines += [
            f"| {row['case']} | {row['ours']:.3f} | {row['edsr']:.3f} | {row['ratio']:.2f} |"
            for row in results["networks"]
        ]
        lines += ["", f"Options of the layer, time and memory as multiples of the default's ({BACKENDS[-1]}):", ""]
        lines += ["| case | " + " | ".join(list(OPTIONS)[1:]) + " |", "|---" * len(OPTIONS) + "|"]
        for row in results["options"]:
            cells = [
                " / ".join(f"{row[option][key] / row['default'][key]:.2f}" for key in ("seconds", "bytes"))
                for option in list(OPTIONS)[1:]
            ]
            lines.append(f"| {row['case']} | " + " | ".join(cells) + " |")
        lines += ["", f"bfloat16 costs `cclnn-s-x2` {results['bf16 costs, dB']:.4f} dB on the example photograph.", ""]
    return "\n".join(lines)


def markdown_rows(rows: list[dict[str, Any]]) -> list[str]:
    wide = {row["case"]: row["reference"]["seconds"] for row in rows if row["number"] == "fp32"}
    lines = []
    for row in rows:
        slow = row["reference"]
        for backend in BACKENDS[1:]:
            fast = row[backend]
            faster = f"{slow['seconds'] / fast['seconds']:.1f}x"
            if row["number"] == "bf16" and (base := wide.get(row["case"].replace("bf16", "fp32"))):
                faster += f" ({base / fast['seconds']:.1f}x)"
            mib = [x["bytes"] / 2**20 for x in (slow, fast)]
            lines.append(
                f"| {row['case']} | {backend} | {slow['seconds']:.3f} | {fast['seconds']:.3f} | {faster} "
                f"| {mib[0]:.0f} | {mib[1]:.0f} | {mib[0] / max(mib[1], 1):.1f}x |"
            )
    return lines


def released_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Ratios of the released layer's time and memory to those of our backends."""
    backends = [backend for backend in BACKENDS if any(backend in row for row in rows)]
    lines = ["| case | released, s | MiB | " + " | ".join(f"{x}: faster, leaner" for x in backends) + " |"]
    lines.append("|---" * (3 + len(backends)) + "|")
    for row in rows:
        if theirs := row.get("released"):
            cells = [
                ", ".join(f"{theirs[key] / max(row[backend][key], 1e-9):.1f}x" for key in ("seconds", "bytes"))
                for backend in backends
            ]
            lines.append(
                f"| {row['case']} | {theirs['seconds']:.3f} | {theirs['bytes'] / 2**20:.0f} | {' | '.join(cells)} |"
            )
    return lines


if __name__ == "__main__":
    main()
