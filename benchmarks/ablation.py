"""The paper's Tables 1 and 2 in miniature: small networks of one width trained alike, then measured alike.

python benchmarks/ablation.py --photos PHOTOS --set5 Set5 --b100 B100 [--seeds 0 1 2] [--out runs/ablation]

Each network is one run of examples/train/train.py; a run that was stopped goes on. All have the same width, depth,
patches, steps and schedule; PHOTOS without the 8 held out images trains them. benchmarks/results/ablation.json gets the
PSNR of the last step on the held out images, Set5 and B100 (fp32, whole images, on Y, `scale` pixels shaved).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import cclnn
from cclnn._files import write_atomically
from cclnn.evaluation import evaluate
from cclnn.evaluation.complexity import count_parameters

ROOT = Path(__file__).parents[1]
TRAIN = ROOT / "examples" / "train" / "train.py"
RESULTS = ROOT / "benchmarks" / "results" / "ablation.json"
SIZE = ["channels=32", "n_resblocks=8", "res_scale=1.0"]
ATTENTION = ["n_hashes=2", "chunk_size=64"]
COSINE = [*ATTENTION, "similarity=cosine", "centre=true"]
NETWORKS = {  # the paper's name, with our options where they are on -> model, arguments
    "EDSR": ("edsr", SIZE),
    "NLSN": ("nlsn", SIZE + ATTENTION),
    "CCLNN-Local": ("cclnn", [*SIZE, *ATTENTION, "branch=local"]),
    "CCLNN-Non-L": ("cclnn", [*SIZE, *ATTENTION, "branch=nonlocal"]),
    "CCLNN-NSparse": ("cclnn", [*SIZE, *ATTENTION, "sparsity=none"]),
    "CCLNN-TSparse": ("cclnn", [*SIZE, *ATTENTION, "sparsity=l1"]),
    "CCLNN": ("cclnn", SIZE + ATTENTION),
    "NLSN, cosine": ("nlsn", SIZE + COSINE),
    "CCLNN-Non-L, cosine": ("cclnn", [*SIZE, *COSINE, "branch=nonlocal"]),
    "CCLNN, cosine": ("cclnn", SIZE + COSINE),
}
RECIPE = {
    "scale": 2, "steps": 1000, "batch": 8, "patch": 24, "candidates": 3, "optimizer": "adam", "lr": 1e-3,
    "schedule": "cosine", "warmup": 100, "contrastive-after": 200, "ema": 0.99,
    "validate-every": 1000, "precision": "bf16",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of training images")
    parser.add_argument("--set5", type=Path, required=True)
    parser.add_argument("--b100", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablation")
    args = parser.parse_args()

    rows = []
    for seed in args.seeds:
        for name, (model, arguments) in NETWORKS.items():
            folder = args.out / f"{name.replace(', ', '-')}-{seed}"
            train(args.photos, folder, model, arguments, seed)
            rows.append({"algorithm": name, "seed": seed, **measure(folder, name, args.set5, args.b100)})
            found = {"recipe": RECIPE, "size": SIZE, "attention": ATTENTION, "rows": rows}
            text = json.dumps(found, indent=1) + "\n"
            write_atomically(RESULTS, lambda path, text=text: path.write_text(text))  # type: ignore[misc]


def train(photos: str, folder: Path, model: str, arguments: list[str], seed: int) -> None:
    """Train, go on, or, where all steps are made, only validate; a folder of another recipe is refused."""
    recipe = [part for name, value in RECIPE.items() for part in (f"--{name}", str(value))]
    where = ["--data", photos, "--out", str(folder), "--seed", str(seed)]
    subprocess.run(
        [sys.executable, str(TRAIN), *where, "--model", model, "--arguments", *arguments, *recipe], check=True
    )


def measure(folder: Path, name: str, set5: Path, b100: Path) -> dict[str, Any]:
    model = cclnn.load(folder)
    evaluation = evaluate({name: model}, [set5, b100], scale=2, device="cpu", memory=False)
    state = torch.load(folder / "last.pt", weights_only=True, map_location="cpu")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {
        "parameters": count_parameters(model),
        "validation": [line["psnr"] for line in lines if "psnr" in line][-1],
        **{result.dataset: result.psnr for result in evaluation.results},
        "contrastive": [line["contrastive"] for line in lines if "contrastive" in line][-1],
        "made_with": state["made_with"],
    }


if __name__ == "__main__":
    main()
