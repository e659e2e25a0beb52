"""Folders as people have them become pairs; a folder that does not fit is an error that says why."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from cclnn.evaluation import find_dataset
from cclnn.ops import imresize


def write(path, rows=13, columns=19, mode="RGB", seed=0):
    """A random image of this size at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (rows, columns) if mode == "L" else (rows, columns, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


# layout: HR file, LR file (below the folder), folder given, what the dataset is called, its LR source
LAYOUTS = {
    "edsr": ("HR/{}.png", "LR_bicubic/X2/{}x2.png", "", "Set5", "LR_bicubic/X2"),
    "plain pair": ("HR/{}.png", "LR_x2/{}.png", "", "Set5", "LR_x2"),
    "basicsr": ("GTmod12/{}.png", "LRbicx2/{}.png", "", "Set5", "LRbicx2"),
    "selfexsr": ("image_SRF_2/{}_SRF_2_HR.png", "image_SRF_2/{}_SRF_2_LR.png", "", "Set5", "image_SRF_2"),
    "selfexsr itself": (
        *("image_SRF_2/{}_SRF_2_HR.png", "image_SRF_2/{}_SRF_2_LR.png"),
        *("image_SRF_2", "Set5", "image_SRF_2"),
    ),
    "div2k": ("DIV2K_valid_HR/{}.png", "DIV2K_valid_LR_bicubic/X2/{}x2.png", "", "Set5", "DIV2K_valid_LR_bicubic/X2"),
    "hr folder": ("HR/{}.png", None, "", "Set5", "imresize"),
    "hr folder itself": ("HR/{}.png", None, "HR", "Set5", "imresize"),
    "hr of another scale": ("HR/{}.png", "LR_bicubic/X3/{}x3.png", "", "Set5", "imresize"),
    "images": ("{}.png", None, "", "Set5", "imresize"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found(tmp_path, layout):
    hr, lr, given, name, source = LAYOUTS[layout]
    root = tmp_path / "Set5"
    for i, image in enumerate(["woman", "img_001"]):
        write(root / hr.format(image), 12, 18, seed=i)
        if lr:
            scale = 3 if "3" in lr else 2
            write(root / lr.format(image), 12 // scale, 18 // scale, seed=10 + i)
    dataset = find_dataset(root / given, scale=2)
    assert (dataset.name, dataset.scale, dataset.lr_source) == (name, 2, source)
    assert [pair.name for pair in dataset.pairs] == ["img_001", "woman"]
    small, large = dataset.pairs[1].load(2)
    assert_close(large, torch.from_numpy(np.array(Image.open(root / hr.format("woman")))).permute(2, 0, 1)[None] / 255)
    if source == "imresize":
        assert_close(small, imresize((large * 255).byte(), 1 / 2) / 255)
    else:
        expected = torch.from_numpy(np.array(Image.open(root / lr.format("woman")))).permute(2, 0, 1)[None] / 255
        assert_close(small, expected)


def test_hr_is_cropped_to_a_multiple_before_it_is_reduced(tmp_path):
    write(tmp_path / "a.png", 13, 19)
    small, large = find_dataset(tmp_path, scale=4).pairs[0].load(4)
    assert large.shape == (1, 3, 12, 16)
    assert small.shape == (1, 3, 3, 4)
    whole = torch.from_numpy(np.array(Image.open(tmp_path / "a.png"))).permute(2, 0, 1)[None]
    assert_close(small, imresize(whole[..., :12, :16], 1 / 4) / 255)


def test_hr_beside_lr_files_is_cropped_to_them(tmp_path):
    write(tmp_path / "HR/a.png", 13, 19)
    write(tmp_path / "LR_x2/a.png", 6, 9)
    small, large = find_dataset(tmp_path, scale=2).pairs[0].load(2)
    assert (small.shape, large.shape) == ((1, 3, 6, 9), (1, 3, 12, 18))


def test_grey_images_are_three_equal_channels(tmp_path):
    write(tmp_path / "a.png", mode="L")
    small, large = find_dataset(tmp_path, scale=2).pairs[0].load(2)
    for image in (small, large):
        assert image.shape[1] == 3
        assert torch.equal(image[:, :1].expand_as(image), image)


def test_only_images_are_taken(tmp_path):
    write(tmp_path / "b.bmp")
    write(tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("notes")
    write(tmp_path / ".hidden.png")
    assert [pair.name for pair in find_dataset(tmp_path, scale=2).pairs] == ["a", "b"]


def test_a_fingerprint_is_that_of_the_bytes(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.png", seed=name == "c")
    one, same, other = (pair.fingerprint() for pair in find_dataset(tmp_path, scale=2).pairs)
    assert one == same != other
    write(tmp_path / "HR/a.png")
    write(tmp_path / "LR_x2/a.png")
    assert find_dataset(tmp_path, scale=2).pairs[0].fingerprint() != one


def test_folders_that_do_not_fit(tmp_path, rejects):
    with rejects("no folder '.*absent'", FileNotFoundError):
        find_dataset(tmp_path / "absent", scale=2)
    with rejects("holds no images, nor do HR, GTmod12 or image_SRF_2 below it"):
        find_dataset(tmp_path, scale=2)
    with rejects("`scale` must be at least 2, got 1"):
        find_dataset(tmp_path, scale=1)
    write(tmp_path / "HR/a.png", 12, 18)
    write(tmp_path / "HR/b.png", 12, 18)
    (tmp_path / "LR_x2").mkdir()
    with rejects(r"'.*LR_x2' has nothing for a.png, b.png \(2 of 2 images\)"):
        find_dataset(tmp_path, scale=2)
    write(tmp_path / "LR_x2/a.png", 6, 9)
    with rejects(r"'.*LR_x2' has nothing for b.png \(1 of 2 images\)"):
        find_dataset(tmp_path, scale=2)
    for name in ("b", "c"):
        write(tmp_path / f"LR_x2/{name}.png", 5, 9)
    with rejects(r"'.*HR' has nothing for c.png \(1 of 3 images\)"):
        find_dataset(tmp_path, scale=2)
    (tmp_path / "LR_x2/c.png").unlink()
    with rejects(r"b.png must have 6 x 9 pixels to be x2 of .*HR.b.png, got 5 x 9"):
        find_dataset(tmp_path, scale=2).pairs[1].load(2)
    write(tmp_path / "HR/b.bmp")
    with rejects("'.*HR' holds b.bmp and b.png: one name, two images"):
        find_dataset(tmp_path, scale=2)


def test_images_that_do_not_fit(tmp_path, rejects):
    write(tmp_path / "tiny/a.png", 3, 9)
    with rejects("a.png has 3 x 9 pixels, fewer than the scale x4"):
        find_dataset(tmp_path / "tiny", scale=4).pairs[0].load(4)
    (tmp_path / "alpha").mkdir()
    Image.new("RGBA", (9, 9)).save(tmp_path / "alpha/a.png")
    with rejects(r"cannot measure with '.*a.png': its mode is RGBA"):
        find_dataset(tmp_path / "alpha", scale=2).pairs[0].load(2)
