"""The degradation model: released tensors, kernels as formulas, scikit-image's Gaussian, the random draw."""

import math

import pytest
import torch
from golden.reader import cases, read
from torch.testing import assert_close

from cclnn.ops import Degradation, blur, degrade, draw_degradation, gaussian_kernels, imresize


def one(first, second=None, degrees=0.0, noise=0.0, count=2):
    """The same degradation for `count` images, in float32."""
    sigma = torch.tensor([[first, first if second is None else second]]).expand(count, 2)
    angle = torch.full((count,), degrees * math.pi / 180)
    return Degradation(sigma=sigma, angle=angle, noise=torch.full((count,), noise))


@cases("dasr_degrade")
def test_golden_kernels_blur_reduction_and_noise(name):
    case = read(name)
    p = case.params
    hr = case["input.hr"][0]
    round_, elliptic = one(p["sig"]), one(p["lambda_1"], p["lambda_2"], p["theta"])
    size, scale, quiet = p["kernel_size"], p["scale"], torch.zeros(2, 3, 12, 15)
    for kind, degradation in (("iso", round_), ("aniso", elliptic)):
        kernels = degradation.kernels(size)
        assert_close(kernels[:1], case[f"output.kernel_{kind}"], rtol=0, atol=1e-7)
        blurred = blur(hr, kernels)
        assert_close(blurred, case[f"output.blur_{kind}"][0], rtol=0, atol=255e-6)
        small = imresize(blurred, size=(12, 15))
        assert_close(small, case[f"output.lr_{kind}_unrounded"][0], rtol=0, atol=255e-6)
        lr = degrade(hr, degradation, scale=scale, size=size, normal=quiet, rgb_range=255)
        assert torch.equal(lr, case[f"output.lr_{kind}"][0])
    noisy = one(p["lambda_1"], p["lambda_2"], p["theta"], p["noise"])
    lr = degrade(hr, noisy, scale=scale, size=size, normal=case["input.normal"], rgb_range=255)
    assert torch.equal(lr, case["output.lr_aniso_noise"][0])
    assert_close(imresize(hr, size=(12, 15)), case["output.lr_bicubic_unrounded"][0], rtol=0, atol=255e-6)
    lr = degrade(hr, one(0.0), scale=scale, size=size, normal=quiet, rgb_range=255)
    assert torch.equal(lr, case["output.lr_bicubic"][0])


@cases("dasr_degrade")
def test_golden_random_draw(name):
    case = read(name)
    uniform = torch.stack([case[f"input.uniform.{i}"].flatten() for i in range(4)])
    drawn = draw_degradation(1, uniform=uniform, noise=(0, case.params["noise"]))
    assert_close(drawn.kernels(21), case["output.kernel_random"], rtol=0, atol=1e-7)
    both = Degradation(*(x.expand(2, *x.shape[1:]) for x in (drawn.sigma, drawn.angle, drawn.noise)))
    lr = degrade(case["input.hr"][0], both, scale=2, normal=case["input.normal"], rgb_range=255)
    assert torch.equal(lr, case["output.lr_random"][0])


def test_sigma_are_standard_deviations():
    """The second moments of the kernel along its axes, in the limit of fine sampling."""
    kernels = gaussian_kernels(torch.tensor([[3.0, 1.5]], dtype=torch.float64), torch.zeros(1), size=41)[0]
    steps = torch.arange(-20, 21, dtype=torch.float64)
    assert_close((kernels.sum(dim=0) * steps**2).sum().sqrt().item(), 3.0, rtol=1e-6, atol=0)
    assert_close((kernels.sum(dim=1) * steps**2).sum().sqrt().item(), 1.5, rtol=1e-6, atol=0)


def test_positive_angles_turn_from_right_towards_down():
    sigma = torch.tensor([[4.0, 0.7]])
    diagonal = gaussian_kernels(sigma, torch.tensor([math.pi / 4]), size=9)[0]
    assert diagonal[8, 8] > 1e3 * diagonal[0, 8]
    upright = gaussian_kernels(sigma, torch.tensor([math.pi / 2]), size=9)[0]
    assert upright[8, 4] > 1e3 * upright[4, 8]


def test_a_round_kernel_blurs_as_scikit_image_does():
    filters = pytest.importorskip("skimage.filters", reason="scikit-image is the oracle")
    image = torch.rand(1, 1, 40, 50, dtype=torch.float64)
    kernels = gaussian_kernels(torch.full((1, 2), 1.3, dtype=torch.float64), torch.zeros(1), size=21)
    expected = filters.gaussian(image[0, 0].numpy(), sigma=1.3, mode="mirror", truncate=10 / 1.3)
    assert_close(blur(image, kernels)[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_each_image_has_its_own_kernel():
    image = torch.rand(2, 3, 14, 12)
    kernels = gaussian_kernels(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([0.0, 0.4]))
    blurred = blur(image, kernels)
    assert torch.equal(blurred[0], image[0])
    assert_close(blurred[1:], blur(image[1:], kernels[1:]))
    assert_close(kernels.sum(dim=(1, 2)), torch.ones(2))


def test_draw_stays_in_its_limits_and_repeats_itself():
    draws = [draw_degradation(500, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(draws[0].sigma, draws[1].sigma)
    drawn = draws[0]
    for x, low, high in ((drawn.sigma, 0.2, 4), (drawn.angle, 0, math.pi), (drawn.noise, 0, 25 / 255)):
        assert low <= x.min() < low + 0.02 * (high - low)
        assert high >= x.max() > high - 0.02 * (high - low)
    plain = draw_degradation(50, isotropic=True, noise=(0, 0))
    assert torch.equal(plain.sigma[:, 0], plain.sigma[:, 1])
    assert not plain.angle.any()
    assert not plain.noise.any()


def test_noise_has_the_given_deviation_and_a_generator_repeats_it():
    image = torch.full((1, 3, 128, 128), 0.5)
    first, second = (
        degrade(image, one(0.0, noise=0.1, count=1), scale=1, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert first.std().item() == pytest.approx(0.1, rel=0.02)
    assert_close(first * 255, (first * 255).round(), rtol=0, atol=1e-4)


def test_messages(rejects):
    image = torch.rand(1, 3, 24, 26)
    with rejects("`size` of a kernel must be odd and positive, got 4"):
        gaussian_kernels(torch.ones(1, 2), torch.zeros(1), size=4)
    with rejects("`sigma` must be positive, or 0 along both axes, got"):
        gaussian_kernels(torch.tensor([[1.0, 0.0]]), torch.zeros(1))
    with rejects(r"`sigma` must have shape \(b 2\), got \(2,\)"):
        gaussian_kernels(torch.ones(2), torch.zeros(1))
    with rejects(r"`image` must have sides longer than 10 for kernels of 21, got \(1, 3, 10, 26\)"):
        blur(image[:, :, :10], one(1.0, count=1).kernels())
    with rejects(r"`image` must have sides that are multiples of `scale`=5, got \(1, 3, 24, 26\)"):
        degrade(image, one(1.0, count=1), scale=5)
    with rejects(r"`normal` must have shape \(b=1 c=3 hs=12 ws=13\), got \(1, 3, 12, 12\)"):
        degrade(image, one(1.0, count=1), scale=2, normal=torch.zeros(1, 3, 12, 12))
    with rejects(r"`noise` must be a smallest and a largest value, 0 at least, got \(2, 1\)"):
        draw_degradation(1, noise=(2, 1))
    with rejects(r"`uniform` must have shape \(u=4 b=2\), got \(4, 3\)"):
        draw_degradation(2, uniform=torch.rand(4, 3))
    with rejects("`count` must be at least 1, got 0"):
        draw_degradation(0)
