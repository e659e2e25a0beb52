"""Pictures and PIL images: every mode of Pillow is computable or refused; orientations are those of the standard."""

import numpy as np
import pytest
from image import zoo
from PIL import Image, ImageCms

from cclnn.image.formats import CHANNELS
from cclnn.image.picture import Picture, from_pil, to_computable, to_pil, upright


@pytest.mark.parametrize("mode", CHANNELS)
def test_pil_and_back(mode):
    picture = Picture(zoo.pixels(CHANNELS[mode]), mode)
    again = from_pil(to_pil(picture))
    assert (again.mode, again.bits) == (mode, 8)
    assert np.array_equal(again.pixels, picture.pixels)


def test_16_bit_grey_and_back():
    picture = Picture(zoo.pixels(1, 16), "L")
    image = to_pil(picture)
    assert (image.mode, image.getpixel((4, 3))) == ("I;16", picture.pixels[3, 4, 0])
    assert np.array_equal(from_pil(image).pixels, picture.pixels)
    big = Image.frombytes("I;16B", image.size, picture.pixels.astype(">u2").tobytes())
    assert np.array_equal(from_pil(big).pixels, picture.pixels)


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("1", "L"), ("P", "RGB"), ("PA", "RGBA"), ("RGBX", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("La", "LA")],
)
def test_other_modes_become_what_pillow_makes_of_them(mode, becomes):
    source = Image.fromarray(zoo.pixels(3)).convert("LA" if mode == "La" else "RGB").convert(mode)
    image = to_computable(source)
    assert (image.mode, image.tobytes()) == (becomes, source.convert(becomes).tobytes())


def test_lab_becomes_rgb():
    red = Image.new("RGB", (3, 2), (200, 30, 40))
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.profileToProfile(red, *profiles, outputMode="LAB")
    assert np.abs(np.asarray(to_computable(lab)).astype(int) - (200, 30, 40)).max() <= 4


@pytest.mark.parametrize("mode", ["I", "F"])
def test_refuses_modes_whose_white_is_unknown(mode):
    with pytest.raises(ValueError, match=f"`image` must have mode 1, L, .*, got {mode}. Convert it first"):
        to_computable(Image.new(mode, (2, 3)))


def test_pil_cannot_hold_16_bit_colour():
    with pytest.raises(ValueError, match="a PIL image cannot hold 16-bit RGBA; it holds 16-bit grey and 8-bit colour"):
        to_pil(Picture(zoo.pixels(4, 16), "RGBA"))


def test_an_unknown_orientation_is_none():
    array = zoo.pixels(3)
    assert np.array_equal(upright(array, 9), array)
    assert upright(array, 6).shape == (zoo.WIDTH, zoo.HEIGHT, 3)
