"""How a file was compressed, for files of many qualities written by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from cclnn.image.compression import Compression, compression_of, of_tables, read_compression

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


def encoded(image_format, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, image_format, **options)
    return file


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("quality", [1, 5, 20, 49, 50, 51, 60, 75, 85, 90, 95, 98, 99])
def test_the_quality_of_a_jpeg_is_that_it_was_written_with(quality, mode):
    found = read_compression(encoded("JPEG", mode, quality=quality))
    assert (found.format, found.lossy) == ("JPEG", True)
    assert abs(found.quality - quality) <= (3 if quality < 5 else 0)
    assert str(found) == f"JPEG of quality {found.quality}"


def test_a_jpeg_with_tables_of_ones_counts_as_lossless():
    assert read_compression(encoded("JPEG", quality=100)) == Compression("JPEG", lossy=False, quality=100)


def test_tables_of_other_programs_get_the_nearest_quality():
    """Flat tables of 4 sum to 6.9 % of the standard's: between libjpeg's 96 (8 %) and 97 (6 %)."""
    assert of_tables({0: [4] * 64}).quality in (96, 97)
    assert of_tables({}) == Compression("JPEG", lossy=True)


def test_pil_images_tell_the_same():
    with Image.open(encoded("JPEG", quality=82)) as image:
        assert compression_of(image) == Compression("JPEG", lossy=True, quality=82)
    with Image.open(encoded("PNG")) as image:
        assert compression_of(image) == Compression("PNG", lossy=False)
    with Image.open(encoded("WEBP", quality=50)) as image:
        assert compression_of(image) is None
    assert compression_of(Image.fromarray(PIXELS)) is None


@pytest.mark.parametrize("metadata", [{}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "icc_profile": b"x" * 999}])
@pytest.mark.parametrize("lossless", [True, False])
def test_webp_says_whether_it_is_lossless(lossless, metadata):
    found = read_compression(encoded("WEBP", lossless=lossless, quality=80, **metadata))
    assert found == Compression("WebP", lossy=not lossless)
    assert str(found) == f"WebP, {'lossless' if lossless else 'lossy'}"


@pytest.mark.parametrize("lossless", [True, False])
def test_animated_webp_says_so_too(lossless):
    other = Image.fromarray(PIXELS[::-1].copy())
    file = encoded("WEBP", save_all=True, append_images=[other], lossless=lossless)
    assert read_compression(file).lossy is not lossless


@pytest.mark.parametrize(
    ("image_format", "options", "expected"),
    [
        ("PNG", {}, Compression("PNG", lossy=False)),
        ("GIF", {}, Compression("GIF", lossy=False)),
        ("BMP", {}, Compression("BMP", lossy=False)),
        ("TIFF", {}, Compression("TIFF", lossy=False)),
        ("TIFF", {"compression": "tiff_lzw"}, Compression("TIFF", lossy=False)),
        ("TIFF", {"compression": "jpeg"}, Compression("TIFF", lossy=True)),
        ("AVIF", {}, Compression("AVIF", lossy=True)),
    ],
)
def test_other_formats(image_format, options, expected, tmp_path):
    file = encoded(image_format, **options)
    assert read_compression(file) == expected
    assert file.tell() == 0
    (tmp_path / "file").write_bytes(file.getvalue())
    assert read_compression(tmp_path / "file") == expected


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8", b"\xff\xd8\xff\xdb\0\x43\0short", b"RIFF\0\0\0\0WEBP"])
def test_bytes_that_are_no_whole_image_do_no_harm(content):
    found = read_compression(io.BytesIO(content))
    assert found is None or found.quality is None


def test_every_cut_of_a_jpeg_is_read_without_an_error():
    content = encoded("JPEG", quality=70).getvalue()
    for length in range(0, 700, 7):
        read_compression(io.BytesIO(content[:length]))
