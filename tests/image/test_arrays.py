"""Every kind of image comes apart and together again, unchanged."""

import numpy as np
import pytest
import torch
from PIL import Image

from cclnn.image.arrays import open_image


def array(*shape, dtype=np.uint8):
    values = np.random.default_rng(0).random(shape)
    return (values * 255).astype(dtype) if dtype == np.uint8 else values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (5, 7)], ids=str)
def test_arrays_survive_a_round_trip(shape, dtype):
    source = array(*shape, dtype=dtype)
    opened = open_image(source)
    assert opened.pixels.shape == (1, 3, 5, 7)
    result = opened.rebuild(opened.encode(opened.decode(opened.pixels)))
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, source, rtol=1e-3 if dtype == np.float16 else 1e-6, atol=0)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil_images_survive_a_round_trip_with_their_profile(mode):
    source = Image.fromarray(array(5, 7, 3)).convert(mode)
    source.info["icc_profile"] = b"a profile"
    opened = open_image(source)
    result = opened.rebuild(opened.encode(opened.decode(opened.pixels)))
    assert (result.mode, result.info["icc_profile"]) == (mode, b"a profile")
    assert result.tobytes() == source.tobytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_survive_a_round_trip(channels):
    source = torch.rand(2, channels, 5, 7)
    opened = open_image(source)
    assert opened.pixels.shape == (2, 3, 5, 7)
    torch.testing.assert_close(opened.rebuild(opened.encode(opened.decode(opened.pixels))), source)


def test_reads_rows_columns_and_channels_in_order():
    source = np.zeros((2, 3, 3), dtype=np.uint8)
    source[1, 2] = (255, 0, 51)
    opened = open_image(source)
    torch.testing.assert_close(opened.decode(opened.pixels)[0, :, 1, 2], torch.tensor([1.0, 0.0, 0.2]))


def test_encoding_clamps_and_rounds():
    opened = open_image(np.zeros((1, 1, 3), dtype=np.uint8))
    values = torch.tensor([-0.5, 1.7, 0.4999 / 255]).reshape(1, 3, 1, 1)
    assert opened.encode(values).flatten().tolist() == [255 * 0, 255, 0]


def test_flipped_and_read_only_arrays_are_read():
    source = array(4, 6, 3)
    frozen = source.copy()
    frozen.flags.writeable = False
    assert torch.equal(open_image(frozen).pixels, open_image(source).pixels)
    assert torch.equal(open_image(source[:, ::-1]).pixels, open_image(source).pixels.flip(3))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("photo.png", TypeError, "must be a PIL image, a numpy array or a torch tensor, got str"),
        (np.zeros((2, 3, 4), np.uint8), ValueError, r"must have shape \(h w c\) with c = 1 or 3.*got \(2, 3, 4\)"),
        (np.zeros((0, 3, 3), np.uint8), ValueError, r"none of them 0, got \(0, 3, 3\)"),
        (np.zeros((1, 2, 3, 3), np.uint8), ValueError, r"must have shape \(h w\) or \(h w c\), got \(1, 2, 3, 3\)"),
        (np.zeros((2, 3, 3), np.uint16), TypeError, "must hold uint8 or floating-point numbers, got uint16"),
        (np.full((2, 3, 3), 200.0), ValueError, r"must lie in \[0, 1\] where it is floating point, got 200 to 200"),
        (np.full((2, 3, 3), np.nan), ValueError, r"must lie in \[0, 1\]"),
        (torch.zeros(3, 4, 5), ValueError, r"must have shape \(b c h w\)"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.int64), TypeError, "must hold uint8 or floating-point numbers, got torch"),
        (Image.new("RGBA", (2, 2)), ValueError, r"must have mode RGB or L, got RGBA. Convert it first"),
        (Image.new("CMYK", (2, 2)), ValueError, "got CMYK"),
    ],
    ids=lambda value: getattr(value, "mode", None) or str(getattr(value, "shape", "")) or None,
)
def test_messages(image, error, message):
    with pytest.raises(error, match=message):
        open_image(image)
