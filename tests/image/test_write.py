"""Writing image files: what is written is read again, what a format cannot hold is refused before the work."""

import io
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image import zoo
from PIL import Image, ImageCms

from cclnn.image import (
    FORMATS,
    ImageFileError,
    Metadata,
    Picture,
    check_fits,
    check_target,
    convert,
    encode,
    read_picture,
    write_picture,
    write_png,
)
from cclnn.image.formats import CHANNELS
from cclnn.image.metadata import parse_exif

pytest.importorskip("pyvips", reason='16-bit colour needs the extra "io16"')


def written(picture, tmp_path, name):
    write_picture(picture, tmp_path / f"out.{name}", format=name)
    return read_picture(tmp_path / f"out.{name}")


@pytest.mark.filterwarnings("ignore:.*not carried over:cclnn.image.formats.MetadataWarning")  # the comment
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", CHANNELS)
def test_what_is_written_is_read_again(tmp_path, mode, bits, name):
    block = zoo.exif().tobytes()
    metadata = Metadata(icc=zoo.INKS if mode == "CMYK" else zoo.ICC, exif=block, dpi=zoo.DPI, comment=b"a comment")
    picture = Picture(zoo.pixels(CHANNELS[mode], bits, height=38, width=54), mode, metadata)
    can = FORMATS[name]
    no = bits == 16 and (not can.deep or mode == "CMYK" or (mode == "LA" and name == "tiff"))
    if no or (mode not in can.modes and mode != "CMYK"):
        with pytest.raises(ImageFileError):
            written(picture, tmp_path, name)
        assert not list(tmp_path.iterdir())
        return
    if mode == "CMYK" and mode not in can.modes:
        picture = Picture(picture.pixels, mode, Metadata(exif=block, dpi=zoo.DPI))
    again = written(picture, tmp_path, name)
    comes_back = "RGB" if mode == "CMYK" and mode not in can.modes else mode
    if name in ("webp", "avif"):  # they know no grey with opacity, WebP no grey either
        comes_back = {"LA": "RGBA", **({"L": "RGB"} if name == "webp" else {})}.get(comes_back, comes_back)
    assert (again.mode, again.bits, again.pixels.shape[:2]) == (comes_back, bits, (38, 54))
    if can.quality is None and comes_back == mode:
        assert np.array_equal(again.pixels, picture.pixels)
    elif comes_back == mode:
        assert np.abs(again.pixels.astype(int) - picture.pixels).mean() < 4
    assert again.metadata.icc == picture.metadata.icc
    assert again.metadata.dpi == pytest.approx(zoo.DPI, rel=1e-3)
    after = parse_exif(again.metadata.exif)
    details = after.get_ifd(0x8769)
    assert after[0x010F] == zoo.CAMERA
    assert details[0x829A] == pytest.approx(1 / 60)
    assert (details[0xA002], details[0xA003]) == (54, 38)
    assert after.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("name", ["RGB.png", "RGBA16.png", "I16.png"])
def test_text_of_a_png_stays(tmp_path, name):
    (animal,) = [animal for animal in zoo.ANIMALS if animal.name == name]
    picture = read_picture(zoo.write(animal, tmp_path))
    write_picture(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert image.text == zoo.TEXT


def test_colour_space_of_a_png_without_profile_stays(tmp_path):
    chunks = [(b"gAMA", (45455).to_bytes(4, "big")), (b"sRGB", b"\1")]
    for bits in (8, 16):
        zoo.png(zoo.pixels(3, bits), tmp_path / "in.png", chunks=chunks)
        write_picture(read_picture(tmp_path / "in.png"), tmp_path / "out.png")
        assert read_picture(tmp_path / "out.png").metadata.chunks == tuple(chunks)


def test_the_thumbnail_of_the_old_picture_goes(tmp_path, photo):
    """A JPEG with a thumbnail in EXIF's second directory, as cameras write it."""
    thumbnail = zoo.bytes_of(photo.resize((8, 6)), format="JPEG")
    first = zoo.exif().tobytes()[6:]
    order = "<" if first[:2] == b"II" else ">"
    import struct

    (position,) = struct.unpack_from(order + "I", first, 4)
    (count,) = struct.unpack_from(order + "H", first, position)
    block, end = bytearray(first), len(first) + len(first) % 2
    block += b"\0" * (end - len(first))
    struct.pack_into(order + "I", block, position + 2 + 12 * count, end)
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, end + 2 + 3 * 12 + 4), (0x0202, 4, 1, len(thumbnail))]
    block += struct.pack(order + "H", 3)
    for tag, kind, n, value in entries:
        packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        block += struct.pack(order + "HHI", tag, kind, n) + packed
    block += struct.pack(order + "I", 0) + thumbnail
    photo.save(tmp_path / "in.jpg", exif=b"Exif\0\0" + bytes(block))
    assert thumbnail in (tmp_path / "in.jpg").read_bytes()
    write_picture(read_picture(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    assert b"JFIF" in (tmp_path / "out.jpg").read_bytes()
    assert thumbnail not in (tmp_path / "out.jpg").read_bytes()
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif()[0x010F] == zoo.CAMERA


def test_xmp_stays_but_for_its_orientation(tmp_path, photo):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        b'tiff:Orientation="6" dc:title="kept"/></rdf:RDF></x:xmpmeta>'
    )
    photo.save(tmp_path / "in.jpg", xmp=packet)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.metadata.xmp == packet.replace(b'"6"', b'"1"')
    for name in ("jpg", "webp", "tif", "png", "avif"):
        write_picture(picture, tmp_path / f"out.{name}")
        assert picture.metadata.xmp in (tmp_path / f"out.{name}").read_bytes()


@settings(max_examples=30)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA"]),
    bits=st.sampled_from([8, 16]),
    name=st.sampled_from(["png", "tiff"]),
    seed=st.integers(0, 2**31),
)
def test_lossless_formats_lose_nothing(height, width, mode, bits, name, seed):
    assume(not (mode == "LA" and bits == 16 and name == "tiff"))
    array = np.random.default_rng(seed).integers(0, 2**bits, (height, width, CHANNELS[mode]))
    picture = Picture(array.astype(np.uint8 if bits == 8 else np.uint16), mode)
    again = read_picture(io.BytesIO(encode(picture, name)))
    assert (again.mode, again.pixels.dtype) == (mode, picture.pixels.dtype)
    assert np.array_equal(again.pixels, picture.pixels)


def test_cmyk_becomes_rgb_where_it_must():
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [51, 102, 0, 127]]], dtype=np.uint8)
    plain = convert(Picture(ink, "CMYK"), "png")
    by_hand = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [102, 77, 128]]
    assert np.abs(plain.pixels[0].astype(int) - by_hand).max() <= 1
    assert (plain.mode, plain.metadata.icc) == ("RGB", None)
    assert convert(Picture(ink, "CMYK"), "tiff").mode == "CMYK"


def test_cmyk_becomes_srgb_by_its_profile():
    """Colours of the profile's inks as scikit-image converts their Lab; they are far from those without it."""
    from skimage.color import lab2rgb

    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    by_profile = convert(Picture(ink, "CMYK", Metadata(icc=zoo.INKS, dpi=zoo.DPI)), "png")
    lab = np.array([[[100, 0, 0], [60, -40, -45], [50, 70, 0], [90, -5, 90], [0, 0, 0]]], dtype=float)
    expected = lab2rgb(lab, illuminant="D65") * 255  # Lab is relative to its white, which becomes that of sRGB
    assert np.abs(by_profile.pixels - expected).max() < 12
    assert np.abs(convert(Picture(ink, "CMYK"), "png").pixels - expected).max() > 50
    assert (by_profile.mode, by_profile.metadata.dpi) == ("RGB", zoo.DPI)
    srgb = ImageCms.ImageCmsProfile(io.BytesIO(by_profile.metadata.icc))
    assert "sRGB" in ImageCms.getProfileDescription(srgb)
    with pytest.raises(
        ImageFileError, match="PNG cannot hold CMYK, and the picture's colour profile is damaged or not"
    ):
        convert(Picture(ink, "CMYK", Metadata(icc=zoo.ICC)), "png")


def test_quality_is_passed_on():
    picture = Picture(zoo.pixels(3, height=90, width=80), "RGB")
    for name in ("jpeg", "webp", "avif"):
        assert len(encode(picture, name, 20)) < 0.8 * len(encode(picture, name)) < 0.8 * len(encode(picture, name, 100))


def test_16_bit_colour_without_pyvips_names_the_extra(tmp_path, monkeypatch):
    zoo.png(zoo.pixels(3, 16), tmp_path / "deep.png")
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(ImportError, match=r'^16-bit colour needs pyvips: pip install "cclnn\[io16\]"$'):
        read_picture(tmp_path / "deep.png")
    with pytest.raises(ImportError, match="io16"):
        check_fits(Picture(zoo.pixels(3, 16), "RGB"), "png")
    write_picture(Picture(zoo.pixels(1, 16), "L"), tmp_path / "grey.png")  # Pillow holds 16-bit grey
    assert np.array_equal(read_picture(tmp_path / "grey.png").pixels, zoo.pixels(1, 16))


@pytest.mark.parametrize(
    ("mode", "bits", "name", "message"),
    [
        ("RGBA", 8, "jpeg", "JPEG cannot hold transparency, which the picture has: write PNG, TIFF, WebP or AVIF"),
        ("CMYK", 16, "tiff", "16-bit CMYK cannot be written: convert it to RGB or to 8 bits"),
        ("LA", 16, "tiff", "TIFF with 16-bit grey and transparency cannot be read by Pillow: write PNG"),
        ("RGB", 16, "webp", "WEBP holds 8 bits per channel, the picture has 16: write PNG or TIFF"),
    ],
)
def test_refuses_formats_that_would_lose_something(mode, bits, name, message):
    with pytest.raises(ImageFileError, match=message):
        check_fits(Picture(zoo.pixels(CHANNELS[mode], bits), mode), name)


def test_refuses_formats_that_are_too_small():
    picture = Picture(np.zeros((2, 5462, 3), np.uint8), "RGB")
    check_fits(picture, "webp", scale=2)
    with pytest.raises(ImageFileError, match="WEBP holds 16383 pixels per side, 16386 are needed: write PNG"):
        check_fits(picture, "webp", scale=3)


def test_refuses_targets_before_the_work(tmp_path):
    with pytest.raises(ImageFileError, match="there is no folder"):
        check_target(tmp_path / "absent" / "out.png", overwrite=False)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageFileError, match="it is a folder"):
        check_target(tmp_path / "folder.png", overwrite=True)
    (tmp_path / "old.png").touch()
    with pytest.raises(ImageFileError, match="exists already; --overwrite replaces it"):
        check_target(tmp_path / "old.png", overwrite=False)
    check_target(tmp_path / "old.png", overwrite=True)


def test_png_keeps_pixels_and_profile(tmp_path, photo):
    photo.info["icc_profile"] = zoo.ICC
    write_png(photo, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert (image.format, image.tobytes()) == ("PNG", photo.tobytes())
        assert image.info["icc_profile"] == zoo.ICC


@pytest.mark.parametrize("bits", [8, 16])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, bits):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def fail(*args, **options):
        path = min(tmp_path.glob(".out.png.*"), key=lambda path: len(path.name))
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    monkeypatch.setattr("cclnn.image.png.rewrite", fail)
    with pytest.raises(ImageFileError, match="No space left on device"):
        write_picture(Picture(zoo.pixels(3, bits), "RGB"), target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("name", "bits"), [("png", 8), ("tiff", 8), ("jpeg", 8), ("webp", 8), ("avif", 8), ("png", 16), ("tiff", 16)]
)
def test_a_full_disk_leaves_the_old_file(tmp_path, name, bits):
    """A real one: the process may write no more than 4 KB a file."""
    import resource
    import signal

    target = tmp_path / "out"
    target.write_bytes(b"old")
    noise = np.random.default_rng(0).integers(0, 2**bits, (90, 80, 3)).astype(f"uint{bits}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ImageFileError, match="cannot write"):
            write_picture(Picture(noise, "RGB"), target, format=name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
