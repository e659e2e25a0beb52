"""The gradient of a step does not depend on how many processes, or parts, its batch is split into."""

from functools import cache
from pathlib import Path

import pytest
import torch
from forked import Program, ranks
from PIL import Image

PROGRAM = Path(__file__).with_name("one_gradient.py")
PHOTO = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"
SETTINGS = ["--batch", "8", "--patch", "12", "--contrastive-after", "0", "--contrastive-weight", "0.5", "--seed", "5"]


@pytest.fixture(scope="module")
def gradient_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    (folder / "photos").mkdir()
    with Image.open(PHOTO) as image:
        for i, left in enumerate((100, 200, 300)):
            image.crop((left, 90, left + 64, 170)).save(folder / "photos" / f"{i}.png")

    @cache
    def make(processes, parts, *more):
        target = folder / f"{processes}-{parts}.pt"
        where = ["--data", str(folder / "photos"), "--cache", str(folder / "cache"), "--out", str(folder / "out")]
        arguments = [str(PROGRAM), str(target), *where, *SETTINGS, "--accumulate", str(parts), *more]
        started = [
            Program(arguments, tmp_path_factory.mktemp("printed"), environment=environment)
            for environment in ranks(processes)
        ]
        for program in started:
            done = program.wait()
            assert done.returncode == 0, done.stderr
        return torch.load(target, weights_only=True)

    return make


@pytest.fixture(scope="module")
def alone(gradient_of):
    return gradient_of(1, 1)


@pytest.mark.parametrize(("processes", "parts"), [(2, 1), (1, 2), (2, 2)])
def test_the_same_however_split(gradient_of, alone, processes, parts):
    split = gradient_of(processes, parts)
    for name, gradient in alone["gradients"].items():
        error = (split["gradients"][name] - gradient).abs().max()
        assert error <= 1e-10 * gradient.abs().max() + 1e-14, name
    assert split["losses"] == pytest.approx(alone["losses"], rel=1e-6)
    assert alone["losses"]["contrastive"] > 0.1


def test_the_contrastive_loss_is_in_it(gradient_of, alone):
    without = gradient_of(1, 1, "--contrastive-weight", "0")
    name = "body.3.channel_attention.excite.weight"
    assert (without["gradients"][name] - alone["gradients"][name]).norm() > 0.1 * alone["gradients"][name].norm()


def test_one_process_that_is_asked_to_stop_stops_all(gradient_of, alone):
    assert gradient_of(2, 1)["stopping"]
    assert not alone["stopping"]
