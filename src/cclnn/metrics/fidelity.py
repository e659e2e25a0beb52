"""PSNR and SSIM with the conventions of the SR benchmarks, stated as arguments."""

from typing import Literal

import torch
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_choice, check_floating, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops.color import rgb_to_y

Channel = Literal["y", "rgb"]
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(
    sr: Float[Tensor, "b c h w"],
    hr: Float[Tensor, "b c h w"],
    *,
    border: int,
    channel: Channel = "y",
    rounded: bool = True,
) -> Float[Tensor, " b"]:
    """10 log10(1 / mean (sr - hr)^2) in dB, of each image; inf where they are equal. Computed in float64.

    Args:
        sr: the result, in [0, 1]; (b, 3, h, w), or (b, 1, h, w) which is then measured as it is.
        hr: the truth, of the same shape.
        border: pixels shaved off each side, the scale by convention.
        channel: "y" measures the unrounded BT.601 luma of colour images, "rgb" all three channels.
        rounded: clamp both to [0, 1] and round to 8 bits first, as a saved image would be.
    """
    sr, hr = _prepare(sr, hr, border, channel, rounded)
    return -10 * (sr - hr).square().mean(dim=(1, 2, 3)).log10()


def ssim(
    sr: Float[Tensor, "b c h w"],
    hr: Float[Tensor, "b c h w"],
    *,
    border: int,
    channel: Channel = "y",
    rounded: bool = True,
) -> Float[Tensor, " b"]:
    """Structural similarity of each image, 1 where they are equal (Wang et al. 2004, Eq. 13), as MATLAB's ssim.m:
    Gaussian window 11x11, sigma 1.5, valid region, C1 = 0.01^2, C2 = 0.03^2 (white is 1). Computed in float64.

    Arguments as `psnr`. After shaving, images must be 11 pixels or more per side.
    """
    sr, hr = _prepare(sr, hr, border, channel, rounded)
    if min(sr.shape[2:]) < WINDOW:
        raise ValueError(f"`sr` must be at least {WINDOW} pixels per side after shaving, got {tuple(sr.shape[2:])}.")
    c1, c2 = K1**2, K2**2
    mean_sr, mean_hr = _blur(sr), _blur(hr)
    var_sr = _blur(sr * sr) - mean_sr**2
    var_hr = _blur(hr * hr) - mean_hr**2
    covariance = _blur(sr * hr) - mean_sr * mean_hr
    luminance = (2 * mean_sr * mean_hr + c1) / (mean_sr**2 + mean_hr**2 + c1)
    structure = (2 * covariance + c2) / (var_sr + var_hr + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _prepare(sr: Tensor, hr: Tensor, border: int, channel: Channel, rounded: bool) -> tuple[Tensor, Tensor]:
    check_floating("sr", sr)
    check_floating("hr", hr)
    check_shape("sr", sr, "b c h w")
    check_at_least("border", border, 0)
    check_choice("channel", channel, ("y", "rgb"))
    if sr.shape != hr.shape:
        raise ValueError(f"`sr` and `hr` must have the same shape, got {tuple(sr.shape)} and {tuple(hr.shape)}.")
    height, width = sr.shape[2:]
    if min(height, width) <= 2 * border:
        raise ValueError(f"`border`={border} leaves nothing of images of {height} x {width} pixels.")

    def prepare(x: Tensor) -> Tensor:
        x = x.detach().double()
        x = (x * 255).round().clamp(0, 255) / 255 if rounded else x
        x = rgb_to_y(x) if channel == "y" and x.shape[1] == 3 else x
        return x[..., border : height - border, border : width - border]

    return prepare(sr), prepare(hr)


def _blur(x: Float[Tensor, "b c h w"]) -> Tensor:
    """Gaussian window along rows, then columns, valid region."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = (-(offsets**2) / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, window, groups=x.shape[1])
    return F.conv2d(x, window.mT, groups=x.shape[1])
