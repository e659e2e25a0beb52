"""HEIC: pixels, colour, orientation and metadata, as libheif gives them."""

import importlib.util
import io

import numpy as np
import pytest
from image import zoo
from PIL import Image

from cclnn.image import ImageFileError, exif, read_picture, write_picture, xmp
from cclnn.image.compression import Compression, compression_of, read_compression
from cclnn.image.formats import known_format, unread_kind

pillow_heif = pytest.importorskip("pillow_heif", reason='HEIC needs the extra "heif"')
TURNED = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
TURNED += b"<rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/></rdf:RDF></x:xmpmeta>"


def heic(mode="RGB", array=None, **options):
    """A lossless HEIC of mode L, RGB or RGBA, or of 10 bits (array: uint16, 10 bits)."""
    file = io.BytesIO()
    if array is not None:
        data = (array << 6).astype("<u2").tobytes()
        image = pillow_heif.from_bytes(mode="RGB;16", size=(array.shape[1], array.shape[0]), data=data)
    else:
        channels = zoo.pixels(len(mode), height=40, width=56)
        image = pillow_heif.from_pillow(Image.frombytes(mode, (56, 40), channels.tobytes()))
    image.save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


@pytest.fixture
def read():
    return lambda content, **options: read_picture(io.BytesIO(content), **options)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels(read, mode):
    picture = read(heic(mode))
    assert picture.mode == mode
    assert picture.bits == 8
    error = np.abs(picture.pixels.astype(int) - zoo.pixels(len(mode), height=40, width=56))
    assert error.max() <= 3  # of the colour transform, which rounds


def test_ten_bits_become_sixteen(read):
    source = np.linspace(0, 1023, 40 * 56 * 3).reshape(40, 56, 3).round().astype(np.uint16)
    picture = read(heic(array=source))
    assert picture.bits == 16
    assert (picture.pixels.min(), picture.pixels.max()) == (0, 65535)
    assert np.abs(picture.pixels * (1023 / 65535) - source).max() < 3


def test_the_file_turns_its_picture_once(read, tmp_path):
    """EXIF and XMP beside a HEIC's own turn say the same, and are not to be applied."""
    block = Image.Exif()
    block[0x0112], block[0x010F] = 6, zoo.CAMERA
    picture = read(heic(exif=block.tobytes(), xmp=TURNED))
    assert (picture.width, picture.height) == (40, 56)
    expected = np.rot90(zoo.pixels(3, height=40, width=56), -1).astype(int)
    assert np.abs(picture.pixels - expected).max() <= 3
    assert exif.orientation(picture.metadata.exif) == 1
    assert xmp.neutral(picture.metadata.xmp)[0] == 1
    write_picture(picture, tmp_path / "a.png")
    again = read_picture(tmp_path / "a.png")
    assert np.array_equal(again.pixels, picture.pixels)
    assert parsed(again.metadata.exif)[0x010F] == zoo.CAMERA


def parsed(block):
    found = Image.Exif()
    found.load(block)
    return found


def test_profile_stays(read):
    assert read(heic(icc_profile=zoo.ICC)).metadata.icc == zoo.ICC


@pytest.mark.parametrize("format_name", ["png", "jpeg", "tiff", "webp"])
def test_colour_without_a_profile_becomes_one(read, tmp_path, format_name):
    """Display P3 that the file states by codes alone."""
    picture = read(heic(color_primaries=12, transfer_characteristics=13))
    assert picture.metadata.cicp == (12, 13)
    path = tmp_path / f"a.{format_name}"
    write_picture(picture, path, format=format_name)
    with Image.open(path) as image:
        assert image.info["icc_profile"][16:20] == b"RGB "


def test_pixel_aspect(read, tmp_path):
    picture = read(heic(pixel_aspect_ratio=(4, 3)))  # a pixel's width to its height
    assert picture.metadata.aspect == (3, 4)  # pixels per unit


def test_a_damaged_file_is_named_so(read):
    content = heic()
    for cut in (20, len(content) // 2, len(content) - 200):
        with pytest.raises(ImageFileError, match=r"^cannot read 'photo': the file is damaged \(.*\)\.$"):
            read(content[:cut], name="'photo'")


def test_too_large_a_picture(read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageFileError, match="--max-megapixels raises the limit"):
        read(heic())


def test_without_the_extra(read, monkeypatch):
    content = heic()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageFileError, match=r'it is HEIC, which needs pillow-heif: pip install "cclnn\[heif\]"\.'):
        read(content)


def test_a_wrong_suffix_is_told(tmp_path):
    (tmp_path / "a.jpg").write_bytes(heic())
    with pytest.warns(UserWarning, match=r"its name ends in \.jpg, but it is HEIC, and is read as that"):
        assert read_picture(tmp_path / "a.jpg").width == 56


def test_it_counts_as_lossy():
    assert read_compression(io.BytesIO(heic())) == Compression("HEIC", lossy=True)
    image = Image.new("RGB", (2, 2))
    image.format = "HEIF"
    assert compression_of(image).lossy


def test_a_family_name_with_avif_among_its_brands_is_avif():
    head = b"\0\0\0\x20ftypmif1\0\0\0\0miafavifMA1B"
    assert (unread_kind(head), known_format(head)) == (None, "avif")
    head = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"
    assert (unread_kind(head), known_format(head)) == ("HEIC", None)
