"""Folders -> decoded pictures."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from cclnn_training import pictures
from PIL import Image

from cclnn.ops import imresize


def write(path, height=20, width=30, mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_pixels_are_those_of_the_files(tmp_path):
    written = [
        write(tmp_path / "in" / name, 20 + i, 30, seed=i) for i, name in enumerate(("a.png", "b.bmp", "sub/c.tif"))
    ]
    grey = write(tmp_path / "in" / "grey.png", 25, 21, mode="L")
    found = pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache")
    assert [Path(name).name for name in found.names] == ["a.png", "b.bmp", "grey.png", "c.tif"]
    for i, expected in zip((0, 1, 3), written, strict=True):
        assert np.array_equal(found[i], expected)
    assert np.array_equal(found[2], np.stack([grey] * 3, axis=2))
    assert not found[0].flags.writeable
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again[1], written[1])
    assert len(pickle.dumps(found)) < 2000


def test_decodes_once_until_a_file_changes(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.png")
    paths = pictures.find([str(tmp_path / "in")])
    first = pictures.decode(paths, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "read_picture", None)
        assert pictures.decode(paths, tmp_path / "cache").folder == first.folder
    changed = write(tmp_path / "in" / "a.png", 22, 31, seed=1)
    assert np.array_equal(pictures.decode(paths, tmp_path / "cache")[0], changed)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_a_failed_decoding_leaves_no_cache(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.png")

    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "read_picture", fail)
    with pytest.raises(KeyboardInterrupt):
        pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


ROOTS = ["DIV2K_train_HR", "Flickr2K_HR", "images/train", "BSDS500/data/images/train"]


@pytest.mark.parametrize("below", ["", "sets"])
@pytest.mark.parametrize("roots", [*([root] for root in ROOTS), ROOTS])
def test_knows_where_sets_keep_their_training_images(tmp_path, roots, below):
    """Alone or together, given their root or a folder above it."""
    for root in roots:
        write(tmp_path / below / root / "0001.png")
    write(tmp_path / below / "DIV2K_valid_HR" / "0801.png")
    write(tmp_path / below / "DIV2K_train_LR_bicubic" / "X2" / "0001x2.png")
    write(tmp_path / below / "BSDS500" / "data" / "images" / "test" / "1.png")
    found = pictures.find([str(tmp_path)])
    assert sorted(found) == sorted(tmp_path / below / root / "0001.png" for root in roots)
    assert pictures.find([str(tmp_path / below / roots[0])]) == [tmp_path / below / roots[0] / "0001.png"]


def test_an_image_of_two_folders_counts_once(tmp_path, monkeypatch):
    for name in ("a", "sub/b"):
        write(tmp_path / "in" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    found = pictures.find(["in/sub", "in", str(tmp_path / "in")])
    assert found == [tmp_path / "in" / "sub" / "b.png", tmp_path / "in" / "a.png"]


def test_full_opacity_and_16_bits_are_taken(tmp_path):
    colour = write(tmp_path / "in" / "a.png")
    Image.fromarray(np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])).save(tmp_path / "in" / "b.png")
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    Image.fromarray(deep).save(tmp_path / "in" / "c.png")
    found = pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache")
    assert np.array_equal(found[1], colour)
    assert np.array_equal(found[2][..., 1], np.round(deep / 257).astype(np.uint8))


def test_what_a_killed_run_left_is_removed(tmp_path):
    write(tmp_path / "in" / "a.png")
    old, fresh = (tmp_path / "cache" / f".{name}.decoding" for name in ("old", "fresh"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache")
    assert not old.exists()
    assert fresh.exists()


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.png")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.tempfile, "mkdtemp", full)
    with pytest.raises(SystemExit, match=r"cannot keep the decoded images in .*No space left on device.*--cache"):
        pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache")


def test_reduced_images_are_imresize_of_the_cropped_image(tmp_path):
    hr = write(tmp_path / "in" / "a.png", 31, 44)
    found = pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache", scale=3)
    tensor = torch.from_numpy(hr[:30, :42].copy()).permute(2, 0, 1)[None]
    assert np.array_equal(found[0], imresize(tensor, 1 / 3)[0].permute(1, 2, 0).numpy())


def test_reduced_images_are_read_where_they_lie_beside(tmp_path):
    write(tmp_path / "DIV2K_train_HR" / "0001.png", 31, 44)
    lr = write(tmp_path / "DIV2K_train_LR_bicubic" / "X2" / "0001x2.png", 15, 22, seed=1)
    write(tmp_path / "DIV2K_train_HR" / "0002.png", 40, 40)
    write(tmp_path / "DIV2K_train_LR_bicubic" / "X2" / "0002x2.png", 20, 19)
    found = pictures.decode(pictures.find([str(tmp_path)]), tmp_path / "cache", scale=2)
    assert len(found) == 1
    assert np.array_equal(found[0], lr)
    assert "0002x2.png has 19 x 20 pixels, not 1/2 of 40 x 40" in found.left_out[0]


def test_names_what_it_leaves_out(tmp_path, capsys):
    write(tmp_path / "in" / "good.png")
    write(tmp_path / "in" / "small.png", 19, 50)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"not a photograph")
    Image.new("RGBA", (30, 30)).save(tmp_path / "in" / "clear.png")
    Image.new("CMYK", (30, 30)).save(tmp_path / "in" / "print.tif")
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nothing")
    for _ in range(2):  # from the cache, too
        found = pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache", least=20)
        assert [Path(name).name for name in found.names] == ["good.png"]
        said = capsys.readouterr().err
        assert "small.png': it has 50 x 19 pixels, 20 are needed" in said
        assert "broken.jpg': it is not an image in a known format" in said
        assert "clear.png': it is transparent in places" in said
        assert "print.tif': it is CMYK" in said
        assert "gone.png': there is no such file" in said
    larger = pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache", least=19)
    assert [Path(name).name for name in larger.names] == ["good.png", "small.png"]
    assert np.array_equal(larger[1], np.asarray(Image.open(tmp_path / "in" / "small.png")))
    assert len(list((tmp_path / "cache").iterdir())) == 1  # whatever the least size


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "there is no such folder"),
        (lambda folder: folder.mkdir(), "no image in it (.bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp)"),
        (lambda folder: write(folder / "a.png", 4, 4), "no usable image of 20 pixels per side or more among 1 files"),
    ],
)
def test_nothing_to_train_on_is_an_error(tmp_path, prepare, message):
    prepare(tmp_path / "in")
    with pytest.raises(SystemExit) as end:
        pictures.decode(pictures.find([str(tmp_path / "in")]), tmp_path / "cache", least=20)
    assert message in str(end.value)
