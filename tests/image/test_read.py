"""Reading image files: pixels, depth, orientation and metadata arrive, and a bad file is refused in one line."""

import io
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image import zoo
from PIL import Image

from cclnn.image import ImageFileError, Metadata, Picture, encode, preview, read_image, read_picture
from cclnn.image.formats import CHANNELS, ImageFileWarning
from cclnn.image.metadata import parse_exif

by_name = pytest.mark.parametrize("animal", zoo.ANIMALS, ids=lambda animal: animal.name)
deep = pytest.importorskip("pyvips", reason='16-bit colour needs the extra "io16"')


TURNED = ("RGB.png", "L.jpg", "RGBA.tif", "RGB.webp", "RGBA.avif", "RGB16.png", "RGB16.tif")  # each way of reading


def expected_pixels(animal, path):
    """What the file was made of, or what Pillow decodes where it is lossy or has a palette."""
    if animal.bits == 16:
        return zoo.pixels(CHANNELS[animal.mode], 16)
    with Image.open(path) as image:
        return np.asarray(image.convert(animal.mode)).reshape(zoo.HEIGHT, zoo.WIDTH, -1)


@by_name
def test_reads_pixels_depth_and_metadata(tmp_path, animal):
    path = zoo.write(animal, tmp_path)
    picture = read_picture(path)
    assert (picture.mode, picture.bits, picture.width, picture.height) == (animal.mode, animal.bits, 27, 19)
    assert np.array_equal(picture.pixels, expected_pixels(animal, path))
    metadata = picture.metadata
    assert metadata.icc == (zoo.INKS if animal.mode == "CMYK" else zoo.ICC)
    assert parse_exif(metadata.exif)[0x010F] == zoo.CAMERA
    assert not animal.dpi or metadata.dpi == pytest.approx(zoo.DPI, rel=1e-3)
    text = b"".join(content for _, content in metadata.chunks).decode()
    assert not animal.text or all(key in text and value in text for key, value in zoo.TEXT.items())


@pytest.mark.parametrize("animal", [x for x in zoo.ANIMALS if x.name in TURNED], ids=lambda animal: animal.name)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_applied_and_reset(tmp_path, animal, orientation):
    straight = read_picture(zoo.write(animal, tmp_path)).pixels
    picture = read_picture(zoo.write(animal, tmp_path, orientation=orientation))
    turned = {  # as the EXIF standard draws them, independently of ours: Pillow's transpositions
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    for channel in range(straight.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(straight[..., channel]))
        assert np.array_equal(picture.pixels[..., channel], np.asarray(plane.transpose(turned)))
    assert 0x0112 not in parse_exif(picture.metadata.exif)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_reads_lossless_formats_exactly(tmp_path, photo, suffix):
    photo.save(tmp_path / f"photo{suffix}")
    assert read_image(tmp_path / f"photo{suffix}").tobytes() == photo.tobytes()


def test_read_image_gives_what_pillow_knows(tmp_path):
    (animal,) = [animal for animal in zoo.ANIMALS if animal.name == "RGB.jpg"]
    image = read_image(zoo.write(animal, tmp_path, orientation=6))
    assert (image.mode, image.size, image.info["icc_profile"]) == ("RGB", (19, 27), zoo.ICC)
    assert 0x0112 not in image.getexif()
    zoo.png(zoo.pixels(3, 16), tmp_path / "deep.png")
    with pytest.raises(ImageFileError, match="a PIL image cannot hold 16-bit RGB"):
        read_image(tmp_path / "deep.png")


def test_transparent_colours_become_opacity(tmp_path):
    """tRNS: one colour of an RGB or grey PNG that is transparent; in 8 and in 16 bits."""
    for bits in (8, 16):
        for channels, mode in ((1, "LA"), (3, "RGBA")):
            array = zoo.pixels(channels, bits)
            key = array[3, 4].astype(">u2").tobytes()
            zoo.png(array, tmp_path / "in.png", chunks=[(b"tRNS", key)])
            picture = read_picture(tmp_path / "in.png")
            assert (picture.mode, picture.bits) == (mode, bits)
            assert np.array_equal(picture.pixels[..., :channels], array)
            hidden = (array == array[3, 4]).all(axis=2)
            assert np.array_equal(picture.pixels[..., -1] == 0, hidden)


def test_an_mpo_gives_its_first_picture(tmp_path, photo):
    photo.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[photo.rotate(180)], quality=97)
    picture = read_picture(tmp_path / "phone.jpg")
    assert np.abs(picture.pixels.astype(int) - np.asarray(photo)).mean() < 3


def refused(match, source, **options):
    with pytest.raises(ImageFileError, match=match) as caught:
        read_picture(source, **options)
    assert "\n" not in str(caught.value)


def test_refuses_what_is_not_a_readable_image(tmp_path, photo):
    refused(r"cannot read '.*nothing.png': there is no such file", tmp_path / "nothing.png")
    refused(r"cannot read '.*': it is a folder", tmp_path)
    (tmp_path / "text.png").write_text("not an image")
    refused("it is not an image in a known format", tmp_path / "text.png")
    (tmp_path / "empty.jpg").touch()
    refused("cannot read '.*empty.jpg': it is empty", tmp_path / "empty.jpg")
    refused("cannot read the standard input: it is empty", io.BytesIO(), name="the standard input")
    photo.save(tmp_path / "really.bmp", format="PNG")
    with pytest.warns(ImageFileWarning, match=r"its name ends in \.bmp, but it is PNG, and is read as that"):
        assert np.array_equal(read_picture(tmp_path / "really.bmp").pixels, np.asarray(photo))
    photo.save(tmp_path / "animation.gif", save_all=True, append_images=[photo.rotate(90)])
    refused(r"it is animated \(2 frames\), which its own kind of file alone holds", tmp_path / "animation.gif")
    photo.save(tmp_path / "pages.tif", save_all=True, append_images=[photo])
    refused("it has 2 pages: choose with --page N or --page all", tmp_path / "pages.tif")
    for name in ("animation.webp", "animation.png", "animation.avif"):
        photo.save(tmp_path / name, save_all=True, append_images=[photo.rotate(90)], duration=100)
        refused(r"it is animated \(2 frames\)", tmp_path / name)


@by_name
def test_truncated_files_are_damaged(tmp_path, animal):
    path = zoo.write(animal, tmp_path)
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.8):
        path.write_bytes(content[: int(len(content) * share)])
        refused("cannot read '.*': (the file is damaged|it is not an image in a known format)", path)


@pytest.mark.filterwarnings("ignore:.*not carried over:cclnn.image.formats.MetadataWarning")
@settings(max_examples=60)
@given(data=st.data())
def test_damaged_bytes_never_escape_as_another_error(data):
    array = zoo.pixels(3, 16) if data.draw(st.booleans()) else zoo.pixels(2)
    name = data.draw(st.sampled_from(["png", "tiff"]))
    content = bytearray(encode(Picture(array, "RGB" if array.shape[2] == 3 else "LA", Metadata(dpi=zoo.DPI)), name))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageFileError):
        assert read_picture(io.BytesIO(content), name="x").pixels.ndim == 3


def test_refuses_depths_that_would_be_reduced(tmp_path, photo):
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / "float.tif")
    refused("it holds 32-bit floating-point numbers; 8 and 16 bits are supported", tmp_path / "float.tif")
    Image.fromarray(np.zeros((4, 5), np.int32)).save(tmp_path / "int.tif")
    refused("it holds 32-bit signed integers", tmp_path / "int.tif")
    image = deep.Image.new_from_memory(zoo.pixels(3, 16), zoo.WIDTH, zoo.HEIGHT, 3, "ushort")
    image.copy(interpretation="rgb16").heifsave(str(tmp_path / "ten.avif"), compression="av1", bitdepth=10)
    refused("it holds 10 bits per channel, which would be reduced to 8", tmp_path / "ten.avif")


def test_without_pillow_the_extra_is_named(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "photo.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'image files need Pillow: pip install "cclnn\[cli\]"'):
        read_picture(tmp_path / "photo.png")


def test_refuses_an_image_that_claims_a_monstrous_size(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # of 513 pixels: more than twice the limit is an error
    refused("it has more than 0 megapixels, which may be an attack", tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # less than twice is not, nor a warning
    assert read_picture(tmp_path / "photo.png").width == zoo.WIDTH


@pytest.mark.parametrize("suffix", [".dng", ".nef"])
def test_a_camera_s_raw_file_is_not_taken_for_the_thumbnail_in_it(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(zoo.pixels(3)).save(path, format="TIFF")
    with pytest.raises(ImageFileError, match="it is a camera's raw format, which is not supported: convert it to PNG"):
        read_picture(path)


@by_name
def test_pictures_beyond_a_limit_are_refused_and_others_previewed(tmp_path, animal, monkeypatch):
    """27 x 19 pixels are 513."""
    path = zoo.write(animal, tmp_path)
    image = preview(path, max_pixels=513)
    assert (image.mode, image.size) == ("RGB", (27, 19))
    picture = read_picture(path)
    seen = picture.pixels if picture.bits == 8 else (picture.pixels // 256).astype(np.uint8)
    if picture.mode in ("RGB", "RGBA"):
        assert np.array_equal(np.asarray(image), seen[..., :3])
    monkeypatch.setattr("cclnn.image.read._pixels", None)  # nothing is decoded
    with pytest.raises(ImageFileError, match=r"cannot read the upload: it has 27 x 19 pixels; at most 0\.000512 meg"):
        preview(path, name="the upload", max_pixels=512)
