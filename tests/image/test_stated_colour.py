"""Colour that a file states without a profile, by gAMA or by codes: a viewer that manages colour shows it alike."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from image import zoo
from PIL import Image, ImageCms

from cclnn.image import FORMATS, png, read_picture, write_picture

CASES = Path(__file__).parent / "cases"
NO_PNG = tuple(name for name in FORMATS if name != "png")
SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # cHRM: white, red, green, blue


def written(picture, path, format_name):
    """(path, what was told)."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        write_picture(picture, path, format=format_name)
    return path, "; ".join(str(x.message) for x in told)


def shown(path):
    """The sRGB colours of a viewer that manages colour, by LittleCMS."""
    with Image.open(path) as image:
        profile, colour = image.info.get("icc_profile"), image.convert("RGB")
    if profile:
        colour = ImageCms.profileToProfile(colour, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
    return np.asarray(colour, dtype=float)


def encoded(linear):
    """Light of 0 to 1 as sRGB's 0 to 255 (IEC 61966-2-1)."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def smooth():
    rows, cols = np.mgrid[:40, :64]
    return np.stack([rows * 5 + 30, cols * 3 + 20, rows * 2 + cols + 60], axis=2).astype(np.uint8)


def with_gamma(folder, gamma, *more):
    zoo.png(smooth(), folder / "in.png", chunks=[(b"gAMA", struct.pack(">I", gamma)), *more])
    return read_picture(folder / "in.png")


@pytest.mark.parametrize("format_name", NO_PNG)
@pytest.mark.parametrize("gamma", [100000, 55556, 38462])
def test_gamma_alone_becomes_a_profile(tmp_path, gamma, format_name):
    path, told = written(with_gamma(tmp_path, gamma), tmp_path / "out", format_name)
    assert told == ""
    expected = encoded((smooth() / 255) ** (1e5 / gamma))
    lossy = FORMATS[format_name].quality is not None
    assert np.abs(shown(path) - expected).mean() < (4 if lossy else 1)
    assert np.abs(smooth() - expected).mean() > 6  # without the profile it would look different


@pytest.mark.parametrize("format_name", NO_PNG)
def test_gamma_and_primaries_become_a_profile(tmp_path, format_name):
    """Red and green exchanged, which no usual profile has: the channels come out exchanged."""
    swapped = SRGB_POINTS[:2] + SRGB_POINTS[4:6] + SRGB_POINTS[2:4] + SRGB_POINTS[6:]
    picture = with_gamma(tmp_path, 100000, (b"cHRM", struct.pack(">8I", *swapped)))
    path, _ = written(picture, tmp_path / "out", format_name)
    expected = encoded(smooth()[..., [1, 0, 2]] / 255)
    assert np.abs(shown(path) - expected).mean() < (6 if FORMATS[format_name].quality is not None else 1)


@pytest.mark.parametrize("more", [(), ((b"cHRM", struct.pack(">8I", *SRGB_POINTS)),), ((b"sRGB", b"\0"),)])
def test_the_usual_gamma_is_srgb_and_needs_no_profile(tmp_path, more):
    picture = with_gamma(tmp_path, 45455, *more)
    for format_name in FORMATS:
        path, told = written(picture, tmp_path / "out", format_name)
        with Image.open(path) as image:
            assert "icc_profile" not in image.info
        assert told == ""


def test_gamma_stays_as_it_is_in_png(tmp_path):
    picture = with_gamma(tmp_path, 55556, (b"cHRM", struct.pack(">8I", *SRGB_POINTS)))
    path, _ = written(picture, tmp_path / "out.png", "png")
    parts = png.read_parts(path.read_bytes())
    assert dict(parts.chunks) == {b"gAMA": struct.pack(">I", 55556), b"cHRM": struct.pack(">8I", *SRGB_POINTS)}
    assert parts.icc is None


def avif(primaries, transfer):
    """Display P3's file with other codes."""
    content = bytearray((CASES / "colour" / "p3_nclx.avif").read_bytes())
    at = content.index(b"colrnclx") + 8
    assert content[at : at + 4] == struct.pack(">HH", 12, 13)
    content[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return io.BytesIO(bytes(content))


@pytest.mark.parametrize("codes", [(9, 16), (9, 18), (12, 16)])  # PQ and HLG
@pytest.mark.parametrize("format_name", FORMATS)
def test_hdr_of_an_avif_stays_in_png_and_is_told_elsewhere(tmp_path, codes, format_name):
    picture = read_picture(avif(*codes))
    assert picture.metadata.cicp == codes
    path, told = written(picture, tmp_path / "out", format_name)
    if format_name == "png":
        assert told == ""
        assert dict(png.read_parts(path.read_bytes()).chunks)[b"cICP"] == bytes((*codes, 0, 1))
        again = read_picture(path)
        assert np.array_equal(again.pixels, picture.pixels)
    else:
        assert f"colour of the kind cICP {codes[0]}, {codes[1]}, such as HDR" in told


@pytest.mark.parametrize("codes", [(1, 13), (2, 2), (1, 1)])
def test_srgb_of_an_avif_needs_no_profile(tmp_path, codes):
    picture = read_picture(avif(*codes))
    for format_name in FORMATS:
        path, told = written(picture, tmp_path / "out", format_name)
        with Image.open(path) as image:
            assert "icc_profile" not in image.info
        assert told == ""
