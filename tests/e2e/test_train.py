"""examples/train.py, run as a user runs it: it learns, and a stopped run ends where an uninterrupted one does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import cclnn

ROOT = Path(__file__).parents[2]
SMALL = ["--model", "cclnn-t", "--steps", "40", "--batch", "2", "--patch", "10", "--warmup", "4", "--seed", "3"]
OFTEN = ["--save-every", "1", "--validate-every", "20", "--validation", "1", "--candidates", "2", "--lr", "2e-3"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(ROOT / "examples" / "images" / "chelsea.png") as image:
        for i, box in enumerate([(100, 60, 170, 120), (200, 90, 260, 160), (20, 200, 90, 260)]):
            image.crop(box).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"not a photograph")
    Image.new("RGB", (19, 50)).save(folder / "small.png")
    return folder


def command(photos, out):
    return [
        sys.executable,
        str(ROOT / "examples" / "train.py"),
        "--data",
        str(photos),
        "--out",
        str(out),
        *SMALL,
        *OFTEN,
    ]


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    done = subprocess.run(command(photos, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


def test_learns_and_leaves_weights_that_load(finished):
    out, _ = finished
    model = cclnn.load(out)
    untrained = cclnn.create_model("cclnn-t", scale=2)
    assert model.config == untrained.config
    x = torch.full((1, 3, 24, 24), 0.6)
    target = torch.full((1, 3, 48, 48), 0.6)
    with torch.no_grad():
        assert (model(x) - target).abs().mean() < 0.5 * (untrained(x) - target).abs().mean()


def test_names_the_images_it_leaves_out(finished):
    _, done = finished
    said = done.stdout + done.stderr
    assert "broken.jpg: cannot identify image file" in said
    assert "small.png: 19 x 50 pixels, 20 are needed" in said
    assert "2 training images, 1 for validation" in said


def test_a_stopped_run_ends_with_the_same_weights(photos, finished, tmp_path):
    whole, _ = finished
    process = subprocess.Popen(command(photos, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the same command goes on from there" in errors
    assert not (tmp_path / "model.safetensors").exists()
    assert 1 <= torch.load(tmp_path / "last.pt", weights_only=True)["step"] < 40

    subprocess.run(command(photos, tmp_path), capture_output=True, check=True)
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_validates_on_a_folder_of_its_own(photos, tmp_path):
    (tmp_path / "other").mkdir()
    with Image.open(photos / "0.png") as image:
        image.save(tmp_path / "other" / "0.png")
    arguments = [*command(photos, tmp_path / "run"), "--steps", "1", "--validation-data", str(tmp_path / "other")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 training images, 1 for validation" in done.stderr


def test_an_empty_folder_is_an_error(tmp_path):
    done = subprocess.run(command(tmp_path, tmp_path / "run"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no usable image of 20 pixels per side or more in" in done.stderr


def test_starts_another_scale_from_the_trunk(photos, finished, tmp_path):
    trained, _ = finished
    once = ["--init-from", str(trained), "--scale", "3", "--steps", "1", "--lr", "0"]
    done = subprocess.run([*command(photos, tmp_path), *once], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        f"not started from {trained}: tail.0.0.weight (576, 64, 3, 3), it has shape (256, 64, 3, 3) there"
        in done.stderr
    )
    ours, theirs = cclnn.load(tmp_path).state_dict(), cclnn.load(trained).state_dict()
    fresh = {name for name in ours if not torch.equal(ours[name], theirs[name][: len(ours[name])])}
    assert fresh == {"tail.0.0.weight", "tail.0.0.bias"}
