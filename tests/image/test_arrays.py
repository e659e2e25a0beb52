"""Every kind of image comes apart and together again, unchanged."""

import numpy as np
import pytest
import torch
from PIL import Image

from cclnn.image.arrays import open_image, to_tensor


def array(*shape, dtype=np.uint8):
    values = np.random.default_rng(0).random(shape)
    whole = np.issubdtype(dtype, np.integer)
    return (values * np.iinfo(dtype).max).astype(dtype) if whole else values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7, 4), (5, 7, 3), (5, 7, 2), (5, 7, 1), (5, 7)], ids=str)
def test_arrays_survive_a_round_trip(shape, dtype):
    source = array(*shape, dtype=dtype)
    opened = open_image(source)
    assert opened.pixels.shape == (1, shape[2] if len(shape) == 3 else 1, 5, 7)
    result = opened.rebuild(opened.encode(opened.decode(opened.pixels)))
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, source, rtol=1e-3 if dtype == np.float16 else 1e-6, atol=0)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "CMYK"])
def test_pil_images_survive_a_round_trip_with_their_profile(mode):
    source = Image.fromarray(array(5, 7, 3)).convert(mode)
    source.info["icc_profile"] = b"a profile"
    opened = open_image(source)
    result = opened.rebuild(opened.encode(opened.decode(opened.pixels)))
    assert (result.mode, result.info["icc_profile"]) == (mode, b"a profile")
    assert result.tobytes() == source.tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tensors_survive_a_round_trip(channels):
    source = torch.rand(2, channels, 5, 7)
    opened = open_image(source)
    assert opened.pixels.shape == (2, channels, 5, 7)
    torch.testing.assert_close(opened.rebuild(opened.encode(opened.decode(opened.pixels))), source)


def test_reads_rows_columns_and_channels_in_order():
    source = np.zeros((2, 3, 3), dtype=np.uint8)
    source[1, 2] = (255, 0, 51)
    opened = open_image(source)
    torch.testing.assert_close(opened.decode(opened.pixels)[0, :, 1, 2], torch.tensor([1.0, 0.0, 0.2]))


def test_encoding_clamps_and_rounds():
    opened = open_image(np.zeros((1, 1, 3), dtype=np.uint8))
    values = torch.tensor([-0.5, 1.7, 0.4999 / 255]).reshape(1, 3, 1, 1)
    before = values.clone()
    assert opened.encode(values).flatten().tolist() == [0, 255, 0]
    assert torch.equal(values, before)
    fine = open_image(np.zeros((1, 1, 3), dtype=np.uint16))
    assert fine.encode(values).flatten().tolist() == [0, 65535, 128]


def test_every_value_of_16_bits_survives():
    source = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    opened = open_image(source)
    assert np.array_equal(opened.rebuild(opened.encode(opened.decode(opened.pixels))), source)


def test_arrays_of_the_other_byte_order_are_read():
    source = array(4, 6, 3, dtype=np.uint16)
    assert np.array_equal(open_image(source.astype(">u2")).pixels.numpy(), open_image(source).pixels.numpy())


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
        (np.zeros((2, 3, 5), np.uint8), ValueError, r"shape \(h w c\) with c = 1, 2, 3 or 4.*got \(2, 3, 5\)"),
        (np.zeros((0, 3, 3), np.uint8), ValueError, r"none of them 0, got \(0, 3, 3\)"),
        (np.zeros((1, 2, 3, 3), np.uint8), ValueError, r"must have shape \(h w\) or \(h w c\), got \(1, 2, 3, 3\)"),
        (np.zeros((2, 3, 3), np.int16), TypeError, "must hold uint8, uint16 or floating-point numbers, got int16"),
        (np.full((2, 3, 3), 200.0), ValueError, r"must lie in \[0, 1\] where it is floating point, got 200 to 200"),
        (np.full((2, 3, 3), np.nan), ValueError, r"must lie in \[0, 1\]"),
        (torch.zeros(3, 4, 5), ValueError, r"must have shape \(b c h w\)"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.int64), TypeError, "must hold uint8, uint16 or floating-point"),
        (Image.new("F", (2, 2)), ValueError, r"must have mode 1, L, LA, .*, got F. Convert it first"),
        (Image.new("I", (2, 2)), ValueError, "got I. Convert it first"),
    ],
    ids=lambda value: getattr(value, "mode", None) or str(getattr(value, "shape", "")) or None,
)
def test_messages(image, error, message):
    with pytest.raises(error, match=message):
        open_image(image)


def test_a_tensor_of_any_image_is_what_a_network_takes():
    """Black 0 and white 1, whatever the kind: 51 of 255 and 13107 of 65535 are 0.2; ink is not light."""
    pixels = np.full((2, 3, 3), 51, dtype=np.uint8)
    pixels[1, 2] = (255, 0, 51)
    for image in (
        pixels,
        Image.fromarray(pixels),
        pixels.astype(np.uint16) * 257,
        torch.tensor(pixels / 255).movedim(-1, 0)[None],
    ):
        made = to_tensor(image)
        assert made.shape == (1, 3, 2, 3)
        torch.testing.assert_close(made[0, :, 1, 2].float(), torch.tensor([1.0, 0.0, 0.2]))
    assert to_tensor(Image.new("CMYK", (3, 2), (0, 255, 51, 0)))[0, :, 1, 2].tolist() == pytest.approx([1, 0, 0.8, 1])
    assert to_tensor(torch.rand(2, 1, 5, 7, dtype=torch.float64)).dtype == torch.float64
