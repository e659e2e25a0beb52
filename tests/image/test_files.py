"""Real files: what is read, what is refused, and that a failed write leaves what was there."""

import numpy as np
import pytest
from PIL import Image

from cclnn.image.files import ImageFileError, check_target, read_image, write_png


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_reads_lossless_formats_exactly(tmp_path, photo, suffix):
    photo.save(tmp_path / f"photo{suffix}")
    assert read_image(tmp_path / f"photo{suffix}").tobytes() == photo.tobytes()


def test_applies_the_orientation_of_phone_photos(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    photo.save(tmp_path / "photo.png", exif=exif)
    upright = read_image(tmp_path / "photo.png")
    assert upright.tobytes() == photo.transpose(Image.Transpose.ROTATE_270).tobytes()
    assert 0x0112 not in upright.getexif()


def test_png_keeps_pixels_and_profile(tmp_path, photo):
    photo.info["icc_profile"] = b"not a real profile, but bytes to keep"
    write_png(photo, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.format == "PNG"
        assert written.tobytes() == photo.tobytes()
        assert written.info["icc_profile"] == photo.info["icc_profile"]


def test_refuses_what_is_not_a_readable_image(tmp_path, photo):
    with pytest.raises(ImageFileError, match=r"cannot read '.*nothing.png': there is no such file"):
        read_image(tmp_path / "nothing.png")
    text = tmp_path / "text.png"
    text.write_text("not an image")
    with pytest.raises(ImageFileError, match="it is not an image in a known format"):
        read_image(text)
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(ImageFileError, match="it is not an image in a known format"):
        read_image(empty)
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    photo.resize((90, 60)).save(whole)
    cut.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(ImageFileError, match="the file is damaged"):
        read_image(cut)
    animation = tmp_path / "animation.gif"
    photo.save(animation, save_all=True, append_images=[photo.rotate(90)])
    with pytest.raises(ImageFileError, match=r"it is animated \(2 frames\)"):
        read_image(animation)
    photo.convert("RGBA").save(tmp_path / "alpha.png")
    with pytest.raises(ImageFileError, match="its mode is RGBA, supported are RGB and L"):
        read_image(tmp_path / "alpha.png")


def test_refuses_an_image_that_claims_a_monstrous_size(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # of 54 pixels: more than twice the limit is an error
    with pytest.raises(ImageFileError, match="decompression bomb"):
        read_image(tmp_path / "photo.png")


def test_refuses_targets_before_the_work(tmp_path):
    with pytest.raises(ImageFileError, match=r"the name must end in \.png"):
        check_target(tmp_path / "out.jpg", overwrite=False)
    with pytest.raises(ImageFileError, match="there is no folder"):
        check_target(tmp_path / "absent" / "out.png", overwrite=False)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageFileError, match="it is a folder"):
        check_target(tmp_path / "folder.png", overwrite=True)
    (tmp_path / "old.png").touch()
    with pytest.raises(ImageFileError, match="exists already; --overwrite replaces it"):
        check_target(tmp_path / "old.png", overwrite=False)
    check_target(tmp_path / "old.png", overwrite=True)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, photo, monkeypatch):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageFileError, match="No space left on device"):
        write_png(photo, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
