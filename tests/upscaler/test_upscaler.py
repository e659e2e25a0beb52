"""The upscaler: same kind out, tiles equal the whole, nothing changed that is not its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn.upscaler import Upscaler

CHELSEA = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"
# Zero padding at image borders is the same in a tile; 9 pixels are the receptive field of this network.
SMALL = {"channels": 8, "n_resblocks": 2, "res_scale": 1.0}


@pytest.fixture
def edsr():
    return cclnn.EDSR(2, **SMALL).eval()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_the_network_on_the_whole_image(scale):
    model = cclnn.EDSR(scale, **SMALL).eval()
    x = torch.rand(2, 3, 13, 17)
    with torch.no_grad():
        expected = model(x).clamp(0, 1)
    assert_close(Upscaler(model, precision="fp32")(x), expected)


@pytest.mark.parametrize("tile", [24, 25, 31, 100])
def test_tiles_equal_the_whole_once_the_overlap_covers_the_field(edsr, tile):
    x = torch.rand(1, 3, 61, 47)
    whole = Upscaler(edsr, tile="none", precision="fp32")(x)
    assert_close(Upscaler(edsr, tile=tile, overlap=9, precision="fp32")(x), whole)


def test_too_little_overlap_shows(edsr):
    """The test above can fail: with no overlap the tiles differ."""
    x = torch.rand(1, 3, 61, 47)
    whole = Upscaler(edsr, tile="none", precision="fp32")(x)
    assert (Upscaler(edsr, tile=24, overlap=0, precision="fp32")(x) - whole).abs().max() > 1e-3


def test_same_kind_out(edsr):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    from_array = cclnn.upscale(pixels, model=edsr)
    assert (type(from_array), from_array.dtype, from_array.shape) == (np.ndarray, np.uint8, (14, 10, 3))
    from_pil = cclnn.upscale(Image.fromarray(pixels), model=edsr)
    assert isinstance(from_pil, Image.Image)
    assert (from_pil.mode, from_pil.size) == ("RGB", (10, 14))
    assert np.array_equal(np.asarray(from_pil), from_array)
    grey = cclnn.upscale(Image.fromarray(pixels[:, :, 0]), model=edsr)
    assert (grey.mode, grey.size) == ("L", (10, 14))
    as_float = cclnn.upscale(pixels / 255, model=edsr)
    assert as_float.dtype == np.float64
    assert np.abs(np.round(as_float * 255) - from_array).max() <= 1


def test_changes_neither_input_nor_model_nor_random_state(edsr):
    edsr.train()
    x = torch.rand(1, 3, 9, 11)
    before, weights, state = x.clone(), {k: v.clone() for k, v in edsr.state_dict().items()}, torch.get_rng_state()
    upscaler = Upscaler(edsr)
    upscaler(x)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert edsr.training
    assert all(torch.equal(value, weights[name]) for name, value in edsr.state_dict().items())
    assert all(parameter.grad is None for parameter in edsr.parameters())


def test_is_deterministic_with_non_local_attention():
    model = cclnn.create_model("cclnn-t", scale=2, channels=16, chunk_size=9)
    x = torch.rand(1, 3, 23, 19)
    first, second = Upscaler(model, tile=40)(x), Upscaler(model, tile=40)(x)
    assert torch.equal(first, second)


def test_reports_progress(edsr):
    calls = []
    Upscaler(edsr, tile=20, overlap=2)(
        torch.rand(1, 3, 21, 9), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(0, 2), (1, 2), (2, 2)]


def test_bundled_model_beats_bicubic():
    """A photograph reduced by two and brought back: closer to the original than bicubic, by more than 0.5 dB."""
    with Image.open(CHELSEA) as photo:
        hr = torch.from_numpy(np.array(photo)[:, :450]).permute(2, 0, 1)[None]
    lr = cclnn.ops.imresize(hr, 0.5)
    bicubic = cclnn.ops.imresize(lr, 2)
    ours = cclnn.upscale(lr)
    scores = [cclnn.metrics.psnr(image / 255, hr / 255, border=2).item() for image in (bicubic, ours)]
    assert scores[1] > scores[0] + 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 32}, "`tile` must be at least 33, got 32"),
        ({"tile": "big"}, "`tile` must be a number of pixels, 'auto' or 'none', got 'big'"),
        ({"overlap": -1}, "`overlap` must be at least 0, got -1"),
        ({"precision": "int8"}, "`precision` must be one of .* got 'int8'"),
    ],
)
def test_messages(edsr, arguments, message, rejects):
    with rejects(message):
        Upscaler(edsr, **arguments)
