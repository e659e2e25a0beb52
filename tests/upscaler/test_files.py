"""Files in memory: what `cclnn upscale` would have written, and errors that name the file."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import cclnn
from cclnn.cli.commands import cli
from cclnn.image import ImageFileError
from cclnn.upscaler import FileUpscaler


def file(kind="JPEG", size=(24, 20), mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels.squeeze()).convert(mode).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, []),
        ({"scale": 1.5, "format": "webp", "quality": 70}, ["--scale=1.5", "--quality=70"]),
    ],
)
def test_gives_the_bytes_that_the_command_writes(tmp_path, given, options):
    exif = Image.Exif()
    exif[0x010F] = "camera"
    content = file(dpi=(300, 300), exif=exif)
    (tmp_path / "photo.jpg").write_bytes(content)
    result = FileUpscaler(**given)(content)
    out = tmp_path / f"out.{result.format}"
    done = CliRunner().invoke(cli, ["upscale", str(tmp_path / "photo.jpg"), "-o", str(out), *options])
    assert done.exit_code == 0, done.output
    assert result.content == out.read_bytes()
    with Image.open(io.BytesIO(result.content)) as image:
        assert image.size == result.after
        assert image.getexif()[0x010F] == "camera"


def test_tells_what_was_done():
    result = FileUpscaler(width=60, format="same")(file("PNG"))
    assert (result.format, result.before, result.after) == ("png", (24, 20), (60, 50))
    assert result.models == ("cclnn-s-x3",)
    assert result.why == "PNG, lossless: clean weights"
    assert 0 < result.seconds < 600
    text = str(replace(result, seconds=0.44))
    assert text == "24 x 20 to 60 x 50 in 0.4 s. Weights: cclnn-s-x3 (PNG, lossless: clean weights)."
    named = FileUpscaler("cclnn-s-x2")(file("PNG"))
    assert re.fullmatch(r"24 x 20 to 48 x 40 in \d+\.\d s\. Weights: cclnn-s-x2\.", str(named))


def test_the_same_format_is_png_where_it_cannot_be_written():
    upscaler = FileUpscaler(cclnn.create_model("edsr-baseline", channels=8, n_resblocks=1), format="same")
    assert [upscaler(file(kind)).format for kind in ("JPEG", "TIFF", "BMP")] == ["jpeg", "tiff", "png"]
    plain = upscaler(file("PNG", mode="L"))
    assert plain.models == ()
    assert str(plain).endswith(" s.")


def test_progress_is_told():
    calls = []
    FileUpscaler(scale=2)(file(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 1), (1, 1)]


def test_errors_name_the_file_and_the_option(rejects):
    with pytest.raises(ImageFileError, match=r"'a\.jpg'"):
        FileUpscaler()(b"no image", name="'a.jpg'")
    with pytest.raises(ImageFileError, match="JPEG cannot hold transparency"):
        FileUpscaler(format="jpeg")(file("PNG", mode="RGBA"))
    with rejects("`format` must be one of"):
        FileUpscaler(format="gif")
    with rejects("`quality` must lie between 1 and 100, got 0"):
        FileUpscaler(quality=0)
    with rejects("at most one of scale, width"):
        FileUpscaler(scale=2, width=10)
    with rejects("is 0.4.* times an image of"):
        FileUpscaler(width=10)(file())


def test_what_strangers_send_is_limited():
    upscaler = FileUpscaler(max_input=480, max_output=1920)
    assert upscaler(file(size=(24, 20))).after == (48, 40)
    with pytest.raises(ImageFileError, match=r"cannot read the image: it has 37 x 13 pixels; at most 0\.00048 megapix"):
        upscaler(file(size=(37, 13)))
    larger = FileUpscaler(scale=2.1, max_input=480, max_output=1920)
    with pytest.raises(ImageFileError, match=r"2\.1 times 'a', of 24 x 20 pixels, is too large: at most 0\.00192 mega"):
        larger(file(size=(24, 20)), name="'a'")
    assert FileUpscaler(megapixels=0.00192, max_output=1920)(file(size=(24, 20))).after == (48, 40)
