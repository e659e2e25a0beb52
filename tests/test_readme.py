"""What the README says is what the code does and the manifest holds."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

import cclnn
from cclnn.evaluation.complexity import count_parameters

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

    def line(label, case, base):
        fast, slow = rows[case]["chunked"], rows[base]["reference"]
        return f"| {label} | {slow['seconds'] / fast['seconds']:.1f}x | {slow['bytes'] / fast['bytes']:.1f}x |"

    wide, large = "nlsa 256ch 1x160x160 inference", "nlsa 64ch 1x512x512 inference fp32"
    training = "nlsa 128ch 16x48x48 training fp32"
    for expected in (
        line("256 channels, 160x160, inference, fp32", f"{wide} fp32", f"{wide} fp32"),
        line("the same in bf16, against fp32", f"{wide} bf16", f"{wide} fp32"),
        line("64 channels, 512x512, inference, fp32", large, large),
        line("128 channels, batch of 16, 48x48, forward and backward, fp32", training, training),
    ):
        assert expected in README


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
