"""Put a finished training run into the package: fp16 weights, checksum, and PSNR/SSIM measured on the stored file.

python benchmarks/publish_weights.py RUN --name cclnn-s-x2 --recipe "..." --set5 Set5 --b100 B100
python benchmarks/publish_weights.py RUN --name cclnn-l-x2 --model cclnn-l --into weights --recipe "..." ...

RUN is the --out folder of examples/train/train.py. The weights of its last.pt are stored (their average, where the run
kept one), with the steps, time, hardware, commit and seed that it tells; the numbers are those that `cclnn evaluate`
gives for the file as a user loads it, in float32 on the CPU: LR from files where they lie beside the HR images and by
`imresize` otherwise, PSNR and SSIM on Y with `scale` pixels shaved, mean over the images. Beside them stand the gains
over bicubic on B100 after each of `cclnn evaluate --degrade`'s degradations.

With --blend NAME the file holds `share` of the run's weights and 1 - share of the published weights NAME: near their
starting point, weights so averaged often gain more than either.

What is too large for the package goes --into a folder of the repository: cclnn.load("weights/cclnn-l-x2").
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from golden_output import golden_output, steady_place

import cclnn
from cclnn._files import write_atomically
from cclnn._names import DEGRADATIONS, Degrade
from cclnn.evaluation import evaluate, paired_difference
from cclnn.evaluation.complexity import count_parameters
from cclnn.models._files import write_model
from cclnn.pretrained.strength import interpolate

PACKAGE = Path(cclnn.__file__).parent / "weights"
MANIFEST = PACKAGE / "manifest.json"
DATA = "545 photographs (170 landscapes, objects, cities; 340 facades; 35 of CQ100), 8 of them held out"
LICENCE = "CC0, public domain, CC BY, BSD, Unsplash, Pexels"
WITHOUT_WEIGHTS = {"n_hashes", "chunk_size"}  # of the attention; a run may have had others than the model published
LIMIT = 2_500_000  # bytes in the package
ROUNDING = 0.005  # dB that storing them as fp16 may cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--model", default="cclnn-s")
    parser.add_argument("--into", type=Path, help="a folder of the repository; by default the package")
    parser.add_argument("--recipe", required=True, help="the command that trained, without paths")
    parser.add_argument("--for", dest="purpose", choices=("clean", "photo"), default="clean", help="what they upscale")
    parser.add_argument("--continues", action="store_true", help="the run started from the published weights NAME")
    parser.add_argument("--blend", metavar="NAME", help="published weights of the same network to take a part of")
    parser.add_argument("--share", type=float, default=0.9, help="of the run in the blend; the rest is NAME's")
    parser.add_argument("--data", default=DATA, help="what the weights were trained on")
    parser.add_argument("--data-licence", default=LICENCE, help="of those images")
    parser.add_argument("--set5", type=Path, required=True, help="folder of that name")
    parser.add_argument("--b100", type=Path, required=True, help="folder of that name")
    args = parser.parse_args()

    state = torch.load(args.run / "last.pt", weights_only=True, map_location="cpu")
    model = cclnn.create_model(args.model, scale=state["config"]["scale"])
    others = {name: value for name, value in state["config"].items() if value != model.config[name]}
    assert others.keys() <= WITHOUT_WEIGHTS, f"{args.run} is not a run of {args.model}: {others}"
    model.load_state_dict(weights(state))
    if args.blend:
        model = interpolate(cclnn.load(args.blend), model, args.share)

    path = (args.into or PACKAGE) / f"{args.name}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        write_model(model, Path(folder) / path.name, dtype=torch.float16)
        content = (Path(folder) / path.name).read_bytes()
        stored = cclnn.load(Path(folder) / path.name)
    assert args.into or len(content) <= LIMIT, f"{len(content)} bytes, {LIMIT} are allowed in the package"
    folders = {folder.name: folder for folder in (args.set5, args.b100)}
    assert [*folders] == ["Set5", "B100"], f"the folders must be called Set5 and B100, not {', '.join(folders)}"
    both = {args.name: stored, "unrounded": model.eval()}
    evaluation = evaluate(both, folders.values(), scale=stored.scale, device="cpu", memory=False)
    results = {name: [evaluation.result(key, name) for key in both] for name in folders}
    measured = {
        name: {"images": len(found.scores), "psnr": round(found.psnr, 3), "ssim": round(found.ssim, 4)}
        for name, (found, _) in results.items()
    }
    rounding = max(whole.psnr - found.psnr for found, whole in results.values())
    assert rounding < ROUNDING, f"storing the weights as fp16 costs {rounding:.4f} dB"
    manifest = json.loads(MANIFEST.read_text())
    entry = {
        **({"for": args.purpose} if args.purpose != "clean" else {}),
        **({"path": path.as_posix(), "bytes": len(content)} if args.into else {"file": path.name}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "model": args.model,
        "architecture": type(model).__name__,
        "config": model.config,
        "parameters": count_parameters(model),
        "training": {
            "data": args.data,
            "data_licence": args.data_licence,
            "steps": state["step"],
            "hours": round(state["seconds"] / 3600, 2),
            "hardware": state["made_with"]["device"],
            "seed": state["settings"]["seed"],
            "recipe": args.recipe,
            "commit": state["made_with"]["commit"],
            **({"trained_with": others} if others else {}),
            **({"blend": {"with": args.blend, "share": args.share}} if args.blend else {}),
            **({"continues": manifest[args.name]["training"]} if args.continues else {}),
        },
        "measured": measured,
        "gains": {f"B100 {kind}": gain(stored, args.b100, kind) for kind in DEGRADATIONS},
        "fp16_costs_db": round(rounding, 4),
        "golden": golden_output(stored, steady_place(stored)),
    }
    text = json.dumps(dict(sorted({**manifest, args.name: entry}.items())), indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))  # last: all checks have passed
    write_atomically(MANIFEST, lambda temporary: temporary.write_text(text))
    print(json.dumps(entry, indent=2))


def gain(model: cclnn.models.SRModel, folder: Path, kind: Degrade) -> dict[str, Any]:
    """PSNR over bicubic's on a degraded benchmark, the ends of its 95 % interval, and the images where it is below."""
    found = evaluate({"mine": model, "bicubic": "bicubic"}, [folder], scale=model.scale, device="cpu", memory=False,
                     degrade=kind)  # fmt: skip
    mine, bicubic = ([score.psnr for score in found.result(name, folder.name).scores] for name in ("mine", "bicubic"))
    interval = {key: round(value, 3) for key, value in paired_difference(mine, bicubic)._asdict().items()}
    return {**interval, "below": sum(a < b for a, b in zip(mine, bicubic, strict=True)), "images": len(mine)}


def weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The averaged ones of a checkpoint, or the only ones of a run without an average."""
    if state["ema"] is None:
        return dict(state["model"])
    prefix = "module."
    return {name.removeprefix(prefix): x for name, x in state["ema"].items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
