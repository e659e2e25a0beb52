"""`cclnn info` says what is so."""

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

import cclnn
from cclnn.cli.commands import cli
from cclnn.cli.info import _reach
from cclnn.evaluation import cost
from cclnn.weights import manifest


def run(*arguments):
    done = CliRunner().invoke(cli, ["info", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_a_published_model():
    entry = manifest()["cclnn-s-x2"]
    lines = run("cclnn-s-x2")
    assert lines[0] == "cclnn-s-x2: SmallCCLNN"
    told = [line.strip() for line in lines if line.startswith("  ")]
    assert {f"{key}: {value}" for key, value in entry["config"].items()} <= set(told)
    assert f"sha256: {entry['sha256']}" in lines
    assert f"parameters: {entry['parameters']:,}" in lines
    assert "for an input of 360 x 640 pixels, output 720 x 1280:" in lines
    counted = cost(cclnn.load("cclnn-s-x2"), (360, 640), repeats=0, memory=False)
    assert f"  MACs: {counted.macs / 1e9:,.2f} G" in lines
    assert f"  activations: {counted.activations / 1e6:,.2f} M" in lines
    assert "an output pixel depends on the whole image (or tile)" in lines
    assert f"trained, data: {entry['training']['data']}" in lines
    measured = entry["measured"]["Set5"]
    assert f"Set5 x2: {measured['psnr']:.3f} dB, SSIM {measured['ssim']:.4f} (5 images)" in lines


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_folder_and_a_file(tmp_path, form):
    cclnn.create_model("edsr", channels=8, n_resblocks=1).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    lines = run(tmp_path if form == "folder" else path, "--size", "5,7")
    assert lines[0].endswith(": EDSR")
    assert f"file: {path}, {path.stat().st_size:,} bytes" in lines
    assert f"sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}" in lines
    assert "for an input of 5 x 7 pixels, output 10 x 14:" in lines


def test_an_architecture_and_its_blocks():
    lines = run("edsr-baseline", "--scale", 3, "--size", "8,9", "--blocks")
    assert lines[0] == "edsr-baseline: EDSR, random weights"
    assert "parameters: 1,554,523" in lines
    assert not any(line.startswith(("file", "sha256", "trained")) for line in lines)
    assert sum(line.startswith("| body.") for line in lines) == 17
    assert lines[-1].startswith("| whole ")


def test_a_restriction_of_an_architecture_is_told():
    lines = run("dlnfn", "--size", "5,7")
    assert lines[:2] == ["dlnfn: DLNFN, random weights", f"note: {cclnn.models.DLNFN.architecture.note}"]
    assert not any(line.startswith("note:") for line in run("edsr-baseline", "--size", "5,7"))


def test_time_and_memory_are_measured_on_request(tmp_path):
    cclnn.create_model("edsr", channels=8, n_resblocks=1).save_pretrained(tmp_path)
    lines = run(tmp_path, "--size", "30,40", "--time")
    assert any(line.startswith("  seconds: 0.") for line in lines)
    if Path("/proc/self/status").is_file():
        assert any(line.startswith("  peak memory beyond the weights: ") for line in lines)


def test_tells_the_reach_of_the_record():
    models = [cclnn.create_model(name, scale=4, device="meta") for name in ("edsr-baseline", "rcan")]
    assert [_reach(model) for model in models] == ["at most 36 input pixels to each side", "the whole image (or tile)"]


def test_unknown_names_are_one_line():
    done = CliRunner().invoke(cli, ["info", "cclnn-s-x2x"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert "'cclnn-s-x2x'" in done.output
    assert done.output.count("\n") == 1
