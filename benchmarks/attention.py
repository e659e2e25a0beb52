"""Measure whether the sparse attention attends, for docs/results.md.

python benchmarks/attention.py Set5 [--models cclnn-s-x2 runs/ablation/NLSN-0 ...]

The default models are the published ones; a folder is a trained network, for example of benchmarks/ablation.py. Writes
benchmarks/results/attention.json, from which benchmarks/results_page.py makes its section. With --models the file keeps
what it holds of others: weights that were withdrawn cannot be measured again.
"""

import argparse
import copy
import json
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tqdm import tqdm

import cclnn
from cclnn._files import write_atomically
from cclnn.attribution import attention_health, replaced_attention
from cclnn.attribution.health import INTERVENTIONS
from cclnn.evaluation import find_dataset, tables
from cclnn.layers import NonLocalSparseAttention
from cclnn.metrics import psnr
from cclnn.models import SRModel
from cclnn.pretrained import list_pretrained

RESULTS = Path(__file__).parent / "results" / "attention.json"
CROP = 72  # LR pixels per side of the middle of each image, on which layers are examined
PSNR = {  # column -> key of the measurements
    "as published": "none",
    "mean of all values": "mean",
    "own value": "own",
    "nothing": "zero",
    "hashed without the mean": "centred",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set5", type=Path)
    parser.add_argument(
        "--models", nargs="+", help="published names or folders; by default all published models, and no others"
    )
    args = parser.parse_args()
    names = args.models or list_pretrained()
    networks = {Path(name).name: cclnn.load(name) for name in names}
    found: dict[str, Any] = {"crop": CROP, "torch": torch.__version__, "models": {}}
    if args.models and RESULTS.exists():
        found["models"] = json.loads(RESULTS.read_text())["models"]
    for name, model in networks.items():
        if attentions(model):
            found["models"][name] = measure(model, args.set5)
            text = json.dumps(found, indent=1) + "\n"
            write_atomically(RESULTS, lambda path, text=text: path.write_text(text))  # type: ignore[misc]
    print(section(found))


def attentions(model: torch.nn.Module) -> list[NonLocalSparseAttention]:
    return [layer for layer in model.modules() if isinstance(layer, NonLocalSparseAttention)]


@torch.no_grad()
def measure(model: SRModel, set5: Path) -> dict[str, Any]:
    """PSNR on whole images under each intervention, and what the layers do on the middle of each image."""
    variants = {"as is": model}
    if not any(layer.centre for layer in attentions(model)):
        variants["centred"] = centred(model)
    scores: dict[str, list[float]] = {}
    layers: dict[str, list[list[dict[str, Any]]]] = {}
    for pair in tqdm(find_dataset(set5, scale=model.scale).pairs, desc=f"{type(model).__name__} x{model.scale}"):
        lr, hr = pair.load(model.scale)
        top, left = (max(0, length - CROP) // 2 for length in lr.shape[2:])
        crop = lr[:, :, top : top + CROP, left : left + CROP]
        for name, variant in variants.items():
            layers.setdefault(name, []).append([asdict(layer) for layer in attention_health(variant, crop).layers])
        results = {"none": model(lr)}
        for how in INTERVENTIONS:
            with replaced_attention(model, how):
                results[how] = model(lr)
        if "centred" in variants:
            results["centred"] = variants["centred"](lr)
        for name, sr in results.items():
            scores.setdefault(name, []).append(psnr(sr, hr, border=model.scale).item())
    return {
        "scale": model.scale,
        "psnr": {name: mean(values) for name, values in scores.items()},
        "layers": {name: [averaged(image) for image in zip(*images, strict=True)] for name, images in layers.items()},
    }


def averaged(images: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The mean over images of what one layer does."""
    return {key: value if key == "block" else mean(image[key] for image in images) for key, value in images[0].items()}


def centred(model: SRModel) -> SRModel:
    """The network with the mean query of each image subtracted before hashing, without training."""
    twin = copy.deepcopy(model)
    for layer in attentions(twin):
        layer.centre = True
        layer.register_buffer("mean_query", layer.conv_match.weight.new_zeros(layer.embed_width))
        layer.register_forward_pre_hook(_set_mean)
    return twin


def _set_mean(layer: NonLocalSparseAttention, inputs: tuple[torch.Tensor, ...]) -> None:
    layer.mean_query.copy_(layer.match(inputs[0]).query.mean(dim=(0, 1)))  # with "dot" the query itself keeps its mean


def section(found: dict[str, Any]) -> str:
    """The section of docs/results.md, between its heading and the next."""
    models, crop = found["models"], found["crop"]
    quality = tables.table(
        ["Set5, dB", *PSNR],
        [[name, *(_decibels(model["psnr"].get(key)) for key in PSNR.values())] for name, model in models.items()],
    )
    head = ["layer", "hashed", "effective buckets", "mean cosine of queries", "softmax over all", "softmax", "recall"]
    rows = []
    for name, model in models.items():
        for variant, layers in model["layers"].items():
            for layer in layers:
                rows.append(
                    [
                        f"{name} {layer['block'].removesuffix('.nonlocal_attention')}",
                        {"as is": "as published", "centred": "without the mean"}[variant],
                        f"{layer['buckets']:.1f} of {layer['n_buckets']:.0f}",
                        f"{layer['cosine']:.2f}",
                        f"{layer['dense']:.0f} of {layer['tokens']:.0f}",
                        f"{layer['participation']:.0f} of {layer['met']:.0f}",
                        f"{layer['recall']:.2f}",
                    ]
                )
    costs: dict[bool, list[tuple[float, float]]] = {False: [], True: []}  # of networks with centred queries or without
    for model in models.values():
        psnr = model["psnr"]
        centred = psnr.get("centred") is None
        costs[centred].append((psnr["none"] - psnr["mean"], psnr["none"] - psnr["own"]))
    plain = max(mean for mean, _ in costs[False]), min(own for _, own in costs[False])
    with_options = min(mean for mean, _ in costs[True]), min(own for _, own in costs[True])
    return f"""Measured by `benchmarks/attention.py`, torch {found["torch"]}, with
`cclnn.attribution.attention_health`. What every pixel receives in every attention is replaced: by the mean of all
values, by the pixel's own value, by nothing.

{quality}

The weights of `cclnn-t` were withdrawn before the first release in favour of `cclnn-s`; at commit ce28f82 they are
still in the repository. What they show remains: in networks as the paper defines the layer, `cclnn-t` among them, the
choice of the pixels that meet is worth little:
one mean for all pixels costs {plain[0]:.3f} dB at most. The branch as a whole matters, its matching hardly does. With
`similarity="cosine"` or `centre=True`, as in `cclnn-s` (the rows without a last number), it does: one mean costs
{with_options[0]:.2f} dB or more, each pixel's own value {with_options[1]:.2f} dB or more. That is what a trained
network relies on, not what the options gain; the miniature above compares that. The next table says why. It shows means
over the middle {crop} x {crop} LR pixels of each image of Set5; names with a number are the miniature's, seed 0:

{tables.table(head, rows)}

- Effective buckets: exp of the entropy of the pixels' shares of the buckets. Queries share one direction (cosine), so
  most pixels fall into few buckets; within a bucket the stable sort makes chunks of neighbouring rows.
- Softmax: 1 / sum of squared weights, over all pixels and over those that a pixel meets. Near the number of pixels, the
  scores hardly distinguish them.
- Recall: share of each pixel's 16 best matches (highest scores, itself left out) that it meets.
- Without the mean: the mean query of the image is subtracted before hashing, in the trained network as it is. The
  option `centre=True` trains a network so, and `similarity="cosine"` lets it learn how sharp the softmax is."""


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
