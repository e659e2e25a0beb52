"""`cclnn.upscale`: exact sizes, several passes, and the weights that suit a picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn import weights
from cclnn.image.picture import Metadata, Picture
from cclnn.upscaler import automatic
from cclnn.upscaler.automatic import reduced
from cclnn.weights import choice
from cclnn.weights.choice import published

CLEAN, PHOTO = published("clean"), published("photo")  # scale -> name


class Nearest(cclnn.models.SRModel):
    """Repeats every pixel."""

    def __init__(self, scale=2):
        super().__init__(scale)

    def forward(self, x):
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def pixels(*shape):
    return np.random.default_rng(0).integers(1, 256, shape, np.uint8)


def jpeg(quality=75, size=(24, 20)):
    file = io.BytesIO()
    Image.fromarray(pixels(size[1], size[0], 3)).save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.fixture
def chosen(monkeypatch):
    """The names and strengths of the weights that were loaded."""
    calls, keep = [], automatic._keep

    def watched(name, clean, strength, **settings):
        calls.append((name, clean, strength))
        return keep(name, clean, strength, **settings)

    monkeypatch.setattr(automatic, "_keep", watched)
    return calls


@pytest.mark.parametrize(
    ("target", "size"),
    [
        ({}, (34, 46)),
        ({"scale": 1.5}, (26, 35)),
        ({"scale": 2.7}, (46, 62)),
        ({"scale": 4}, (68, 92)),
        ({"scale": 7.3}, (124, 168)),
        ({"scale": 8}, (136, 184)),
        ({"width": 101}, (75, 101)),
        ({"height": 100}, (100, 135)),
        ({"megapixels": 0.01}, (86, 116)),
    ],
)
@pytest.mark.parametrize("model", [Nearest(2), Nearest(3)])
def test_sizes_are_exact(model, target, size):
    size = size if target or model.scale == 2 else (51, 69)
    assert cclnn.upscale(pixels(17, 23, 3), model, **target).shape == (*size, 3)
    assert cclnn.upscale(Image.fromarray(pixels(17, 23)), model, **target).size == size[::-1]
    assert cclnn.upscale(torch.rand(2, 4, 17, 23), model, **target).shape == (2, 4, *size)


def test_automatic_sizes_are_exact_too(chosen):
    assert cclnn.upscale(pixels(9, 7, 3), scale=5).shape == (45, 35, 3)
    assert [name for name, _, _ in chosen] == [CLEAN[2], CLEAN[3]]


def test_twice_is_what_the_weights_for_x2_give():
    array = pixels(19, 23, 3)
    expected = cclnn.Upscaler(CLEAN[2])(array)
    assert np.array_equal(cclnn.upscale(array), expected)
    assert np.array_equal(cclnn.upscale(array, CLEAN[2]), expected)


def test_every_pass_reports_its_progress():
    calls = []
    cclnn.upscale(pixels(12, 10, 3), scale=8, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 1), (1, 1)] * 2


def test_between_two_scales_the_next_larger_is_reduced_by_imresize():
    x = torch.rand(1, 3, 13, 17)
    whole = cclnn.Upscaler(Nearest(3))(x)
    expected = cclnn.ops.imresize(whole, size=(33, 43)).clamp(0, 1)
    assert_close(cclnn.upscale(x, Nearest(3), scale=2.5), expected)


def test_reducing_keeps_kind_channels_and_metadata():
    metadata = Metadata(icc=b"profile", dpi=(72.0, 72.0))
    ink = Picture(np.full((8, 12, 4), (0, 51, 255, 102), np.uint8), "CMYK", metadata)
    result = reduced(ink, (5, 7))
    assert (result.mode, result.metadata, result.pixels.shape) == ("CMYK", metadata, (5, 7, 4))
    assert (result.pixels == ink.pixels[:5, :7]).all()
    deep = (pixels(8, 12, 2).astype(np.uint16)) * 257
    exact = cclnn.ops.imresize(torch.from_numpy(deep.astype(np.float32)).permute(2, 0, 1)[None] / 65535, size=(5, 7))
    found = reduced(deep, (5, 7))
    assert found.dtype == np.uint16
    assert np.abs(found - exact[0].permute(1, 2, 0).numpy() * 65535).max() <= 0.51 + 1e-2
    same = pixels(8, 12, 3)
    assert reduced(same, (8, 12)) is same


def test_compressed_pictures_take_photo_weights(chosen):
    cclnn.upscale(jpeg(quality=75))
    cclnn.upscale(jpeg(quality=100))  # tables of ones
    cclnn.upscale(pixels(9, 8, 3))
    cclnn.upscale(pixels(9, 8, 3), photo=True)
    cclnn.upscale(jpeg(), photo=False)
    cclnn.upscale(jpeg(size=(9, 8)), scale=6)
    first = [name for name, _, _ in chosen]
    assert first == [PHOTO[2], CLEAN[2], CLEAN[2], PHOTO[2], CLEAN[2], PHOTO[2], CLEAN[3]]


def test_strength_lies_between_the_clean_weights_and_those_for_photographs(chosen, monkeypatch):
    blended = []
    run = automatic.interpolate
    monkeypatch.setattr(
        automatic, "interpolate", lambda *given: blended.append([type(x).__name__ for x in given[:2]]) or run(*given)
    )
    cclnn.upscale(jpeg(), strength=0.25)
    cclnn.upscale(jpeg(quality=95), strength=1)
    cclnn.upscale(jpeg(quality=95))
    clean = published("clean", model=weights.manifest()[PHOTO[2]]["model"])[2]
    assert chosen == [(PHOTO[2], clean, 0.25), (PHOTO[2], None, 1.0), (PHOTO[2], clean, 0.7)]
    assert blended == 2 * [[weights.manifest()[name]["architecture"] for name in (clean, PHOTO[2])]]


def test_strength_needs_clean_weights_of_the_same_network(monkeypatch, rejects):
    best = weights.manifest()[PHOTO[2]]
    best = {**best, "model": "other", "measured": {"Set5": {**best["measured"]["Set5"], "psnr": 99.0}}}
    entries = {**weights.manifest(), "grainy": best}
    monkeypatch.setattr(choice, "manifest", lambda: entries)
    monkeypatch.setattr(weights, "manifest", lambda: entries)
    with rejects("`strength` must be 1, got 0.5: no clean weights of the network of 'grainy' are published"):
        cclnn.upscale(jpeg(), strength=0.5)
    assert cclnn.upscale(jpeg(quality=95)).size == (48, 40)  # at its full strength


def test_messages(rejects):
    with rejects("`strength` must lie between 0 and 1, got 2"):
        cclnn.upscale(pixels(5, 5, 3), strength=2)
    with rejects("at most one of scale, width, height and megapixels can be given, got `scale`=2 and `height`=9"):
        cclnn.upscale(pixels(5, 5, 3), scale=2, height=9)
    with rejects("`width`=4 is 0.8 times an image of 5 x 5 pixels; 1 to 8 is possible."):
        cclnn.upscale(pixels(5, 5, 3), width=4)
