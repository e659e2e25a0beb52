"""Pictures of which a part is missing: an error by default, read with a warning where that is asked for."""

import io
import struct
import zlib

import numpy as np
import pytest
from image import zoo
from PIL import Image

from cclnn.image import ImageFileError, read_picture
from cclnn.image.formats import ImageFileWarning
from cclnn.image.png import ADAM7

MISSING = "the file is damaged: a part of the picture is missing, and is kept as a flat area"


def jpeg(**options):
    smooth = np.add.outer(np.arange(64), np.arange(80))[..., None] + np.arange(3)
    return zoo.bytes_of(Image.fromarray(smooth.astype(np.uint8)), format="JPEG", quality=95, **options)


def png(array, tmp_path, *, interlaced=False):
    zoo.png(array, tmp_path / "a.png", chunks=zoo.png_metadata())
    content = (tmp_path / "a.png").read_bytes()
    if not interlaced:
        return content
    rows = b"".join(
        b"\0" + row.astype(f">u{array.itemsize}").tobytes()
        for left, top, across, down in ADAM7
        for row in array[top::down, left::across]
    )
    head = bytearray(content[16:29])
    head[12] = 1
    chunks = [(b"IHDR", bytes(head)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    made = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks]
    return content[:8] + b"".join(made)


def keep(content):
    with pytest.warns(ImageFileWarning, match=f"^'photo': {MISSING}"):
        return read_picture(io.BytesIO(content), name="'photo'", keep_damaged=True)


def refuse(content):
    with pytest.raises(ImageFileError, match="cannot read 'photo': the file is damaged"):
        read_picture(io.BytesIO(content), name="'photo'")


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}])
def test_a_jpeg(options, ended):
    """Half of the scan; with its end put back, as some recovery programs do, it decodes without an error."""
    content = jpeg(**options, exif=zoo.exif().tobytes())
    whole = read_picture(io.BytesIO(content)).pixels.astype(int)
    half = content[: (content.index(b"\xff\xda") + len(content)) // 2] + (b"\xff\xd9" if ended else b"")
    if not (ended and "progressive" in options):  # whose refinement may end early without a trace
        refuse(half)
        picture = keep(half)
        assert picture.pixels.shape == whole.shape
        assert picture.metadata.exif
        assert np.abs(picture.pixels[:8] - whole[:8]).max() <= (90 if "progressive" in options else 3)
        assert (picture.pixels[-8:, -8:].astype(int) != whole[-8:, -8:]).any()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (8, 4), (16, 3)])
def test_a_png(tmp_path, bits, channels, interlaced):
    array = zoo.pixels(channels, bits, height=61, width=53)
    content = png(array, tmp_path, interlaced=interlaced)
    cut = content[: len(content) * 2 // 3]
    refuse(cut)
    picture = keep(cut)
    assert picture.pixels.shape == array.shape
    assert picture.pixels.dtype == array.dtype
    same = (picture.pixels == array).all(axis=2)
    assert same[0::8, 0::8].all() if interlaced else same[:30].all()
    assert picture.pixels[~same].any(axis=1).sum() <= 1  # the last one in part, the others 0
    if not interlaced:
        assert picture.metadata.icc == zoo.ICC


def test_a_changed_byte_of_a_png(tmp_path):
    content = bytearray(png(zoo.pixels(3, height=61, width=53), tmp_path))
    content[len(content) * 2 // 3] ^= 0xFF
    refuse(bytes(content))
    assert keep(bytes(content)).pixels.shape == (61, 53, 3)


def test_sound_files_are_read_as_ever(tmp_path):
    for content in (jpeg(), png(zoo.pixels(3), tmp_path), png(zoo.pixels(3), tmp_path, interlaced=True)):
        plain, kept = (read_picture(io.BytesIO(content), keep_damaged=kept) for kept in (False, True))
        assert (plain.pixels == kept.pixels).all()


@pytest.mark.parametrize("content", [jpeg()[:100], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xd9"])
def test_where_there_is_no_picture_it_is_an_error(content):
    with pytest.raises(ImageFileError, match="the file is damaged"):
        read_picture(io.BytesIO(content), name="'photo'", keep_damaged=True)


def test_a_size_that_is_too_large_is_not_made(tmp_path):
    content = bytearray(png(zoo.pixels(3), tmp_path))
    content[16:24] = struct.pack(">II", 2**30, 2**30)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(ImageFileError, match="--max-megapixels raises the limit"):
        read_picture(io.BytesIO(bytes(content)), keep_damaged=True)
