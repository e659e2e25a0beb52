"""`cclnn evaluate` as people call it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cclnn
from cclnn.cli.commands import cli
from cclnn.evaluation import Evaluation, evaluate


def run(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a dataset of two images and two models."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("ab"):
        Path("Set5/HR").mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((46, 38), Image.Resampling.BICUBIC).save(f"Set5/HR/{name}.png")
    torch.manual_seed(1)
    cclnn.create_model("edsr", channels=16, n_resblocks=8).save_pretrained("edsr")
    cclnn.create_model("cclnn", channels=16, n_resblocks=8).save_pretrained("mine")
    return tmp_path


def test_tables_json_markdown_and_images(here):
    done = run(
        *("bicubic", "edsr", "--data", "Set5", "--scale", 2, "--compare", "paper", "--no-memory", "--quiet"),
        *("--json", "out.json", "--markdown", "out.md", "--save-images", "images"),
    )
    assert done.exit_code == 0, done.output
    expected = evaluate(["bicubic", "edsr"], ["Set5"], scale=2, memory=False)
    for model in ("bicubic", "edsr"):
        result = expected.result(model, "Set5")
        quality = f"{result.psnr:.3f} / {result.ssim:.4f}"
        row = next(line for line in done.output.splitlines() if line.startswith(f"| {model} "))
        assert quality in row
        assert quality in Path("out.md").read_text()
        assert sorted(path.name for path in Path(f"images/{model}/Set5_x2").iterdir()) == ["a.png", "b.png"]
    assert "| CCLNN (paper)" in done.output
    assert "38.35 / 0.9618" in done.output
    kept = Evaluation.load("out.json")
    assert [result.psnr for result in kept.results] == [result.psnr for result in expected.results]
    assert json.loads(Path("out.json").read_text())["settings"]["precision"] == "fp32"


def test_a_degraded_benchmark_tells_the_gain_over_bicubic(here):
    done = run("bicubic", "edsr", "--data", "Set5", "--degrade", "jpeg75", "--no-memory", "--quiet", "--json", "j.json")
    assert done.exit_code == 0, done.output
    expected = evaluate(["bicubic", "edsr"], ["Set5"], scale=2, memory=False, degrade="jpeg75")
    bicubic, edsr = (expected.result(model, "Set5").psnr for model in ("bicubic", "edsr"))
    quality, gain, *_ = (line for line in done.output.splitlines() if line.startswith("| edsr "))
    assert f"{edsr:.3f}" in quality
    assert f"{edsr - bicubic:+.3f}" in gain
    other = run("bicubic", "--data", "Set5", "--degrade", "jpeg95", "--no-memory", "--quiet", "--json", "j.json")
    assert other.exit_code != 0
    assert "degrade" in other.output


def test_goes_on_from_its_file(here):
    first = run("bicubic", "--data", "Set5", "--json", "out.json", "--no-memory", "--quiet")
    before = Evaluation.load("out.json")
    again = run("bicubic", "edsr", "--data", "Set5", "--json", "out.json", "--no-memory", "--quiet")
    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    assert Evaluation.load("out.json").results[0] == before.results[0]  # its seconds too
    assert "| edsr " in again.output


def test_ablation(here):
    done = run("edsr", "--ablation", "--lambda", "0.002=mine", "--data", "Set5", "--no-memory", "--quiet")
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.output.splitlines() if "|" in line]
    found = evaluate(["edsr", "mine"], ["Set5"], scale=2, memory=False)
    assert ["EDSR-L", "38.07", "edsr", f"{found.result('edsr', 'Set5').psnr:.3f}"] in rows
    assert ["lambda = 0.002", "38.18", "mine", f"{found.result('mine', 'Set5').psnr:.3f}"] in rows
    assert ["CCLNN-L", "38.19", "", ""] in rows  # trained with another weight, it is not the paper's network


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bicubic", "--data", "none"], "no folder 'none'."),
        (["--data", "Set5"], "`models` must not be empty."),
        (["cclnn-s-x2x", "--data", "Set5"], "'cclnn-s-x2x'"),
        (["edsr", "--data", "Set5", "--scale", "3"], "model 'edsr' is for x2, `scale` is 3."),
        (["edsr", "--data", "Set5", "--tile", "9"], "`tile` must be at least 33, got 9."),
        (["bicubic", "--data", "Set5", "--json", "no/a.json"], "cannot write 'no/a.json': there is no folder 'no'."),
        (["bicubic", "--data", "Set5", "--lambda", "1=a"], "--lambda needs --ablation."),
        (["bicubic", "--data", "Set5", "--ablation", "--lambda", "a"], "--lambda must be VALUE=MODEL, got 'a'."),
        (["bicubic", "--data", "Set5", "--ablation", "--lambda", "x=a"], "--lambda must be VALUE=MODEL, got 'x=a'."),
    ],
)
def test_mistakes_are_one_line(here, arguments, message):
    done = run(*arguments, "--quiet")
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_tile_is_a_number_or_a_word(here):
    done = run("bicubic", "--data", "Set5", "--tile", "half")
    assert done.exit_code == 2
    assert "'half' is not a number of pixels, 'auto' or 'none'." in done.output


def test_released_checkpoints_fill_table_5(here):
    """Two checkpoints in one run, of which PAN's cannot reveal its scale; the paper's numbers stand beside."""
    for name in ("srcnn", "pan"):
        torch.save(cclnn.pretrained.to_official(cclnn.create_model(name)), f"{name}.pt")
    weights = [part for name in ("srcnn", "pan") for part in ("--weights", f"{name}={name}.pt")]
    files = ("--json", "out.json", "--csv", "out.csv", "--markdown", "out.md")
    done = run(*weights, *files, "--data", "Set5", "--scale", "3", "--quiet", "--device", "cpu")
    assert done.exit_code == 0, done.output
    beside, _, differences, costs = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for table in done.output.split("\n\n")
    )
    assert beside[0] == ["x3", "srcnn", "SRCNN (paper)", "pan", "pan (paper)"]
    assert [beside[2][0], *beside[2][2::2]] == ["Set5", "32.52 / 0.9052", ""]
    (found,) = Evaluation.load("out.json").comparisons
    assert (found.model, found.baseline, found.dataset, found.images) == ("pan", "srcnn", "Set5", 2)
    shown = f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}), n = 2"
    assert differences[0] == ["difference in dB, x3", "pan - srcnn"]
    assert differences[2] == ["Set5", shown]
    assert costs[0][-2:] == ["seconds per image, Set5", "peak, MiB"]
    assert all(float(row[4].split()[0]) > 0 for row in costs[2:])
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [(row["model"], row["paper psnr"], row["difference"]) for row in rows] == [
        ("srcnn", "32.52", ""),
        ("pan", "", str(found.mean)),
    ]
    assert shown in Path("out.md").read_text()
    for arguments, message in [
        (["pan"], "--weights must be NAME=FILE, got 'pan'"),
        (["pan=pan.pt", "--weights", "pan=b.pt"], "--weights pan=b.pt: there is another model named 'pan'"),
        (["edsr=a.pt", "edsr"], "--weights edsr=a.pt: there is another model named 'edsr'"),
    ]:
        assert message in run("--data", "Set5", "--weights", *arguments).output
