"""What the README says is what the code does and the manifest holds."""

import json
import re
from importlib import resources
from pathlib import Path
from runpy import run_path
from statistics import median

import pytest

import cclnn
from cclnn.evaluation.complexity import cost, count_parameters
from cclnn.evaluation.paper import table5

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MANIFEST = json.loads(resources.files("cclnn.weights").joinpath("manifest.json").read_text())


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(code, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("name", MANIFEST)
def test_the_quality_is_the_measured_one(name):
    (row,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
    for dataset in ("Set5", "B100"):
        measured = MANIFEST[name]["measured"][dataset]
        assert f"| {measured['psnr']:.2f} / {measured['ssim']:.4f} |" in row


def test_the_table_of_models_states_their_parameters():
    """Those of the paper and of this project; docs/models.md, which is generated, has all."""
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", README, re.MULTILINE))
    assert {"cclnn", "cclnn-l", "cclnn-t", "edsr", "nlsn"} <= rows.keys()
    for name, count in rows.items():
        assert count == f"{count_parameters(cclnn.create_model(name, device='meta')):,}"
    assert "docs/models.md" in README


def test_the_speed_is_the_measured_one():
    results = json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text())
    rows = {row["case"]: row for row in results["rows"]}

    def line(label, case):
        fast, slow = rows[case]["chunked"], rows[case]["reference"]
        return f"| {label} | {slow['seconds'] / fast['seconds']:.1f}x | {slow['bytes'] / fast['bytes']:.1f}x |"

    layer, backward = "one attention, ", "batch of 16, 48x48, forward and backward, fp32"
    for label, case in {
        f"{layer}256 channels, 160x160, inference, fp32": "nlsa 256ch 1x160x160 inference fp32",
        "the same in bf16": "nlsa 256ch 1x160x160 inference bf16",
        f"{layer}64 channels, 512x512, inference, fp32": "nlsa 64ch 1x512x512 inference fp32",
        f"{layer}128 channels, {backward}": "nlsa 128ch 16x48x48 training fp32",
        "the network `cclnn-l`, 480x320, inference, fp32": "cclnn-l 1x320x480 inference fp32",
        "the network `cclnn-t`, 320x240, inference, fp32": "cclnn-t 1x240x320 inference fp32",
        "the network `cclnn-l`, batch of 4, 48x48, training step, fp32": "cclnn-l 4x48x48 training fp32",
    }.items():
        assert line(label, case) in README


def test_the_released_code_took_what_the_sentence_says():
    """Medians over the cases of one run: of released / reference, and of released / ours in bf16."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text())["rows"]

    def ratios(number, other, digits):
        cases = [row for row in rows if "released" in row and row["number"] == number]
        assert len(cases) == 20
        found = (median(row["released"][unit] / row[other][unit] for row in cases) for unit in ("seconds", "bytes"))
        return [f"{ratio:.{digits}f}" for ratio in found]

    text = " ".join(README.split())
    time, memory = ratios("fp32", "reference", 2)
    assert f"in fp32 it took {time} times the time and {memory} times the memory of `reference`" in text
    time, memory = ratios("bf16", "reference", 2)
    assert f"it took {time} and {memory} times as much" in text
    time, memory = ratios("bf16", "chunked", 1)
    assert f"the layer is then {time} times faster and takes {memory} times less memory" in text


# network of the comparison -> its name here and the arguments that make it; the others are not in the library
COMPARED = {
    "VDSR": ("vdsr", {}),
    "cclnn-s, bundled": ("cclnn-s", {}),
    "EDSR of 8 blocks, 64 channels": ("edsr-baseline", {"n_resblocks": 8}),
    "PAN": ("pan", {}),
    "A2N": ("a2n", {}),
    "CCLNN": ("cclnn", {}),
}


def compared():
    """First cell -> the other cells of the comparison with published networks."""
    part = README.split("## Where the weights stand")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return {name: cells for name, *cells in rows[2:]}


@pytest.mark.parametrize("name", COMPARED)
def test_parameters_and_macs_of_published_networks_are_counted(name):
    model = cclnn.create_model(COMPARED[name][0], scale=2, **COMPARED[name][1])
    macs = cost(model, (360, 640), repeats=0, memory=False).macs
    assert compared()[name][:2] == [f"{count_parameters(model):,}", f"{macs / 1e9:.1f}"]


@pytest.mark.parametrize("name", ["RLFN", "BSRN", "VapSR"])
def test_parameters_and_macs_of_other_published_networks_are_counted(name):
    network = run_path(str(ROOT / "benchmarks" / "published_costs.py"))["published"](name, 2)
    assert compared()[name][:2] == [f"{network.parameters:,}", f"{network.macs / 1e9:.1f}"]


@pytest.mark.parametrize(("name", "scale", "thousands"), [("RLFN", 2, 527), ("BSRN", 4, 352), ("VapSR", 4, 342)])
def test_counted_parameters_are_those_of_the_papers(name, scale, thousands):
    """RLFN's Table 1, and the READMEs of LKDN and VapSR, which README.md cites."""
    network = run_path(str(ROOT / "benchmarks" / "published_costs.py"))["published"](name, scale)
    assert round(network.parameters / 1e3) == thousands


@pytest.mark.parametrize("scale", [2, 4])
def test_results_of_published_networks_are_those_of_the_record(scale):
    table = {row.algorithm: row for row in table5(scale)}
    cells = slice(2, 4) if scale == 2 else slice(4, 6)
    for name in ("A2N", "CCLNN"):
        assert compared()[name][cells] == [f"{table[name].score(dataset)[0]:.2f}" for dataset in ("Set5", "B100")]
    bundled = MANIFEST[f"cclnn-s-x{scale}"]["measured"]
    assert compared()["cclnn-s, bundled"][cells] == [f"{bundled[dataset]['psnr']:.2f}" for dataset in ("Set5", "B100")]
    measured = json.loads((ROOT / "benchmarks" / "results" / f"evaluation-x{scale}.json").read_text())
    for cell, dataset in zip(compared()["bicubic"][cells], ("Set5", "B100"), strict=True):
        (result,) = [r for r in measured["results"] if (r["model"], r["dataset"]) == ("bicubic", dataset)]
        scores = [score["psnr"] for score in result["scores"]]
        assert cell == f"{sum(scores) / len(scores):.2f}"


def test_the_edsr_that_was_trained_here_has_its_measured_scores():
    measured = json.loads((ROOT / "benchmarks" / "results" / "edsr-8x64-x2.json").read_text())
    scores = {result["dataset"]: [score["psnr"] for score in result["scores"]] for result in measured["results"]}
    parameters, macs, *cells, source = compared()["EDSR of 8 blocks, 64 channels"]
    assert [parameters, macs] == [
        f"{measured['models'][0]['parameters']:,}",
        f"{measured['models'][0]['macs'] / 1e9:.1f}",
    ]
    assert cells == [*(f"{sum(scores[name]) / len(scores[name]):.2f}" for name in ("Set5", "B100")), "", ""]
    assert "docs/training.md" in source


def test_the_cost_of_the_bundled_network_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks" / "results" / "evaluation-x2.json").read_text())
    (model,) = [model for model in measured["models"] if model["name"] == "cclnn-s-x2"]
    assert compared()["cclnn-s, bundled"][:2] == [f"{model['parameters']:,}", f"{model['macs'] / 1e9:.1f}"]


def test_every_result_names_its_source():
    for name, (_, _, *scores, source) in compared().items():
        assert source, name
        assert any(scores), name


@pytest.mark.parametrize("name", MANIFEST)
def test_the_training_page_tells_what_the_manifest_does(name):
    page = (ROOT / "docs" / "training.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    entry = MANIFEST[name]
    for dataset in ("Set5", "B100"):
        measured = entry["measured"][dataset]
        assert f"| {measured['psnr']:.2f} / {measured['ssim']:.4f} |" in row
    runs = [entry["training"]]
    while "continues" in runs[-1]:
        runs.append(runs[-1]["continues"])
    assert f"| {sum(run['steps'] for run in runs):,} | {sum(run['hours'] for run in runs):.1f} |" in row
    start = re.search(r"--init-from (\S+)", runs[-1]["recipe"])
    assert (f"| `{start[1]}` |" if start else "| random weights |") in row
