"""Put a finished training run into the package: fp16 weights, checksum, and PSNR/SSIM measured on the stored file.

python benchmarks/publish_weights.py RUN --name cclnn-t-x2 --commit 2061616 --set5 Set5/HR --b100 B100/HR

RUN is the --out folder of examples/train.py. The moving-average weights of its last.pt are stored; the numbers are
those that `cclnn evaluate` gives for the file as a user loads it, in float32 on the CPU: LR from files where they lie
beside the HR images and by `imresize` otherwise, PSNR and SSIM on Y with `scale` pixels shaved, mean over the images.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

import cclnn
from cclnn._files import write_atomically
from cclnn.evaluation import evaluate
from cclnn.evaluation.complexity import count_parameters
from cclnn.hub import checkpoint

WEIGHTS = Path(cclnn.__file__).parent / "weights"
DATA = "545 freely licensed photographs (CC0, public domain, CC BY, BSD, Unsplash, Pexels), 8 of them held out"
WITHOUT_WEIGHTS = {"n_hashes", "chunk_size"}  # of the attention; a run may have had others than the model published
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
    others = {name: value for name, value in state["config"].items() if value != model.config[name]}
    assert others.keys() <= WITHOUT_WEIGHTS, f"{args.run} is not a run of {args.model}: {others}"
    prefix = "module."
    tensors = {name.removeprefix(prefix): x for name, x in state["ema"].items() if name.startswith(prefix)}
    checkpoint.load_strictly(model, tensors, str(args.run))

    path = WEIGHTS / f"{args.name}.safetensors"
    checkpoint.write_file(model, path, dtype=torch.float16)
    size = path.stat().st_size
    assert size <= LIMIT, f"{path} has {size} bytes, {LIMIT} are allowed"

    stored = checkpoint.read_file(path)
    folders = {"Set5": args.set5, "B100": args.b100}
    evaluation = evaluate({args.name: stored}, folders.values(), scale=stored.scale, device="cpu", memory=False)
    measured = {
        name: {"images": len(result.scores), "psnr": round(result.psnr, 3), "ssim": round(result.ssim, 4)}
        for name, result in zip(folders, evaluation.results, strict=True)
    }
    entry = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": args.model,
        "config": model.config,
        "parameters": count_parameters(model),
        "training": {
            "data": args.data,
            "steps": state["step"],
            "seed": args.seed,
            "recipe": args.recipe,
            "commit": args.commit,
            **({"trained_with": others} if others else {}),
        },
        "measured": measured,
    }
    manifest_path = WEIGHTS / "manifest.json"
    manifest = {**json.loads(manifest_path.read_text()), args.name: entry}
    text = json.dumps(dict(sorted(manifest.items())), indent=2) + "\n"
    write_atomically(manifest_path, lambda temporary: temporary.write_text(text))
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()
