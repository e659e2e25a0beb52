"""PSNR and SSIM against released code, scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from golden.reader import cases, read
from skimage.metrics import structural_similarity
from torch.testing import assert_close

from cclnn.metrics import psnr, ssim
from cclnn.ops import rgb_to_y

METRICS = [psnr, ssim]


def pair(b=2, c=3, h=37, w=53):
    hr = torch.rand(b, c, h, w)
    return (hr + 0.1 * torch.randn(b, c, h, w)).clamp(0, 1), hr


@cases("psnr")
def test_golden_psnr(name):
    """The released code weighs Y by 65.738 129.057 25.064 over 256, MATLAB's weights to five digits: 1e-5 dB."""
    case = read(name)
    white, scale = case.params["rgb_range"], case.params["scale"]
    sr, hr = case["input.sr"] / white, case["input.hr"] / white
    rgb = psnr(sr, hr, border=scale + 6, channel="rgb")
    assert_close(rgb, case["output.psnr_div2k"][None], rtol=0, atol=1e-6)
    assert_close(psnr(sr, hr, border=scale), case["output.psnr_benchmark"][None], rtol=0, atol=1e-5)
    quantised = case["output.quantized"] / white
    assert_close(psnr(sr, hr, border=scale), psnr(quantised, hr, border=scale), rtol=0, atol=0)


@cases("ssim")
def test_golden_ssim_and_luma(name):
    case = read(name)
    crop = case.params["crop"]
    sr, hr = case["input.sr"].double() / 255, case["input.hr"].double() / 255
    assert_close(rgb_to_y(sr)[0, 0], case["output.y_sr"], rtol=0, atol=1e-12)
    assert_close(rgb_to_y(hr)[0, 0], case["output.y_hr"], rtol=0, atol=1e-12)
    assert_close(ssim(sr, hr, border=crop), case["output.ssim"][None], rtol=0, atol=1e-12)
    assert_close(psnr(sr, hr, border=crop), case["output.psnr"][None], rtol=0, atol=1e-10)


def matlab_ssim(sr, hr, border):
    """scikit-image in its MATLAB-equivalent setting, over the valid region of one channel."""
    a, b = (x[border : x.shape[0] - border, border : x.shape[1] - border] for x in (sr, hr))
    _, full = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )
    return full[5:-5, 5:-5].mean()


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_of_luma_equals_scikit_image(border):
    sr, hr = pair()
    y_sr, y_hr = (rgb_to_y(x.double())[:, 0].numpy() for x in (sr, hr))
    expected = [matlab_ssim(a, b, border) for a, b in zip(y_sr, y_hr, strict=True)]
    assert_close(ssim(sr, hr, border=border, rounded=False), torch.tensor(expected, dtype=torch.float64))


def test_ssim_of_rgb_is_the_mean_over_channels():
    sr, hr = pair()
    a, b = (x.double().numpy() for x in (sr, hr))
    expected = [np.mean([matlab_ssim(a[i, c], b[i, c], 2) for c in range(3)]) for i in range(2)]
    actual = ssim(sr, hr, border=2, channel="rgb", rounded=False)
    assert_close(actual, torch.tensor(expected, dtype=torch.float64))


def test_psnr_of_a_constant_error_is_known():
    """An error of 0.1 everywhere is 20 dB; on Y a grey error of 0.1 is 0.1 * 219 / 255."""
    hr = torch.full((2, 3, 7, 11), 0.5, dtype=torch.float64)
    twenty = torch.full((2,), 20.0, dtype=torch.float64)
    assert_close(psnr(hr + 0.1, hr, border=0, channel="rgb", rounded=False), twenty)
    assert_close(psnr(hr + 0.1, hr, border=0, rounded=False), twenty - 20 * math.log10(219 / 255))
    assert_close(psnr(hr[:, :1] + 0.1, hr[:, :1], border=0, rounded=False), twenty)  # one channel as it is


def test_each_image_is_measured_alone():
    sr, hr = pair(b=3)
    for metric in METRICS:
        alone = torch.cat([metric(sr[i : i + 1], hr[i : i + 1], border=2) for i in range(3)])
        assert_close(metric(sr, hr, border=2), alone, rtol=1e-13, atol=0)
        assert alone.dtype == torch.float64


@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_identical_images_are_perfect(channel):
    image = torch.rand(2, 3, 17, 13)
    assert psnr(image, image, border=1, channel=channel).tolist() == [math.inf, math.inf]
    assert ssim(image, image, border=1, channel=channel).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("metric", METRICS)
def test_rounding_is_that_of_a_saved_image(metric):
    """To 8 bits, and clamped: what lies outside [0, 1] counts as black or white."""
    sr, hr = pair()
    sr = sr * 1.4 - 0.2
    saved = (sr * 255).round().clamp(0, 255) / 255
    assert_close(metric(sr, hr, border=2), metric(saved, hr, border=2), rtol=1e-12, atol=0)
    assert (metric(sr, hr, border=2) - metric(sr, hr, border=2, rounded=False)).abs().min() > 1e-4


@pytest.mark.parametrize("metric", METRICS)
def test_the_border_is_ignored(metric):
    sr, hr = pair()
    spoilt = sr.clone()
    spoilt[..., :4, :] = spoilt[..., -4:, :] = spoilt[..., :4] = spoilt[..., -4:] = 1.0
    assert torch.equal(metric(spoilt, hr, border=4), metric(sr, hr, border=4))
    assert not torch.equal(metric(spoilt, hr, border=3), metric(sr, hr, border=3))


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision_images_are_measured_in_float64(low):
    sr, hr = pair()
    sr, hr = sr.to(low), hr.to(low)
    for metric in METRICS:
        assert torch.equal(metric(sr, hr, border=2), metric(sr.double(), hr.double(), border=2))


def hwc(x):
    """Tensor b c h w to array b h w c."""
    return x.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("metric", METRICS)
def test_every_kind_of_image_gives_the_same_numbers(metric):
    """float in [0, 1], uint8, float in [0, 255]; tensors and arrays, alone and in batches."""
    bytes_sr, bytes_hr = ((x * 255).round().byte() for x in pair())
    expected = metric(bytes_sr / 255, bytes_hr / 255, border=2)
    assert_close(metric(bytes_sr, bytes_hr, border=2), expected, rtol=1e-12, atol=0)
    assert_close(metric(bytes_sr, bytes_hr, border=2, data_range=255), expected, rtol=1e-12, atol=0)
    assert_close(metric(bytes_sr.float(), bytes_hr.float(), border=2, data_range=255), expected, rtol=1e-12, atol=0)
    batch = metric(hwc(bytes_sr), hwc(bytes_hr), border=2)
    assert (type(batch), batch.dtype, batch.shape) == (np.ndarray, np.float64, (2,))
    np.testing.assert_allclose(batch, expected.numpy(), rtol=1e-12)
    alone = metric(hwc(bytes_sr)[1], hwc(bytes_hr)[1], border=2)
    assert type(alone) is np.float64
    assert alone == batch[1]
    grey = metric(hwc(bytes_sr)[0, :, :, 1], hwc(bytes_hr)[0, :, :, 1], border=2)
    np.testing.assert_allclose(grey, metric(bytes_sr[:1, 1:2], bytes_hr[:1, 1:2], border=2).numpy()[0], rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_arrays_of_any_strides_are_read_and_left_alone(metric):
    sr, hr = (np.ascontiguousarray(hwc(x)[0]) for x in pair())
    before = sr.copy()
    flipped = metric(sr[::-1, ::-1], hr[::-1, ::-1], border=2)
    np.testing.assert_allclose(flipped, metric(sr, hr, border=2), rtol=1e-12)
    sr.flags.writeable = False
    metric(sr, hr, border=2)
    assert np.array_equal(sr, before)


def test_common_conventions_differ_by_more_than_a_decibel():
    """Why the convention is an argument: the same pair on studio luma, on RGB, unshaved."""
    sr, hr = pair()
    luma, rgb = psnr(sr, hr, border=2), psnr(sr, hr, border=2, channel="rgb")
    assert (luma - rgb).min() > 1


@pytest.mark.parametrize("metric", METRICS)
def test_messages(metric, rejects):
    sr, hr = pair()
    with rejects(r"`sr` and `hr` must have the same shape, got \(2, 3, 37, 53\) and \(2, 3, 37, 52\)"):
        metric(sr, hr[..., :-1], border=2)
    with rejects(r"`sr` must have shape \(b c h w\), got \(3, 37, 53\)"):
        metric(sr[0], hr[0], border=2)
    with rejects(r"`sr` must not be empty, got shape \(0, 3, 37, 53\)"):
        metric(sr[:0], hr[:0], border=2)
    with rejects("`sr` must have 1 or 3 channels, got 2"):
        metric(sr[:, :2], hr[:, :2], border=2)
    with rejects("`border`=19 leaves nothing of images of 37 x 53 pixels"):
        metric(sr, hr, border=19)
    with rejects("`border` must be at least 0, got -1"):
        metric(sr, hr, border=-1)
    with rejects("`channel` must be one of 'y', 'rgb', got 'cb'"):
        metric(sr, hr, border=2, channel="cb")
    with rejects("`sr` must hold uint8 or floating-point numbers, got torch.int64", TypeError):
        metric(sr.long(), hr, border=2)
    with rejects("`hr` must hold uint8 or floating-point numbers, got torch.bool", TypeError):
        metric(sr, hr > 0.5, border=2)
    with rejects("`sr` and `hr` must be of one kind, got Tensor and ndarray", TypeError):
        metric(sr, hr.numpy(), border=2)
    with rejects("`hr` must be a tensor or a numpy array, got list", TypeError):
        metric(sr, hr.tolist(), border=2)
    with rejects(r"`sr` must have shape \(h w\), \(h w c\) or \(b h w c\), got \(53,\)"):
        metric(sr[0, 0, 0].numpy(), hr[0, 0, 0].numpy(), border=2)


@pytest.mark.parametrize("metric", METRICS)
def test_a_wrong_range_is_refused(metric, rejects):
    """The commonest mistakes: 0..255 taken for 0..1, the reverse, NaN from a network."""
    sr, hr = pair()
    with rejects(r"`sr` must lie in \[0, 1\], got 0 to 255. `data_range` is the value of white"):
        metric(sr.clamp(0, 1).round() * 255, hr, border=2)
    with rejects(r"`hr` must lie in \[0, 1\], got .* to 25\d"):
        metric(sr, hr * 255, border=2)
    with rejects(r"`sr` must lie in \[0, 255\] and beyond 1, got 0 to 1. `data"):
        metric(sr, hr, border=2, data_range=255)
    with rejects(r"`sr` must lie in \[0, 1\], got nan to nan"):
        metric(sr.where(hr > 1e-3, torch.nan), hr, border=2)
    with rejects("`data_range` of uint8 images is 255, got 1"):
        metric(sr.byte(), hr.byte(), border=2, data_range=1.0)
    with rejects("`data_range` must be positive and finite, got 0"):
        metric(sr, hr, border=2, data_range=0.0)
    assert metric(sr * 1.9, hr, border=2).isfinite().all()  # an overshoot is a network's own affair


def test_ssim_needs_a_whole_window(rejects):
    sr, hr = pair(h=14, w=29)
    with rejects(r"`sr` must be at least 11 pixels per side after shaving, got \(10, 25\)"):
        ssim(sr, hr, border=2)
    assert ssim(sr, hr, border=1).isfinite().all()
