"""What the README says is what the code does and the manifest holds."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

import cclnn

README = (Path(__file__).parents[1] / "README.md").read_text()
MANIFEST = json.loads(resources.files("cclnn.weights").joinpath("manifest.json").read_text())


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(code, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("name", MANIFEST)
def test_the_quality_is_the_measured_one(name):
    (row,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
    for dataset in ("Set5", "B100"):
        measured = MANIFEST[name]["measured"][dataset]
        assert f"| {measured['psnr']:.2f} / {measured['ssim']:.4f} |" in row


def test_every_model_is_in_the_table():
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", README, re.MULTILINE)
    assert sorted(name for name, _ in rows) == cclnn.list_models()
