"""How strongly photo weights suit a JPEG of each quality: weights between the clean ones and those for photographs.

python benchmarks/strength.py --photos PHOTOS [--scale 2]

The eight held out photographs of the training loop (their middle 384 pixels) are reduced by `imresize` and stored as
JPEG with 4:2:0 chroma; PSNR on Y with `scale` pixels shaved, in fp32. benchmarks/results/strength.json gets the gains
over bicubic interpolation; `STRENGTHS` in `cclnn.weights.choice` follows its maxima, results_page.py shows it.
"""

import argparse
import json
import random
import sys
from io import BytesIO
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import cclnn
from cclnn._files import write_atomically
from cclnn.metrics import psnr
from cclnn.models import SRModel
from cclnn.ops import imresize
from cclnn.pretrained.strength import interpolate
from cclnn.weights import manifest
from cclnn.weights.choice import published, strength_of

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "train"))
from cclnn_training import loop, pictures

RESULTS = Path(__file__).parent / "results" / "strength.json"
QUALITIES = (60, 70, 75, 80, 85, 90, 93, 95, 97, 99)
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of the training images")
    parser.add_argument("--scale", type=int, default=2)
    args = parser.parse_args()
    name = published("photo")[args.scale]
    clean = published("clean", model=manifest()[name]["model"])[args.scale]
    ends = cclnn.load(clean).eval(), cclnn.load(name).eval()
    networks = {
        strength: interpolate(*ends, strength) for strength in sorted({*STRENGTHS, *map(strength_of, QUALITIES)})
    }
    hr = pictures.decode(pictures.find([args.photos]), pictures.default_cache(), least=64)
    held_out = sorted(random.Random(0).sample(range(len(hr)), k=8))
    pairs = [loop.middle_of_picture(hr, i, args.scale, 384) for i in held_out]
    rows = []
    for quality in QUALITIES:
        gains: dict[float, list[float]] = {}
        for lr, truth in pairs:
            given = stored(lr, quality)
            bicubic = decibels(imresize(given, args.scale), truth, args.scale)
            for strength in {*STRENGTHS, strength_of(quality)}:
                gains.setdefault(strength, []).append(restored(networks[strength], given, truth) - bicubic)
        rows.append({
            "quality": quality,
            "taken": strength_of(quality),
            "gains": {f"{strength:g}": round(mean(gains[strength]), 4) for strength in sorted(gains)},
        })  # fmt: skip
        print(rows[-1], flush=True)
    found = {"clean": clean, "photo": name, "scale": args.scale, "images": len(pairs), "rows": rows}
    text = json.dumps(found, indent=1)
    write_atomically(RESULTS, lambda path: path.write_text(text + "\n"))


def stored(lr: Tensor, quality: int) -> Tensor:
    """The image as JPEG gives it back, uint8."""
    pixels = (lr[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


@torch.inference_mode()
def restored(network: SRModel, given: Tensor, truth: Tensor) -> float:
    sr = (network(given.float() / 255).clamp(0, 1) * 255).round().byte()
    return decibels(sr, truth, network.scale)


def decibels(image: Tensor, truth: Tensor, scale: int) -> float:
    return psnr(image.float() / 255, truth, border=scale).item()


if __name__ == "__main__":
    main()
