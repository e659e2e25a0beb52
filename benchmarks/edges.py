"""What mirroring an image beyond its edges changes: PSNR on a dataset, and the colour of flat pictures' corners.

python benchmarks/edges.py ../shared/data/test/B100        # writes benchmarks/results/edges.json

PSNR is that of `cclnn evaluate`, on Y with `scale` pixels shaved off each side, which leaves most of the edge in.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import cclnn
from cclnn._files import write_atomically
from cclnn._machine import facts
from cclnn.evaluation import find_dataset
from cclnn.metrics import psnr
from cclnn.upscaler.network import Edges
from cclnn.weights.choice import published

RESULTS = Path(__file__).parent / "results" / "edges.json"
FLAT = {"white": (255, 255, 255), "green": (0, 200, 0), "magenta": (255, 0, 255)}
EDGES: tuple[Edges, ...] = ("network", "mirror")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a dataset as `cclnn evaluate` takes it")
    folder = parser.parse_args().folder
    found: dict[str, Any] = {"machine": facts(gpu=False), "data": folder.name}
    for name in published("clean").values():
        upscalers = {
            edges: cclnn.Upscaler(name, edges=edges, tile="none", precision="fp32", device="cpu") for edges in EDGES
        }
        found[name] = {
            "psnr": {edges: round(_psnr(upscaler, folder), 4) for edges, upscaler in upscalers.items()},
            "corner levels": {edges: _corners(upscaler) for edges, upscaler in upscalers.items()},
        }
        print(name, json.dumps(found[name]))
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(RESULTS, lambda temporary: temporary.write_text(text))


def _psnr(upscaler: cclnn.Upscaler, folder: Path) -> float:
    scale = upscaler.scale
    pairs = find_dataset(folder, scale=scale).pairs
    return mean(float(psnr(upscaler(lr), hr, border=scale)) for lr, hr in (pair.load(scale) for pair in pairs))


def _corners(upscaler: cclnn.Upscaler) -> dict[str, int]:
    """The largest difference from a flat picture's colour, in levels of 255."""
    worst = {}
    for name, colour in FLAT.items():
        flat = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(1, 3, 24, 32).contiguous()
        large = upscaler(flat).int()
        worst[name] = int((large - torch.tensor(colour)[:, None, None]).abs().max())
    return worst


if __name__ == "__main__":
    main()
