"""Animations keep their frames, timing and kind; `cclnn upscale` takes them frame by frame."""

import numpy as np
import pytest
from click.testing import CliRunner
from image import zoo
from PIL import Image, ImageSequence

import cclnn
from cclnn.cli.commands import cli
from cclnn.image import ImageFileError
from cclnn.image.animation import check_animation_fits, read_animation, write_animation
from cclnn.image.formats import animated_suffix

DURATIONS = (40, 120, 300)
KINDS = ("gif", "png", "webp")


def frames(*, clear=False):
    """Three pictures that differ, in colours that a palette holds; with a clear corner."""
    made = []
    for i in range(3):
        array = np.zeros((19, 27, 4), np.uint8)
        array[..., i] = 200
        array[..., 3] = 255
        array[:5, :7, 3] = 0 if clear else 255
        made.append(Image.fromarray(array))
    return made


def animation(path, *, clear=False, **options):
    first, *rest = frames(clear=clear) if clear else [frame.convert("RGB") for frame in frames()]
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    icc = {} if path.suffix == ".gif" else {"icc_profile": zoo.ICC}
    first.save(path, save_all=True, append_images=rest, duration=list(DURATIONS), **lossless, **icc, **options)
    return path


def shown(path):
    """(kind, loop, durations, frames as RGBA) by Pillow."""
    with Image.open(path) as image:
        played = [
            (np.asarray(frame.convert("RGBA")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)
        ]
        return image.format, image.info.get("loop"), [x for _, x in played], [x for x, _ in played]


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_was_read(tmp_path, kind, clear):
    source = animation(tmp_path / f"in.{kind}", clear=clear, loop=3, **({"disposal": 2} if kind == "gif" else {}))
    moving = read_animation(source)
    assert (len(moving.frames), moving.durations, moving.loop) == (3, DURATIONS, 3)
    assert moving.frames[0].mode == ("RGBA" if clear else "RGB")
    write_animation(moving, tmp_path / f"out.{kind}")
    old, new = shown(source), shown(tmp_path / f"out.{kind}")
    assert new[:3] == old[:3]
    for before, after in zip(old[3], new[3], strict=True):
        assert np.array_equal(before[..., 3], after[..., 3])
        assert np.array_equal(before[before[..., 3] > 0], after[after[..., 3] > 0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_keeps_the_kind_and_the_timing(tmp_path, kind):
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(tmp_path / "model")
    source = animation(tmp_path / f"in.{kind}", loop=0)
    arguments = ["upscale", str(source), "--model", str(tmp_path / "model")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    name, loop, durations, pictures = shown(tmp_path / f"in_x2.{kind}")
    assert (name, loop, durations) == ({"gif": "GIF", "png": "PNG", "webp": "WEBP"}[kind], 0, list(DURATIONS))
    assert [picture.shape[:2] for picture in pictures] == [(38, 54)] * 3
    with Image.open(tmp_path / f"in_x2.{kind}") as image:
        assert kind == "gif" or image.info["icc_profile"] == zoo.ICC
    done = CliRunner().invoke(cli, [*arguments, "--format", "jpeg"])
    assert done.exit_code == 1
    assert "it is animated (3 frames), which its own kind of file alone holds" in done.output


def test_a_still_picture_is_no_animation(tmp_path):
    for kind in (*KINDS, "jpg"):
        frames()[0].convert("RGB").save(tmp_path / f"still.{kind}")
        assert animated_suffix(tmp_path / f"still.{kind}") is None
        if kind != "jpg":
            assert animated_suffix(animation(tmp_path / f"in.{kind}")) == f".{kind}"
    assert animated_suffix(tmp_path / "absent.gif") is None
    with pytest.raises(ImageFileError, match="JPEG has no animations"):
        read_animation(tmp_path / "still.jpg")
    with pytest.raises(ImageFileError, match="No such file"):
        read_animation(tmp_path / "absent.gif")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_animation_is_damaged(tmp_path, kind):
    source = animation(tmp_path / f"in.{kind}")
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageFileError, match=r"cannot read .*(is damaged|not an image in a known format)"):
        read_animation(source)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_orientation_is_applied_once(tmp_path, kind):
    block = Image.Exif()
    block[0x0112] = 6
    source = animation(tmp_path / f"in.{kind}", exif=block.tobytes())
    moving = read_animation(source)
    assert moving.frames[1].pixels.shape == (27, 19, 3)
    write_animation(moving, tmp_path / f"out.{kind}")
    with Image.open(tmp_path / f"out.{kind}") as image:
        assert (image.size, image.getexif().get(0x0112, 1)) == ((19, 27), 1)


def test_sides_that_the_kind_does_not_hold_are_refused_before_the_work(tmp_path, monkeypatch):
    source = tmp_path / "in.webp"
    wide = [Image.new("RGB", (8192, 2), (i, 0, 0)) for i in (0, 200)]
    wide[0].save(source, save_all=True, append_images=wide[1:], duration=50, lossless=True)
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(cclnn.Upscaler, "__call__", None)
    done = CliRunner().invoke(cli, ["upscale", str(source), "--model", str(tmp_path / "model")])
    assert done.exit_code == 1
    assert "WEBP holds 16383 pixels per side, 16384 are needed: ask for less." in done.output
    assert check_animation_fits(read_animation(source), scale=1.9) is None
