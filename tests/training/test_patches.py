"""Pictures -> patches."""

from itertools import chain

import numpy as np
import pytest
import torch
from cclnn_training import patches, pictures
from PIL import Image

from cclnn.ops import imresize


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Patches of two pictures whose pixels tell their place: red is the row, green the column, blue the picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, (height, width) in enumerate([(40, 60), (80, 120)]):
        row, col = np.mgrid[:height, :width]
        Image.fromarray(np.stack([row, col, np.full_like(row, i)], axis=2).astype(np.uint8)).save(folder / f"{i}.png")
    paths = pictures.find([str(folder)])

    def build(lr_from="patch", **options):
        hr = pictures.decode(paths, folder / "cache")
        lr = pictures.decode(paths, folder / "cache", scale=2) if lr_from == "image" else None
        settings = {"side": 8, "scale": 2, "candidates": 1, "seed": 3, **options}
        return patches.Patches(hr, lr, settings.pop("chosen", [0, 1]), **settings)

    return build


def test_a_patch_is_a_turned_cut_of_its_picture(make):
    data, seen = make(), set()
    for k in range(300):
        patch = data[k].hr.astype(int)
        assert patch.shape == (16, 16, 3)
        picture = data.hr[patch[0, 0, 2]]
        row, col = patch[:, :, 0].min(), patch[:, :, 1].min()
        straight = picture[row : row + 16, col : col + 16]
        turns = [np.rot90(straight, k=i) for i in range(4)]
        turns += [turn[:, ::-1] for turn in turns]
        (which,) = [i for i, turn in enumerate(turns) if np.array_equal(turn, patch)]
        seen.add(which)
    assert seen == set(range(8))


def test_every_pixel_has_about_the_same_chance(make):
    """The second picture has four times the pixels of the first."""
    data = make()
    second = np.mean([data[k].hr[0, 0, 2] for k in range(2000)])
    assert abs(second - 0.8) < 3 * (0.8 * 0.2 / 2000) ** 0.5
    assert {int(make(chosen=[0])[k].hr[0, 0, 2]) for k in range(50)} == {0}


def test_edges_are_reached(make):
    corners = [make(chosen=[0])[k].hr for k in range(2000)]
    assert min(patch[:, :, 0].min() for patch in corners) == 0
    assert max(patch[:, :, 0].max() for patch in corners) == 39
    assert max(patch[:, :, 1].max() for patch in corners) == 59


def test_reduced_patches_lie_where_the_others_do(make):
    data = make(lr_from="image")
    assert sum(len({*data[k].hr[:, :, 0].flat}) == 16 for k in range(20)) == 20
    for k in range(40):
        hr, lr = data[k]
        picture = int(hr[0, 0, 2])
        row, col = int(hr[:, :, 0].min()), int(hr[:, :, 1].min())
        assert (row % 2, col % 2) == (0, 0)
        straight = data.lr[picture][row // 2 : row // 2 + 8, col // 2 : col // 2 + 8]
        turns = [np.rot90(straight, k=i) for i in range(4)]
        assert any(np.array_equal(turn, lr) for turn in [*turns, *[turn[:, ::-1] for turn in turns]])
        assert lr[..., 0].mean() == pytest.approx(hr[..., 0].mean(), abs=0.6)


def test_patches_of_shrunk_pictures(make):
    """Between neighbours lie as many pixels of the picture as it was shrunk by: evenly from 1 to 2."""
    data = make(shrink=2)
    several = [data[k] for k in range(300)]
    assert {patch.hr.shape for patch in several} == {(16, 16, 3)}
    spans = np.array([np.ptp(patch.hr[3:-3, 3:-3, 0].astype(float)) / 9 for patch in several])
    assert 0.9 < spans.min() < 1.2 < 1.4 < np.median(spans) < 1.6 < 1.8 < spans.max() < 2.1
    assert np.array_equal(data[7].hr, make(shrink=2)[7].hr)


def test_a_picture_too_small_to_be_shrunk_so_much_is_shrunk_less(make):
    assert {make(shrink=10, chosen=[0])[k].hr.shape for k in range(30)} == {(16, 16, 3)}


def test_the_most_detailed_of_the_candidates(make):
    data = make(candidates=3)
    busy = np.zeros((40, 60, 3), np.uint8)
    busy[:, 30:] = np.random.default_rng(0).integers(0, 256, (40, 30, 3))
    data.hr = type("One", (), {"__getitem__": lambda self, i: busy})()
    flat = np.mean([data[k].hr.std() < 1 for k in range(400)])
    alone = make()
    alone.hr = data.hr
    once = np.mean([alone[k].hr.std() < 1 for k in range(400)])
    assert once > 0.2
    assert flat < 2 * once**3


def test_patch_k_is_the_same_whoever_cuts_it(make):
    numbers = list(patches.sample_numbers(3, 4, batch=8, parts=1, rank=0, ranks=1))
    assert numbers == [list(range(16, 24)), list(range(24, 32))]
    split = [list(patches.sample_numbers(3, 4, batch=8, parts=2, rank=rank, ranks=2)) for rank in (0, 1)]
    assert split == [[[16, 17], [18, 19], [24, 25], [26, 27]], [[20, 21], [22, 23], [28, 29], [30, 31]]]

    data = make()
    whole = list(patches.batches(data, iter(numbers), workers=0))
    parts = [list(patches.batches(data, iter(mine), workers=1)) for mine in split]
    for step in range(2):
        for which in (0, 1):  # LR, HR
            pieces = list(chain(*([part[2 * step], part[2 * step + 1]] for part in parts)))
            assert torch.equal(torch.cat([piece[which] for piece in pieces]), whole[step][which])


@pytest.mark.parametrize("lr_from", ["patch", "image"])
def test_batches(make, lr_from):
    ((lr, hr),) = patches.batches(make(lr_from=lr_from), iter([[0, 1, 2]]), workers=0)
    assert (lr.shape, hr.shape) == ((3, 3, 8, 8), (3, 3, 16, 16))
    assert (lr.dtype, hr.dtype) == (torch.float32, torch.float32)
    reduced = imresize((hr * 255).round().to(torch.uint8), 0.5).float() / 255
    assert torch.equal(lr, reduced) == (lr_from == "patch")
    assert (lr - reduced)[:, :, 2:-2, 2:-2].abs().max() < 1.1 / 255
