"""Put a finished training run into the package: fp16 weights, checksum, and PSNR/SSIM measured on the stored file.

python benchmarks/publish_weights.py RUN --name cclnn-t-x2 --commit 2061616 --set5 Set5/HR --b100 B100/HR

RUN is the --out folder of examples/train.py. The moving-average weights of its last.pt are stored; the numbers are
those of the file as a user loads it, in float32 on the CPU: HR cropped to a multiple of the scale, LR by `imresize`,
PSNR and SSIM on Y with `scale` pixels shaved, mean over the images.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import cclnn
from cclnn._files import write_atomically
from cclnn.hub import checkpoint
from cclnn.metrics import psnr, ssim
from cclnn.models import SRModel
from cclnn.ops import imresize

WEIGHTS = Path(cclnn.__file__).parent / "weights"
DATA = "545 freely licensed photographs (CC0, public domain, CC BY, BSD, Unsplash, Pexels), 8 of them held out"
LIMIT = 2_500_000  # bytes in the wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--model", default="cclnn-t")
    parser.add_argument("--commit", required=True, help="of the code that trained")
    parser.add_argument("--seed", type=int, required=True, help="of the training run")
    parser.add_argument("--recipe", required=True, help="the command that trained, without paths")
    parser.add_argument("--data", default=DATA, help="what the weights were trained on")
    parser.add_argument("--set5", type=Path, required=True)
    parser.add_argument("--b100", type=Path, required=True)
    args = parser.parse_args()

    state = torch.load(args.run / "last.pt", weights_only=True, map_location="cpu")
    model = cclnn.create_model(args.model, scale=state["config"]["scale"])
    assert model.config == state["config"], f"{args.run} is not a run of {args.model}"
    prefix = "module."
    tensors = {name.removeprefix(prefix): x for name, x in state["ema"].items() if name.startswith(prefix)}
    checkpoint.load_strictly(model, tensors, str(args.run))

    path = WEIGHTS / f"{args.name}.safetensors"
    checkpoint.write_file(model, path, dtype=torch.float16)
    size = path.stat().st_size
    assert size <= LIMIT, f"{path} has {size} bytes, {LIMIT} are allowed"

    stored = checkpoint.read_file(path)
    measured = {name: evaluate(stored, folder) for name, folder in (("Set5", args.set5), ("B100", args.b100))}
    entry = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": args.model,
        "config": model.config,
        "parameters": sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in _mean_shift(model)),
        "training": {
            "data": args.data,
            "steps": state["step"],
            "seed": args.seed,
            "recipe": args.recipe,
            "commit": args.commit,
        },
        "measured": measured,
    }
    manifest_path = WEIGHTS / "manifest.json"
    manifest = {**json.loads(manifest_path.read_text()), args.name: entry}
    text = json.dumps(dict(sorted(manifest.items())), indent=2) + "\n"
    write_atomically(manifest_path, lambda temporary: temporary.write_text(text))
    print(json.dumps(entry, indent=2))


@torch.inference_mode()
def evaluate(model: SRModel, folder: Path) -> dict[str, float]:
    """Mean PSNR and SSIM over a folder of HR images."""
    scale, scores = model.scale, []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            hr = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
        height, width = (length // scale * scale for length in hr.shape[2:])
        hr = hr[:, :, :height, :width]
        sr, truth = model(imresize(hr, 1 / scale).float() / 255), hr.float() / 255
        scores.append((psnr(sr, truth, border=scale).item(), ssim(sr, truth, border=scale).item()))
    mean = np.mean(scores, axis=0)
    return {"images": len(scores), "psnr": round(float(mean[0]), 3), "ssim": round(float(mean[1]), 4)}


def _mean_shift(model: torch.nn.Module) -> list[torch.Tensor]:
    return [b for module in model.modules() if isinstance(module, cclnn.MeanShift) for b in module.buffers()]


if __name__ == "__main__":
    main()
