"""The evidence: measure what docs/results.md states, draw its figures, write the page from the measurements.

python benchmarks/results_page.py                              # the page, from benchmarks/results/*.json alone
python benchmarks/results_page.py --data Set5 B100 --figures   # measure first; what is in the files is not repeated

Set5 comes first: the seconds and the memory on the page are those of Set5, and nothing else should run meanwhile.
Results land in benchmarks/results/evaluation-x{2,3,4}.json (`cclnn evaluate`) and diffusion-index.json; ablation.json
is written by benchmarks/ablation.py, attention.json by benchmarks/attention.py.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import attention
import torch
from tqdm import tqdm

import cclnn
from cclnn._files import write_atomically
from cclnn.attribution import attended_pixels, channel_weights, local_attribution_map
from cclnn.evaluation import Evaluation, bicubic, evaluate, figures, find_dataset, tables
from cclnn.evaluation.datasets import Pair
from cclnn.evaluation.differences import paired_difference
from cclnn.evaluation.paper import ABLATIONS
from cclnn.metrics import psnr
from cclnn.ops import rgb_to_y
from cclnn.pretrained import list_pretrained
from cclnn.weights import manifest

ROOT = Path(__file__).parents[1]
RESULTS, FIGURES, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "figures", ROOT / "docs" / "results.md"
PHOTO = ROOT / "examples" / "images" / "chelsea.png"
SCALES = (2, 3, 4)
PUBLISHED = {  # bicubic, as quoted in the papers since VDSR
    "Set5": {2: 33.66, 3: 30.39, 4: 28.42},
    "B100": {2: 29.56, 3: 27.21, 4: 25.96},
}
PAPER_X2 = {setting.label: setting.psnr for table in ABLATIONS.values() for setting in table}  # Set5
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5 % quantiles, 1 to 9 degrees
CROP, WINDOW = 128, 16  # of the diffusion index: HR pixels per side of the image's middle, and of the window's
BOX = (84, 218, 60, 64)  # row, column, height, width of the detail shown
FULL_RANGE = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # BT.601 luma without studio range
LAM_WINDOW = (90, 236, 16)
LONG_TRUNK = "trunk, rate 2e-3, three times the steps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs=2, metavar=("SET5", "B100"), help="measure on these folders first")
    parser.add_argument("--only-set5", action="store_true", help="stop after Set5: the part that needs a quiet machine")
    parser.add_argument("--figures", action="store_true", help="draw the figures again")
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if args.data:
        for folders in ([args.data[0]], args.data):
            for scale in SCALES:
                measure(scale, folders)
            if args.only_set5:
                return
        measure_conventions(args.data[0])
        measure_diffusion(args.data[0])
    if args.figures:
        draw()
    write_atomically(PAGE, lambda path: path.write_text(page()))
    print(f"wrote {PAGE}")


def models(scale: int) -> list[str]:
    """Bicubic and every published model of a scale."""
    return ["bicubic", *(name for name in list_pretrained() if manifest()[name]["config"]["scale"] == scale)]


def measure(scale: int, folders: list[Path]) -> None:
    with tqdm(unit="image") as bar:

        def show(done: int, total: int, following: str) -> None:
            bar.total = total
            bar.set_description(following, refresh=False)
            bar.update(done - bar.n)

        path = RESULTS / f"evaluation-x{scale}.json"
        evaluate(models(scale), folders, scale=scale, device="cpu", json_path=path, progress=show)


def measure_conventions(set5: Path) -> None:
    """The same images, bicubic x4, under conventions that people use."""
    ways: dict[str, list[float]] = {}
    for pair in find_dataset(set5, scale=4).pairs:
        lr, hr = pair.load(4)
        sr = bicubic(lr, scale=4)
        grey_sr, grey_hr = ((image * FULL_RANGE).sum(dim=1, keepdim=True) for image in (sr, hr))
        for way, value in {
            "Y of studio range, 4 pixels shaved (here, and in the papers)": psnr(sr, hr, border=4),
            "the same, nothing shaved": psnr(sr, hr, border=0),
            "Y of full range, 4 pixels shaved": psnr(grey_sr, grey_hr, border=4),
            "RGB, 4 pixels shaved": psnr(sr, hr, border=4, channel="rgb"),
            "RGB, nothing shaved": psnr(sr, hr, border=0, channel="rgb"),
        }.items():
            ways.setdefault(way, []).append(value.item())
    rounded_y = {
        scale: mean(_with_rounded_y(pair, scale) for pair in find_dataset(set5, scale=scale).pairs) for scale in SCALES
    }
    found = {"x4": {way: mean(values) for way, values in ways.items()}, "rounded Y": rounded_y}
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(RESULTS / "conventions.json", lambda path: path.write_text(text))


def _with_rounded_y(pair: Pair, scale: int) -> float:
    """PSNR of bicubic interpolation with Y in whole grey levels, as MATLAB's rgb2ycbcr gives it for 8-bit images."""
    lr, hr = pair.load(scale)
    sr, truth = ((rgb_to_y(x.double()) * 255).round().byte() for x in (bicubic(lr, scale=scale), hr))
    return psnr(sr, truth, border=scale).item()


def measure_diffusion(set5: Path) -> None:
    """The diffusion index of every published x2 model, on the middle of each image of Set5."""
    found: dict[str, dict[str, float]] = {}
    for name in models(2)[1:]:
        network = cclnn.load(name)
        for pair in tqdm(find_dataset(set5, scale=2).pairs, desc=f"DI {name}"):
            lr, hr = pair.load(2)
            side = min(CROP, *hr.shape[2:]) // 2
            top, left = ((length - side) // 2 for length in lr.shape[2:])
            middle = lr[:, :, top : top + side, left : left + side]
            window = (side - WINDOW // 2, side - WINDOW // 2, WINDOW)
            attributed = local_attribution_map(network, middle, window)
            found.setdefault(name, {})[pair.name] = attributed.diffusion_index
    text = json.dumps({"crop": CROP, "window": WINDOW, "models": found}, indent=1) + "\n"
    write_atomically(RESULTS / "diffusion-index.json", lambda path: path.write_text(text))


def draw() -> None:
    """The four figures, of one freely licensed photograph."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    names = models(2)[1:]
    networks = {name: cclnn.load(name) for name in names}
    lr, hr = Pair(PHOTO.stem, PHOTO, None).load(2)
    results = {"bicubic": bicubic(lr, scale=2)}
    for name, network in networks.items():
        results[name] = cclnn.Upscaler(network, tile="none", precision="fp32", device="cpu", edges="network")(lr)
    figures.save_figure(figures.comparison_figure(results, BOX, truth=hr, scale=2), FIGURES / "comparison.png", dpi=80)
    row, column, side = LAM_WINDOW
    shown = (max(0, row // 2 - 28), max(0, column // 2 - 28))  # 64 x 64 pixels of the input around the window
    part = lr[:, :, shown[0] : shown[0] + 64, shown[1] : shown[1] + 64]
    window = (row - 2 * shown[0], column - 2 * shown[1], side)
    maps = {name: local_attribution_map(network, part, window) for name, network in networks.items()}
    figures.save_figure(figures.attribution_figure(part, maps, window, scale=2), FIGURES / "attribution.png", dpi=80)
    network = networks[names[-1]]
    pixel = ((row + side // 2) // 2, (column + side // 2) // 2)
    figures.save_figure(
        figures.attention_figure(lr, pixel, attended_pixels(network, lr, pixel)), FIGURES / "attention.png", dpi=80
    )
    figures.save_figure(figures.channel_figure(channel_weights(network, lr)), FIGURES / "channels.svg")


def page() -> str:
    evaluations = {scale: Evaluation.load(RESULTS / f"evaluation-x{scale}.json") for scale in SCALES}
    diffusion = json.loads((RESULTS / "diffusion-index.json").read_text())
    machine = evaluations[2].machine
    quality = "\n\n".join(tables.quality_table(evaluation) for evaluation in evaluations.values())
    return f"""# Results

Written by `benchmarks/results_page.py` from the JSON files in `benchmarks/results`; no measurement is typed in. To
measure again: `python benchmarks/results_page.py --data Set5 B100 --figures`, or one model with
`cclnn evaluate cclnn-s-x2 --data Set5 --data B100`.

## Quality

{tables.PROTOCOL} Precision fp32, the whole image at once. LR of Set5: the benchmark's own files, which `imresize`
equals bit for bit; LR of B100: `imresize` of the HR images.

{quality}

{_degraded_text(evaluations)}### Bicubic interpolation, here and in the papers

{_bicubic_table(evaluations)}

Differences on Set5 come from rounding: some published tables round Y to whole grey levels before they measure, which
gives {_rounded_text()} dB for x2, x3 and x4 here; others do not. `imresize` itself equals MATLAB's. The same images
under other conventions differ by far more:

{_conventions_table()}

## The paper's Tables 1 and 2, in miniature

{_ablation_text()}

{_ablation_table()}

{_ablation_reading()}

## Does the attention attend?

{attention.section(json.loads((RESULTS / "attention.json").read_text()))}

## The design of cclnn-s

{_design_text()}

{_design_table()}

{_design_reading()}

## Cost

{tables.COSTS} Set5 x2 alone, on an otherwise idle machine: {machine["processor"]}, {machine["threads"]} threads, torch
{machine["torch"]}.

{_cost_table(evaluations[2])}

## Where the networks look

Diffusion index (Gu and Dong 2021): (1 - Gini) x 100 of the local attribution map. Here: x2, the middle {CROP} x {CROP}
HR pixels of each image of Set5 (less where it is smaller), a window of {WINDOW} x {WINDOW} in their middle, blur path
of 50 images from sigma 1.2.

{_diffusion_table(diffusion)}

The paper reports 21.11 for CCLNN and 19.66 for NLSN at x2, without saying on which images, which window or which size
of image. The index is a share of the pixels of the image, so it falls as the image grows around the same window: these
numbers cannot be compared with those. They compare models here with each other.

## Figures

The photograph is [chelsea.png](https://github.com/scikit-image/scikit-image), CC0, Stefan van der Walt.

![Bicubic interpolation and the bundled models on a detail of a photograph](figures/comparison.png)

*`cclnn compare`: PSNR/SSIM of the whole image, reduced by two and restored.*

![Local attribution maps](figures/attribution.png)

*`cclnn attribute`: what the marked window of the result was made from.*

![Attended pixels and hash buckets](figures/attention.png)

*`cclnn attribute --show attention`: what the marked pixel receives from every other, over all rounds, in each sparse
attention, and in which bucket each pixel fell in the first round. Equal buckets are sorted by position, so a pixel in a
large bucket meets its neighbours along the row.*

![Channel weights](figures/channels.svg)

*`cclnn attribute --show channels`: the weights of each CCLN block's channel attention for this photograph, sorted; the
contrastive loss pulls the red and the blue band apart.*
"""


def _degraded_text(evaluations: dict[int, Evaluation]) -> str:
    """What published weights gain over bicubic on degraded images, as `publish_weights.py` measured it."""
    measured = {name: entry["gains"] for name in list_pretrained() if "gains" in (entry := manifest()[name])}
    if not measured:
        return ""
    kinds = [kind.removeprefix("B100 ") for kind in next(iter(measured.values()))]
    rows = [
        [name, *(f"{x['mean']:+.2f} [{x['low']:+.2f}, {x['high']:+.2f}], {x['below']}" for x in gains.values())]
        for name, gains in measured.items()
    ]
    prices = "\n".join(filter(None, (_price_of_photo(name, evaluations) for name in measured)))
    return f"""### Compressed and noisy images

PSNR in dB over that of bicubic interpolation on the same degraded LR images of B100: the mean over 100 images, its 95 %
interval, and on how many images the weights are below bicubic. LR images are reduced by `imresize`, then stored as JPEG
of quality 75, 85 or 95 (4:2:0), or given noise of standard deviation 2 or 5 grey levels; the same seeds for all. The
manifest records these numbers, `cclnn info NAME` prints them.

{tables.table(["weights", *kinds], rows)}

{prices}

{_strength_text()}

"""


def _strength_text() -> str:
    """How far from clean to photo weights a JPEG of each quality is best upscaled, from benchmarks/strength.py."""
    found = json.loads((RESULTS / "strength.json").read_text())
    columns = ("0", "0.2", "0.4", "0.6", "0.8", "1")
    rows = []
    for row in found["rows"]:
        gains = row["gains"]
        best = max(gains.values())
        marked = [f"**{gains[name]:+.2f}**" if gains[name] == best else f"{gains[name]:+.2f}" for name in columns]
        rows.append([str(row["quality"]), *marked, f"{row['taken']:g}: {gains[format(row['taken'], 'g')]:+.2f}"])
    return f"""Weights between {found["clean"]} (strength 0) and {found["photo"]} (1) gain more than either where a JPEG
is mildly compressed, so `--model auto` takes a strength that follows from the quality. dB over bicubic interpolation
on the {found["images"]} held out photographs, as `benchmarks/strength.py` measured it:

{tables.table(["JPEG quality", *(f"strength {name}" for name in columns), "auto"], rows)}"""


def _price_of_photo(name: str, evaluations: dict[int, Evaluation]) -> str:
    """What weights for photographs lose against the clean ones of their network on clean LR images, in a sentence."""
    entry = manifest()[name]
    clean = name.replace("-photo", "")
    scale = entry["config"]["scale"]
    measured = {result.model for result in evaluations[scale].results}
    if entry.get("for") != "photo" or not {name, clean} <= measured:
        return ""
    scores = [[score.psnr for score in evaluations[scale].result(one, "B100").scores] for one in (name, clean)]
    found = paired_difference(*scores)
    return (
        f"On clean LR images of B100 {name} differs from {clean} by {found.mean:+.2f} dB, 95 % interval"
        f" {found.low:+.2f} to {found.high:+.2f}."
    )


def _bicubic_table(evaluations: dict[int, Evaluation]) -> str:
    rows = []
    for dataset, published in PUBLISHED.items():
        for scale, quoted in published.items():
            measured = evaluations[scale].result("bicubic", dataset).psnr
            rows.append([f"{dataset} x{scale}", f"{measured:.3f}", f"{quoted:.2f}", f"{measured - quoted:+.3f}"])
    return tables.table(["bicubic, dB", "measured", "published", "difference"], rows)


def _ablation() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "ablation.json").read_text())
    return found


def _ablation_text() -> str:
    found = _ablation()
    recipe = ", ".join(f"{name} {value}" for name, value in found["recipe"].items())
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in found["rows"]}))
    return f"""Small networks, trained alike by `benchmarks/ablation.py` on the photographs that trained the
bundled weights: {", ".join(found["size"])}; {recipe};
seed {seeds}. PSNR in dB of the weights after the last step, x2. The paper: CCLNN-L on Set5, after 500,000 steps
on DIV2K."""


def _ablation_table() -> str:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _ablation()["rows"]:
        found.setdefault(row["algorithm"], []).append(row)
    rows = []
    for name, mine in found.items():
        psnr = PAPER_X2.get(name, PAPER_X2.get(f"{name}-L"))  # the paper compares the light networks
        scores = [_with_interval([row[key] for row in mine]) for key in ("validation", "Set5", "B100")]
        rows.append([name, f"{mine[0]['parameters']:,}", *scores, f"{psnr:.2f}" if psnr else "-"])
    return tables.table(["algorithm", "parameters", "8 held out photographs", "Set5", "B100", "paper, Set5"], rows)


def _with_interval(values: list[float], signed: bool = False) -> str:
    """Mean and, of several seeds, half the width of its 95 % confidence interval (Student's t)."""
    centre = f"{mean(values):+.3f}" if signed else f"{mean(values):.3f}"
    if len(values) == 1:
        return centre
    quantile = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    return f"{centre} ± {quantile * stdev(values) / len(values) ** 0.5:.3f}"


def _ablation_reading() -> str:
    """What the table shows, in numbers that follow from it, and what it does not."""
    rows, steps = _ablation()["rows"], _ablation()["recipe"]["steps"]
    b100: dict[str, dict[int, float]] = {}
    for row in rows:
        b100.setdefault(row["algorithm"], {})[row["seed"]] = row["B100"]
    best = max(b100, key=lambda name: mean(b100[name].values()))
    whole = b100["CCLNN"]
    gain = {
        name: _with_interval([whole[seed] - value for seed, value in scores.items() if seed in whole], signed=True)
        for name, scores in b100.items()
    }
    cosine = [
        f"{name.removesuffix(', cosine')} by "
        + _with_interval([value - b100[name.removesuffix(", cosine")][seed] for seed, value in scores.items()], True)
        for name, scores in b100.items()
        if name.endswith(", cosine")
    ]
    options = f" Cosine similarity with centring changes {', '.join(cosine)} dB." if cosine else ""
    seeds = len(whole)
    spread = (
        "with one seed. It neither refutes nor confirms the paper's tables: those networks"
        if seeds == 1
        else f"with {seeds} seeds (± is the 95 % confidence interval of a mean; differences are taken seed by seed). "
        "It neither refutes nor confirms the paper's tables: those networks"
    )
    unmeasured = ", and how\nmuch another seed would change was not measured" if seeds == 1 else ""
    return f"""On B100, the largest of the three sets, {best} is best; CCLNN, both branches with the contrastive loss,
differs by {gain["CCLNN-Local"]} dB from its local branch alone and by {gain["CCLNN-Non-L"]} from its non-local branch
alone, by {gain["EDSR"]} from EDSR and {gain["NLSN"]} from NLSN (Table 1); by {gain["CCLNN-NSparse"]} from the same
without a loss on the channel weights and by {gain["CCLNN-TSparse"]} from that with the L1 loss (Table 2).{options}

This shows how such networks stand after {steps:,} steps {spread} are
four times as wide, trained {500_000 // steps} times as long and on other images{unmeasured}. Here as in the paper the
networks differ in parameters, too."""


def _design() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "design.json").read_text())
    return found


def _design_text() -> str:
    return f"""Networks and optimisers at equal time of training, by a first version of `benchmarks/design.py` on
{_design()["hardware"]}: as many steps as the plain trunk makes in the time that 220 steps of 8 patches of 32 pixels
take it, about a minute and a half. "Time" is that of a step in steps of this trunk, both in processor time and
measured by turns. PSNR on Y of the eight held out photographs, x2; one seed. All but those with Adam use Muon for the
trunk's kernels, with rate 3e-3 if not said. "trunk, Adam" alone has 8 patches a step, the others 4 of 32 pixels if not
said. The trunk: 48 channels, 6 residual units of three convolutions, one convolution to the pixels, bilinear anchor."""


def _design_table() -> str:
    found = _design()["cases"]
    scores = {name: mean(case["validation"]) for name, case in found.items()}
    rows = []
    for name, case in found.items():
        cost = [f"{case['ratio']:.2f}", f"{case['steps']}", f"{case['seconds'] / 60:.1f}"]
        rows.append([name, *cost, f"{scores[name]:.2f}", _gain(name, found)])
    head = ["case", "time", "steps", "minutes", "PSNR, dB", "difference from the trunk, dB"]
    return tables.table(head, rows)


def _gain(name: str, found: dict[str, Any]) -> str:
    """Mean difference from the trunk of the same budget, with its 95 % interval over the images."""
    base = LONG_TRUNK if found[name]["steps"] > 2 * found["trunk"]["steps"] else "trunk"
    if name == base:
        return ""
    difference = paired_difference(found[name]["validation"], found[base]["validation"])
    return f"{difference.mean:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


def _design_reading() -> str:
    scores = {name: mean(case["validation"]) for name, case in _design()["cases"].items()}
    gain = {name: f"{score - scores['trunk']:+.2f}" for name, score in scores.items()}
    block = "CCLN block, cosine, centre"
    return f"""Kept: Muon and small batches, the largest gain, and one CCLN block with cosine similarity and without the
mean query, which differs by {gain[block]} dB from the trunk alone although it makes fewer steps; the paper's block
({gain["CCLN block"]}), its local branch alone ({gain["CCLN block, local branch alone"]}) and the same block on blocks
of 2 x 2 pixels ({gain[block + ", stride 2"]}) lose more. Not kept: pixel attention in every unit
({gain["trunk, pixel attention"]}), patches of 48 pixels, a wider trunk; a bicubic anchor and beta2 0.99 change nothing.
So short a training favours what is fast, and says little about what a network reaches in hours; one seed says nothing
about differences of a few hundredths. The rate of `small-cpu` is 1e-3, lower than the best here, for its longer run:
with 2e-3 and no weight decay, 25,000 steps of 8 patches made most kernels three to five times as large as they began,
and validation stood at 33.8 dB from step 19,000 on, where the weights of `cclnn-t` for x2, now withdrawn, had 34.3."""


def _rounded_text() -> str:
    found = json.loads((RESULTS / "conventions.json").read_text())["rounded Y"]
    return ", ".join(f"{found[str(scale)]:.3f}" for scale in SCALES)


def _conventions_table() -> str:
    ways = json.loads((RESULTS / "conventions.json").read_text())["x4"]
    rows = [[way, f"{value:.2f}"] for way, value in ways.items()]
    return tables.table(["bicubic, Set5 x4", "PSNR, dB"], rows)


def _cost_table(evaluation: Evaluation) -> str:
    """Set5 alone: B100 may have run on a busy machine."""
    alone = Evaluation(**{key: getattr(evaluation, key) for key in ("scale", "settings", "machine", "models")})
    alone.results = [result for result in evaluation.results if result.dataset == "Set5"]
    return tables.cost_table(alone)


def _diffusion_table(diffusion: dict[str, Any]) -> str:
    images = sorted(next(iter(diffusion["models"].values())))
    rows = [
        [name, *(f"{found[image]:.2f}" for image in images), f"{mean(found.values()):.2f}"]
        for name, found in diffusion["models"].items()
    ]
    return tables.table(["DI", *images, "mean"], rows)


if __name__ == "__main__":
    main()
