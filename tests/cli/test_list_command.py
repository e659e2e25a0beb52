"""`cclnn list` says what the manifest and the registry hold."""

import json
import subprocess
import sys
from functools import cache
from importlib import resources

import pytest
from click.testing import CliRunner

import cclnn
from cclnn.cli.commands import cli

MANIFEST = json.loads(resources.files("cclnn.weights").joinpath("manifest.json").read_text())


@cache  # to count the parameters of every model takes seconds
def run(*arguments):
    done = CliRunner().invoke(cli, ["list", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", MANIFEST)
def test_lists_every_published_model_with_its_figures(name):
    (row,) = [line.split() for line in run("--weights").splitlines() if line.startswith(name)]
    entry = MANIFEST[name]
    measured = entry["measured"]
    assert row[1:4] == [entry["model"], str(entry["config"]["scale"]), f"{entry['parameters']:,}"]
    assert row[5:9] == [
        f"{measured['Set5']['psnr']:.2f}",
        f"{measured['Set5']['ssim']:.4f}",
        f"{measured['B100']['psnr']:.2f}",
        f"{measured['B100']['ssim']:.4f}",
    ]


def test_json_holds_the_same():
    rows = {row["weights"]: row for row in json.loads(run("--weights", "--json"))}
    assert rows.keys() == MANIFEST.keys()
    file = resources.files("cclnn.weights").joinpath("cclnn-s-x2.safetensors")
    assert rows["cclnn-s-x2"]["bytes"] == len(file.read_bytes())
    assert rows["cclnn-s-x2"]["Set5 PSNR"] == MANIFEST["cclnn-s-x2"]["measured"]["Set5"]["psnr"]


def test_lists_every_model_with_the_parameters_of_the_papers():
    rows = {row["model"]: row for row in json.loads(run("--models", "--json"))}
    assert sorted(rows) == cclnn.list_models()
    assert rows["cclnn-l"]["parameters x3"] == 7_307_411
    assert rows["edsr"]["parameters x4"] == 43_089_947
    assert (rows["cclnn-s"]["weights"], rows["cclnn-t"]["weights"]) == ("x2 x3 x4", None)
    licences = {name: rows[name]["released code"] for name in ("edsr", "rcan", "divanet", "srcnn", "cclnn-s")}
    assert licences == {
        **{"edsr": "mit", "rcan": "none found", "divanet": "non-commercial research", "srcnn": "academic use"},
        "cclnn-s": None,
    }
    lines = run("--models").splitlines()
    counts = ["parameters", "x2", "parameters", "x3", "parameters", "x4"]
    assert lines[0].split() == ["model", *counts, "weights", "scales", "year", "paper", "released", "code"]
    assert rows["nlsn"]["year"] == "2021"
    assert rows["edsr-l"]["paper"] == "EDSR"
    assert len({len(line) for line in lines}) == 1


def test_lists_weights_and_models_unless_told_otherwise():
    assert run() == f"{run('--weights')}\n{run('--models')}"
    both = json.loads(run("--json"))
    assert both == {name: json.loads(run(f"--{name}", "--json")) for name in ("weights", "models")}


def test_lists_weights_without_importing_torch():
    code = (
        "import sys; from click.testing import CliRunner; from cclnn.cli.commands import cli; "
        "done = CliRunner().invoke(cli, ['list', '--weights']); print(done.exit_code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"
