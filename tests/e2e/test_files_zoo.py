"""The command on one file of every mode and format: depth, mode, size and metadata arrive in the results."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from forked import Program
from image import zoo

import cclnn
from cclnn.image import read_picture
from cclnn.image.metadata import parse_exif
from cclnn.upscaler import Upscaler

CCLNN = Path(sys.executable).with_name("cclnn")
pytest.importorskip("pyvips", reason='16-bit colour needs the extra "io16"')


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def cage(tmp_path_factory):
    """Every file in a folder of its own, so that no two results share a name; each is turned by its orientation."""
    folder = tmp_path_factory.mktemp("zoo")
    for animal in zoo.ANIMALS:
        (folder / animal.name).mkdir()
        zoo.write(animal, folder / animal.name, orientation=8)
    return folder


def run(cage, model, printed, out, *arguments):
    command = [CCLNN, "upscale", cage, "-o", out, "--recursive", "--model", model, "--precision", "fp32", "--json"]
    done = Program([str(part) for part in [*command, *arguments]], printed).wait()
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done, {Path(row["source"]).parent.name: row for row in rows}


@pytest.fixture(scope="module")
def same(cage, model, tmp_path_factory):
    printed, out = (tmp_path_factory.mktemp(name) for name in ("printed", "same"))
    return run(cage, model, printed, out, "--format", "same")


@pytest.fixture(scope="module")
def as_png(cage, model, tmp_path_factory):
    return run(cage, model, *(tmp_path_factory.mktemp(name) for name in ("printed", "png")))


def check(animal, cage, row, mode, icc):
    source, result = read_picture(cage / animal.name / animal.name), read_picture(row["target"])
    assert row["status"] == "done"
    assert (result.mode, result.bits) == (mode, animal.bits)
    assert (result.width, result.height) == (2 * zoo.HEIGHT, 2 * zoo.WIDTH) == (row["width"], row["height"])
    assert (source.width, source.height) == (zoo.HEIGHT, zoo.WIDTH)
    assert result.metadata.icc == icc
    if animal.dpi:
        assert result.metadata.dpi == pytest.approx(zoo.DPI, rel=1e-3)
    exif = parse_exif(result.metadata.exif)
    assert exif[0x010F] == zoo.CAMERA
    assert 0x0112 not in exif
    details = exif.get_ifd(0x8769)
    if 0x829A in parse_exif(source.metadata.exif).get_ifd(0x8769):
        assert details[0x829A] == pytest.approx(1 / 60)
        assert (details[0xA002], details[0xA003]) == (2 * zoo.HEIGHT, 2 * zoo.WIDTH)
    return source, result


@pytest.mark.parametrize("animal", zoo.ANIMALS, ids=lambda animal: animal.name)
def test_in_its_own_format(animal, cage, model, same):
    done, rows = same
    assert done.returncode == 0, done.stderr
    mode = animal.mode
    icc = zoo.INKS if mode == "CMYK" else zoo.ICC
    source, result = check(animal, cage, rows[animal.name], mode, icc)
    if animal.lossless:
        expected = Upscaler(model, precision="fp32")(source)
        assert np.array_equal(result.pixels, expected.pixels)
    if animal.text:
        assert sorted(result.metadata.chunks) == sorted(source.metadata.chunks)


@pytest.mark.parametrize("animal", zoo.ANIMALS, ids=lambda animal: animal.name)
def test_as_png(animal, cage, as_png):
    done, rows = as_png
    assert done.returncode == 0, done.stderr
    if animal.mode == "CMYK":
        result = read_picture(rows[animal.name]["target"])
        assert (result.mode, result.width, result.height) == ("RGB", 2 * zoo.HEIGHT, 2 * zoo.WIDTH)
        assert result.metadata.icc not in (None, zoo.INKS)
    else:
        check(animal, cage, rows[animal.name], animal.mode, zoo.ICC)
