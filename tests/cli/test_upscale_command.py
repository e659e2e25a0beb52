"""`cclnn upscale` as people call it: the installed command, on files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import cclnn
from cclnn.cli.commands import cli

CHELSEA = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"


@pytest.fixture
def photo(tmp_path):
    """A corner of a real photograph, as a JPEG."""
    path = tmp_path / "photo.jpg"
    with Image.open(CHELSEA) as image:
        image.crop((100, 60, 163, 101)).save(path, quality=95)
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["upscale", *map(str, arguments)])


def test_the_installed_command_writes_a_png_and_says_so(photo):
    done = subprocess.run(
        [Path(sys.executable).with_name("cclnn"), "upscale", photo], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    target = photo.with_name("photo_x2.png")
    assert re.fullmatch(
        rf"wrote {re.escape(str(target))}: 126 x 82 pixels, 0\.\d\d MB, from 63 x 41 in \d+\.\d s\n", done.stdout
    )
    with Image.open(target) as result:
        assert (result.format, result.mode, result.size) == ("PNG", "RGB", (126, 82))


def test_writes_what_python_computes_every_time(photo, tmp_path):
    with Image.open(photo) as image:
        expected = np.asarray(cclnn.upscale(image.convert("RGB")))
    for name in ("a.png", "b.png"):
        done = run(photo, "-o", tmp_path / name, "--quiet")
        assert done.exit_code == 0, done.output
        with Image.open(tmp_path / name) as result:
            assert np.array_equal(np.asarray(result), expected)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_grey_stays_grey(photo, tmp_path):
    with Image.open(photo) as image:
        image.convert("L").save(tmp_path / "grey.png")
    assert run(tmp_path / "grey.png", "--tile", 40).exit_code == 0
    with Image.open(tmp_path / "grey_x2.png") as result:
        assert (result.mode, result.size) == ("L", (126, 82))


def test_takes_a_model_from_a_folder(photo, tmp_path):
    cclnn.EDSR(3, channels=8, n_resblocks=1).save_pretrained(tmp_path / "mine")
    assert run(photo, "--model", tmp_path / "mine").exit_code == 0
    with Image.open(tmp_path / "photo_x3.png") as result:
        assert result.size == (189, 123)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "Error: cannot read 'absent.jpg': there is no such file."),
        (["broken.jpg"], "Error: cannot read 'broken.jpg': it is not an image in a known format."),
        (["alpha.png"], "Error: cannot use 'alpha.png': its mode is RGBA, supported are RGB and L"),
        (
            ["photo.jpg", "-o", "no/out.png"],
            "Error: cannot write 'no/out.png': there is no folder 'no'.",
        ),
        (["photo.jpg", "-o", "out.jpg"], "Error: cannot write 'out.jpg': the name must end in .png."),
        (["photo.jpg", "-o", "old.png"], "Error: 'old.png' exists already; --overwrite replaces it."),
        (["photo.jpg", "--model", "cclnn-t-x3x"], "Error: `source`='cclnn-t-x3x' is neither a published name"),
        (["photo.jpg", "--device", "abacus"], "Error: "),
    ],
    ids=["absent", "broken", "alpha", "folder", "suffix", "exists", "model", "device"],
)
def test_mistakes_are_one_line_and_write_nothing(photo, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("broken.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    Image.new("RGBA", (4, 4)).save("alpha.png")
    Path("old.png").write_bytes(b"old")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.output.startswith(message)
    assert done.output.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert Path("old.png").read_bytes() == b"old"


def test_overwrites_when_told_to(photo, tmp_path):
    (tmp_path / "old.png").write_bytes(b"old")
    assert run(photo, "-o", tmp_path / "old.png", "--overwrite").exit_code == 0
    with Image.open(tmp_path / "old.png") as result:
        assert result.size == (126, 82)


def test_help_does_not_import_torch():
    code = "import sys; from cclnn.cli.commands import cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
