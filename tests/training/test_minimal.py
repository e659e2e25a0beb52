"""examples/train_minimal.py: it learns, resumes to the same bytes and fits on three pages."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

import cclnn

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "train_minimal.py"
SMALL = ["--batch", "2", "--patch", "12", "--every", "4", "--lr", "2e-3"]


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("train_minimal", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(ROOT / "examples" / "images" / "chelsea.png") as image:
        for i, box in enumerate([(100, 60, 170, 120), (200, 90, 260, 160), (20, 200, 90, 260)]):
            image.crop(box).save(folder / f"{i}.png")
    Image.new("RGB", (19, 50)).save(folder / "small.png")
    return folder


def test_learns_and_writes_a_model_that_loads(program, photos, tmp_path, capsys):
    program.main([str(photos), "-o", str(tmp_path), *SMALL, "--steps", "60", "--every", "15"])
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.split("PSNR ")[1].split()[0]) for line in lines if line.startswith("step ")]
    assert len(scores) == 4
    assert scores[-1] > scores[0] + 1
    assert scores[-1] > float(lines[-2].split("(bicubic ")[1].split()[0])
    model = cclnn.load(tmp_path)
    assert model.config == cclnn.create_model("cclnn-s", scale=2).config
    with torch.no_grad():
        found, _ = program.validate(model, program.load_images(photos, smallest=24)[-1])
    assert f"PSNR {found:.2f} dB" in lines[-2]


def test_an_interrupted_run_ends_with_the_same_weights(program, photos, tmp_path, monkeypatch):
    arguments = ["--steps", "8", *SMALL, "--model", "edsr-baseline"]
    program.main([str(photos), "-o", str(tmp_path / "whole"), *arguments])

    validate, calls = program.validate, []

    def stop_at_the_second(*values):
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(*values)

    monkeypatch.setattr(program, "validate", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        program.main([str(photos), "-o", str(tmp_path / "parts"), *arguments])
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    monkeypatch.undo()
    program.main([str(photos), "-o", str(tmp_path / "parts"), *arguments])
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_a_folder_with_too_few_images_is_an_error(program, tmp_path):
    with pytest.raises(SystemExit, match="must hold at least 2 images with sides of 64 pixels or more"):
        program.load_images(tmp_path, smallest=64)


def test_patches_of_lr_are_reduced_patches_of_hr(program, photos):
    images = program.load_images(photos, smallest=24)
    assert len(images) == 3
    pairs = program.batches(images, batch=3, patch=9, generator=torch.Generator().manual_seed(1))
    lr, hr = next(pairs)
    assert (lr.shape, hr.shape) == ((3, 3, 9, 9), (3, 3, 18, 18))
    assert torch.equal((lr * 255).round().byte(), cclnn.ops.imresize((hr * 255).round().byte(), 1 / 2))


def test_the_rate_rises_and_falls(program):
    rates = [program.learning_rate(step, steps=200, highest=1.0) for step in range(1, 201)]
    assert rates[49] == max(rates) == 1.0
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_is_read_in_one_sitting():
    assert len(PROGRAM.read_text().splitlines()) <= 150
