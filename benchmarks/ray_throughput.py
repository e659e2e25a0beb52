"""Measure the throughput of integrations/ray on this machine, with one worker and with two: `make throughput`.

Each number of workers makes two runs, one of a single image for each worker, one of more; what the runs have in common,
the start of Ray and of the workers, drops out of the difference.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from cclnn._machine import facts

ROOT = Path(__file__).parents[1]
CHELSEA = ROOT / "examples" / "images" / "chelsea.png"
RESULTS = ROOT / "benchmarks" / "results"
DAY, MILLION, PHOTO = 86_400, 1_000_000, 12.0  # seconds, photographs, megapixels of each


def photographs(folder: Path, count: int, megapixels: float) -> None:
    """Photographs of this size: parts of one, enlarged, at different places."""
    side = round((megapixels * 1e6) ** 0.5)
    with Image.open(CHELSEA) as image:
        for i in range(count):
            part = image.convert("RGB").crop((i, 0, i + 300, 300)).resize((side, side), Image.Resampling.BICUBIC)
            part.save(folder / f"{i:03}.jpg", quality=90)


def seconds(count: int, workers: int, megapixels: float, model: str) -> float:
    """Wall time of a run on so many photographs."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in", Path(folder) / "out"
        source.mkdir()
        photographs(source, count, megapixels)
        command: list[str | Path] = [
            sys.executable,
            ROOT / "integrations/ray/upscale.py",
            source,
            output,
            "--model",
            model,
        ]
        started = time.perf_counter()
        subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True)
        return time.perf_counter() - started


def table(rates: dict[int, float], megapixels: float, model: str, machine: str) -> str:
    """Megapixels per second, and the machines that a million photographs of 12 megapixels take in a day."""
    lines = [
        f"Measured on {machine}, with `{model}` on photographs of {megapixels:g} megapixel, in bf16 where it is fast:",
        "",
        "| workers | input megapixels per second | seconds for 12 megapixels | machines for a million in a day |",
        "|---|---|---|---|",
    ]
    for workers, rate in rates.items():
        machines = MILLION * PHOTO / rate / DAY
        lines.append(f"| {workers} | {rate:.3f} | {PHOTO / rate:.1f} | {-(-machines // 1):.0f} |")
    first, second = rates.values()
    return "\n".join([*lines, "", f"Two workers do {second / first:.2f} times the work of one.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8, help="of the longer run, for each worker")
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--model", default="cclnn-s-x2")
    given = parser.parse_args()
    times = {
        workers: [seconds(each * workers, workers, given.megapixels, given.model) for each in (1, given.images)]
        for workers in (1, 2)
    }
    rates = {
        workers: (given.images - 1) * workers * given.megapixels / (longer - shorter)
        for workers, (shorter, longer) in times.items()
    }
    machine = facts(gpu=False)
    record = {"machine": machine, **vars(given), "seconds": times, "megapixels_per_second": rates}
    (RESULTS / "ray.json").write_text(json.dumps(record, indent=2) + "\n")
    text = table(rates, given.megapixels, given.model, f"{machine['processor']}, one thread a worker")
    (RESULTS / "ray.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
