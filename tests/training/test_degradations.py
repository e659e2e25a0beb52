"""What LR patches go through: reproducible, in the shares that were asked for, and as strong as they say."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from cclnn_training import degradations, patches, pictures
from cclnn_training.settings import parse
from PIL import Image

from cclnn.ops import imresize

PHOTO = degradations.read("photo")
GREY = np.full((64, 64, 3), 128, np.uint8)


def noise(seed=0, shape=(48, 48, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def psnr(a, b):
    return -10 * np.log10(np.mean((a.astype(float) - b) ** 2) / 255**2)


def test_the_same_generator_gives_the_same_bytes():
    one, two, other = (PHOTO(noise(), 2, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.shape == (24, 24, 3)


def test_a_share_is_clean():
    clean = imresize(torch.from_numpy(noise()).permute(2, 0, 1)[None], 0.5)[0].permute(1, 2, 0).numpy()
    made = [PHOTO(noise(), 2, np.random.default_rng(seed)) for seed in range(300)]
    share = np.mean([np.array_equal(lr, clean) for lr in made])
    assert abs(share - 0.3) < 3 * (0.3 * 0.7 / 300) ** 0.5
    assert np.array_equal(replace(PHOTO, clean=1.0)(noise(), 2, np.random.default_rng(0)), clean)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos", "area", "blur"])
def test_kernels_keep_the_mean_and_differ(kernel):
    ramp = np.broadcast_to(np.linspace(40, 200, 96)[:, None, None], (96, 64, 3)).astype(np.uint8)
    assert abs(degradations.resample(ramp, 2, kernel, 0.4).mean() - ramp.mean()) < 1
    results = [degradations.resample(noise(), 2, other, 0.4) for other in degradations.RESAMPLING]
    assert len({result.tobytes() for result in results}) == 4


def test_area_is_the_mean_of_blocks():
    """Rounded to whole levels, half up, after each of Pillow's two passes."""
    hr = noise().astype(int)
    rows = (hr[:, ::2] + hr[:, 1::2] + 1) // 2
    assert np.array_equal(degradations.resample(noise(), 2, "area", 0.4), (rows[::2] + rows[1::2] + 1) // 2)


@pytest.mark.parametrize("poisson", [0.0, 1.0])
@pytest.mark.parametrize("level", [64, 128, 192])
def test_noise_is_as_strong_as_it_says(poisson, level):
    flat = np.full((200, 200, 3), level, np.uint8)
    noisy = degradations.add_noise(flat, 5.0, poisson, np.random.default_rng(0)).astype(float) - level
    variance = 25 * (1 - poisson + poisson * level / 127.5) + 1 / 12  # rounding adds a twelfth
    assert noisy.var() == pytest.approx(variance, rel=0.02)
    assert abs(noisy.mean()) < 0.1


@pytest.mark.parametrize(("kind", "subsampling"), [("JPEG", 0), ("JPEG", 2), ("WEBP", 0)])
def test_compression_is_pillows(kind, subsampling):
    image = np.asarray(Image.fromarray(noise(1, (6, 6, 3))).resize((48, 48), Image.Resampling.BICUBIC))
    strong, weak = (degradations.compress(image, q, format=kind, subsampling=subsampling) for q in (30, 95))
    assert psnr(strong, image) < psnr(weak, image)
    file = BytesIO()
    Image.fromarray(image).save(file, kind, quality=95, **({"subsampling": subsampling} if kind == "JPEG" else {}))
    assert np.array_equal(weak, np.asarray(Image.open(file).convert("RGB")))


def test_blockiness_finds_the_grid_where_it_lies():
    photo = np.asarray(Image.fromarray(noise(2, (11, 11, 3))).resize((96, 96), Image.Resampling.BICUBIC))
    compressed = degradations.compress(photo, 5, format="JPEG", subsampling=0)
    assert degradations.blockiness(compressed, 0, 0) > 1.5
    assert degradations.blockiness(compressed[3:, 5:], 3, 5) > 1.5
    assert degradations.blockiness(compressed[3:, 5:], 0, 0) < 1.3
    assert degradations.blockiness(photo, 0, 0) < 1.3


@pytest.fixture
def make(tmp_path):
    half = np.concatenate([noise(3, (80, 60, 3)), np.full((80, 60, 3), 90, np.uint8)], axis=1)
    for i in range(2):
        Image.fromarray(half).save(tmp_path / f"{i}.png")
    hr = pictures.decode(pictures.find([str(tmp_path)]), tmp_path / "cache")

    def build(**options):
        return patches.Patches(hr, None, [0, 1], side=8, scale=2, candidates=1, seed=3, **options)

    return build


def test_patches_are_degraded_from_seed_and_number_alone(make):
    plain, data = make(), make(degradation=PHOTO)
    for k in (9, 2, 9):
        assert np.array_equal(data[k].hr, plain[k].hr)  # the same places as without
        assert np.array_equal(data[k].lr, make(degradation=PHOTO)[k].lr)
    ((lr, _),) = patches.batches(data, iter([[0, 1, 2]]), workers=1)
    assert torch.equal(lr[1], torch.from_numpy(data[1].lr.copy()).permute(2, 0, 1) / 255)


def test_flat_patches_are_drawn_again(make):
    flat = np.mean([make()[k].hr.std() < 1 for k in range(200)])
    assert flat > 0.3
    assert np.mean([make(reject=True)[k].hr.std() < 1 for k in range(200)]) < 0.02


def test_reduced_images_cannot_be_degraded(capsys):
    with pytest.raises(SystemExit):
        parse(["--data", "x", "--out", "y", "--degrade", "photo", "--lr-from", "image"])
    assert "--degrade reduces the HR patch: it takes --lr-from patch" in capsys.readouterr().err
