"""What upscaling costs: seconds and memory per output megapixel, and what tiles change.

python benchmarks/upscale_cost.py [--only speed|tiles|large] [--results FOLDER]

speed: `cclnn-s-x2` and `edsr-baseline` (random weights: for time they do not matter) by `Upscaler`, and bicubic by
       Pillow, x2, on one photograph, in one run: medians of interleaved calls; memory is the peak resident set over
       what was there before the call, in a fresh process each.
tiles: three photographs reduced by two and upscaled by `cclnn-s-x2` in tiles of several sizes: PSNR on Y against the
       whole image, and the seam: the mean step across the middle of the blended parts, relative to the mean step of the
       same image elsewhere, over the same ratio of the image upscaled whole (1: nothing to see).
large: `cclnn upscale` on a source of 20 megapixels; peak resident set, without the loaded model and source.

Writes upscale.json and upscale.md; parts that were not run keep what the file holds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

import cclnn
from cclnn._files import write_atomically
from cclnn._machine import facts, peak_growth, peak_in_use, restart_peak
from cclnn.metrics import psnr
from cclnn.ops import imresize, rgb_to_y
from cclnn.upscaler.tiles import spans

ROOT = Path(__file__).parents[1]
PARTS = ("speed", "tiles", "large")
CONTESTANTS = ("bicubic (Pillow)", "cclnn-s-x2 fp32", "cclnn-s-x2 bf16", "edsr-baseline fp32", "edsr-baseline bf16")
TILES = (64, 96, 128, 192, 256)
OVERLAP = 16
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
LARGE = (3648, 5472)  # rows, columns: 20 megapixels
LIMIT = 1.5 * 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--memory-of", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--large-child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(json.dumps(peak(args.memory_of)))
        return
    if args.large_child:
        large_child(*map(Path, args.large_child))
        return
    path = args.results / "upscale.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    measure = {"speed": speed, "tiles": tiles, "large": large}
    for part in args.only or PARTS:
        results[part] = {"machine": facts(gpu=False), **measure[part]()}
        print(json.dumps(results[part], indent=1), flush=True)
    args.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps({part: results[part] for part in PARTS if part in results}, indent=1) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))
    write_atomically(path.with_suffix(".md"), lambda temporary: temporary.write_text(markdown(results)))


def skimage_photo(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A photograph that comes with scikit-image."""
    return np.asarray(getattr(data, name)())


def photograph() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """512 rows, 768 columns."""
    return np.pad(skimage_photo("chelsea"), ((0, 212), (0, 317), (0, 0)), mode="reflect")


def prepare(contestant: str) -> Callable[[], object]:
    """A call that upscales the photograph by two."""
    photo = photograph()
    if contestant.startswith("bicubic"):
        image = Image.fromarray(photo)
        return lambda: image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
    name, precision = contestant.split()
    torch.manual_seed(0)
    model = name if name.endswith("-x2") else cclnn.create_model(name, scale=2)
    upscaler = cclnn.Upscaler(model, precision=precision)  # type: ignore[arg-type]  # one of the names
    upscaler(photo[:80, :96])
    return lambda: upscaler(photo)


def speed() -> dict[str, Any]:
    calls = {name: prepare(name) for name in CONTESTANTS}
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(4):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    del calls
    megapixels = 4 * photograph().shape[0] * photograph().shape[1] / 1e6
    rows = []
    for name in CONTESTANTS:
        child = [sys.executable, __file__, "--memory-of", name]
        memory = json.loads(subprocess.run(child, capture_output=True, text=True, check=True).stdout)
        taken = seconds[name][1:]  # the first is to warm up
        rows.append({"name": name, "seconds": statistics.median(taken), "all": taken, "bytes": memory})
        rows[-1]["seconds_per_megapixel"] = rows[-1]["seconds"] / megapixels
    return {"output_megapixels": megapixels, "rows": rows}


def peak(contestant: str) -> int:
    """Bytes of resident memory that a call takes at its peak; this process must be fresh."""
    return peak_growth(prepare(contestant), torch.device("cpu"))


def tiles() -> dict[str, Any]:
    pictures = {name: skimage_photo(name) for name in PHOTOGRAPHS}
    rows: list[dict[str, Any]] = []
    outputs: dict[tuple[str, int | str], torch.Tensor] = {}
    for tile in (*TILES, "none"):
        upscaler = cclnn.Upscaler("cclnn-s-x2", tile=tile, overlap=OVERLAP, precision="fp32")
        scores = {}
        for name, pixels in pictures.items():
            even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
            hr = torch.from_numpy(np.ascontiguousarray(even)).permute(2, 0, 1)[None]
            sr = upscaler(imresize(hr, 0.5))
            scores[name] = psnr(sr / 255, hr / 255, border=2).item()
            outputs[name, tile] = sr
        rows.append({"tile": tile, "psnr": statistics.mean(scores.values()), "images": scores, "seam": {}})
    for row in rows:
        row["cost"] = rows[-1]["psnr"] - row["psnr"]
        for name in pictures:
            tile = row["tile"]
            if tile != "none" and cuts(outputs[name, tile], tile):
                row["seam"][name] = step_ratio(outputs[name, tile], tile) / step_ratio(outputs[name, "none"], tile)
    return {"overlap": OVERLAP, "rows": rows}


def cuts(sr: torch.Tensor, tile: int) -> list[int]:
    """Output columns in the middle of the blended parts."""
    cover = spans(sr.shape[3] // 2, tile, OVERLAP)
    return [2 * span.keep_to - span.fade_out for span in cover[:-1]]


def step_ratio(sr: torch.Tensor, tile: int) -> float:
    """Mean step between the two columns at every cut, relative to the mean step elsewhere."""
    steps = rgb_to_y(sr.float() / 255).diff(dim=3).abs().mean(dim=(0, 1, 2))
    seams = torch.zeros(steps.numel(), dtype=torch.bool)
    seams[[column + shift for column in cuts(sr, tile) for shift in (-2, -1, 0)]] = True
    return (steps[seams].mean() / steps[~seams].mean()).item()


def large() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.png", Path(folder) / "target.png"
        rows, columns = LARGE
        photo = photograph()
        repeated = np.tile(photo, (rows // photo.shape[0] + 1, columns // photo.shape[1] + 1, 1))[:rows, :columns]
        Image.fromarray(repeated).save(source, compress_level=1)
        child = [sys.executable, __file__, "--large-child", str(source), str(target)]
        started = time.perf_counter()
        done = subprocess.run(child, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
        with Image.open(target) as image:
            assert image.size == (2 * columns, 2 * rows)
    return {"source_pixels": rows * columns, "seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def large_child(source: Path, target: Path) -> None:
    """The command in this process: what is there with the model and the source loaded, and the peak after that."""
    from click.testing import CliRunner

    from cclnn.cli.commands import cli

    loaded: list[int] = []
    call = cclnn.Upscaler.__call__

    def watched(self: cclnn.Upscaler, image: Any, **options: Any) -> Any:
        loaded.append(restart_peak(torch.device("cpu")))
        return call(self, image, **options)

    cclnn.Upscaler.__call__ = watched  # type: ignore[method-assign]  # measures where the work begins
    done = CliRunner().invoke(cli, ["upscale", str(source), "-o", str(target), "--quiet"])
    assert done.exit_code == 0, done.output
    print(json.dumps({"loaded_bytes": loaded[0], "extra_bytes": peak_in_use(torch.device("cpu")) - loaded[0]}))


def markdown(results: dict[str, Any]) -> str:
    lines = ["# Cost of upscaling", "", "Written by `benchmarks/upscale_cost.py`; its docstring says what is what.", ""]
    if "speed" in results:
        lines += [
            "| x2 | seconds per output megapixel | peak memory, MiB |",
            "|---|---|---|",
            *(speed_row(row) for row in results["speed"]["rows"]),
            "",
            *(f"- {key}: {value}" for key, value in results["speed"]["machine"].items() if value is not None),
            "",
        ]
    if "tiles" in results:
        lines += [
            "| tile | PSNR, dB | over the whole image, dB | seam |",
            "|---|---|---|---|",
            *(tile_row(row) for row in results["tiles"]["rows"]),
            "",
        ]
    if "large" in results:
        lines += [large_line(results["large"])]
    return "\n".join(lines) + "\n"


def speed_row(row: dict[str, Any]) -> str:
    return f"| {row['name']} | {row['seconds_per_megapixel']:.3f} | {row['bytes'] / 2**20:.0f} |"


def tile_row(row: dict[str, Any]) -> str:
    seam = f"{max(row['seam'].values()):.3f}" if row["seam"] else ""
    return f"| {row['tile']} | {row['psnr']:.3f} | {0 - row['cost']:+.3f} | {seam} |"


def large_line(large: dict[str, Any]) -> str:
    return (
        f"A source of {large['source_pixels'] / 1e6:.0f} megapixels by `cclnn upscale` took "
        f"{large['extra_bytes'] / 2**20:.0f} MiB over the loaded model and source."
    )


if __name__ == "__main__":
    main()
