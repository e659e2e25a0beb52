"""PSNR and SSIM with the conventions of the SR benchmarks, stated as arguments."""

import math
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_choice, check_not_empty, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops.color import rgb_to_y

Channel = Literal["y", "rgb"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Array: TypeAlias = npt.NDArray[Any]
Scores: TypeAlias = np.float64 | npt.NDArray[np.float64]
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
SLACK = 1  # networks may overshoot; a value more than one whole range outside means that the unit is wrong


@overload
def psnr(
    sr: Tensor,
    hr: Tensor,
    *,
    border: int,
    channel: Channel = ...,
    rounded: bool = ...,
    data_range: float | None = ...,
) -> Tensor: ...
@overload
def psnr(
    sr: Array, hr: Array, *, border: int, channel: Channel = ..., rounded: bool = ..., data_range: float | None = ...
) -> Scores: ...
def psnr(
    sr: Tensor | Array,
    hr: Tensor | Array,
    *,
    border: int,
    channel: Channel = "y",
    rounded: bool = True,
    data_range: float | None = None,
) -> Tensor | Scores:
    """PSNR = 10 log10(1 / mean (sr - hr)^2) of each image in dB; inf for equal images. Computed in float64, white is 1.

    Args:
        sr: the result: tensor (b, c, h, w), or numpy array (h, w), (h, w, c) or (b, h, w, c); uint8, or floating point
            from 0 to `data_range`, which networks may overshoot a little. c = 3, or 1 for an image of luma alone.
        hr: the reference image, of the same kind and shape.
        border: number of pixels to shave off each side; by convention the scale.
        channel: "y" measures the unrounded BT.601 luma of colour images, "rgb" measures all three channels.
        rounded: clamp both images to black and white and round them to 8 bits first, as saving them would.
        data_range: value of white in `sr` and `hr`; None means 255 for uint8 and 1 for floating point.

    Returns:
        One float64 number per image: a tensor of shape (b), or for arrays an array of shape (b) or a single number.

    Raises:
        ValueError: shapes differ, the border leaves no pixels, or values are not finite or far outside the range.
        TypeError: the images are neither two tensors nor two arrays, or have other dtypes.
    """
    a, b = _prepare(sr, hr, border, channel, rounded, data_range)
    return _like(sr, -10 * (a - b).square().mean(dim=(1, 2, 3)).log10())


@overload
def ssim(
    sr: Tensor,
    hr: Tensor,
    *,
    border: int,
    channel: Channel = ...,
    rounded: bool = ...,
    data_range: float | None = ...,
) -> Tensor: ...
@overload
def ssim(
    sr: Array, hr: Array, *, border: int, channel: Channel = ..., rounded: bool = ..., data_range: float | None = ...
) -> Scores: ...
def ssim(
    sr: Tensor | Array,
    hr: Tensor | Array,
    *,
    border: int,
    channel: Channel = "y",
    rounded: bool = True,
    data_range: float | None = None,
) -> Tensor | Scores:
    """Structural similarity of each image, 1 where they are equal (Wang et al. 2004, Eq. 13), as MATLAB's ssim.m:
    Gaussian window 11x11, sigma 1.5, valid region, C1 = 0.01^2, C2 = 0.03^2 (white is 1). Computed in float64.

    Arguments, results and errors as `psnr`. After shaving, images must be 11 pixels or more per side.
    """
    a, b = _prepare(sr, hr, border, channel, rounded, data_range)
    if min(a.shape[2:]) < WINDOW:
        raise ValueError(f"`sr` must be at least {WINDOW} pixels per side after shaving, got {tuple(a.shape[2:])}.")
    c1, c2 = K1**2, K2**2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return _like(sr, (luminance * structure).mean(dim=(1, 2, 3)))


def _prepare(
    sr: Tensor | Array, hr: Tensor | Array, border: int, channel: Channel, rounded: bool, data_range: float | None
) -> tuple[Tensor, Tensor]:
    """Return both images as float64 with white 1: rounded, reduced to the channel to measure, and shaved."""
    check_at_least("border", border, 0)
    check_choice("channel", channel, CHANNELS)
    for name, image in (("sr", sr), ("hr", hr)):
        if not isinstance(image, (Tensor, np.ndarray)):
            raise TypeError(f"`{name}` must be a tensor or a numpy array, got {type(image).__name__}.")
    if isinstance(sr, Tensor) != isinstance(hr, Tensor):
        raise TypeError(f"`sr` and `hr` must be of one kind, got {type(sr).__name__} and {type(hr).__name__}.")
    if sr.shape != hr.shape:
        raise ValueError(f"`sr` and `hr` must have the same shape, got {tuple(sr.shape)} and {tuple(hr.shape)}.")
    images = [_read(name, x, data_range) for name, x in (("sr", sr), ("hr", hr))]
    height, width = images[0].shape[2:]
    if min(height, width) <= 2 * border:
        raise ValueError(f"`border`={border} leaves nothing of images of {height} x {width} pixels.")

    def prepare(x: Tensor) -> Tensor:
        x = (x * 255).round().clamp(0, 255) / 255 if rounded else x
        x = rgb_to_y(x) if channel == "y" and x.shape[1] == 3 else x
        return x[..., border : height - border, border : width - border]

    return prepare(images[0]), prepare(images[1])


def _read(name: str, image: Tensor | Array, data_range: float | None) -> Float[Tensor, "b c h w"]:
    """Convert to float64 with white 1, after checking type, shape and range."""
    x = image.detach() if isinstance(image, Tensor) else _from_array(name, image)
    if not (x.is_floating_point() or x.dtype == torch.uint8):
        raise TypeError(f"`{name}` must hold uint8 or floating-point numbers, got {x.dtype}.")
    check_shape(name, x, "b c h w")
    check_not_empty(name, x, "b c h w")
    if x.shape[1] not in (1, 3):
        raise ValueError(f"`{name}` must have 1 or 3 channels, got {x.shape[1]}.")
    if x.dtype == torch.uint8:
        if data_range not in (None, 255):
            raise ValueError(f"`data_range` of uint8 images is 255, got {data_range}.")
        return x.double() / 255
    white = 1.0 if data_range is None else data_range
    if not 0 < white < math.inf:
        raise ValueError(f"`data_range` must be positive and finite, got {data_range}.")
    x = x.double()
    low, high = x.min().item(), x.max().item()
    overshoots = not (-SLACK * white <= low and high <= (1 + SLACK) * white)  # True for NaN
    if white > 2 and low >= 0 and 0 < high <= 1:
        raise ValueError(
            f"`{name}` must lie in [0, {white:g}] and beyond 1, got {low:.4g} to {high:.4g}. `data_range` is the value "
            "of white."
        )
    if overshoots:
        raise ValueError(
            f"`{name}` must lie in [0, {white:g}], got {low:.4g} to {high:.4g}. `data_range` is the value of white."
        )
    return x / white


def _from_array(name: str, image: Array) -> Tensor:
    """Convert numpy's channels-last layouts to b c h w."""
    patterns = {2: "h w -> 1 1 h w", 3: "h w c -> 1 c h w", 4: "b h w c -> b c h w"}
    if image.ndim not in patterns:
        raise ValueError(f"`{name}` must have shape (h w), (h w c) or (b h w c), got {image.shape}.")
    return torch.from_numpy(rearrange(image, patterns[image.ndim]).copy())


def _like(image: Tensor | Array, scores: Float[Tensor, " b"]) -> Tensor | Scores:
    """Return the scores in the same kind as the images."""
    if isinstance(image, Tensor):
        return scores
    array: npt.NDArray[np.float64] = scores.numpy()
    return array if image.ndim == 4 else np.float64(array[0])


def _blur(x: Float[Tensor, "b c h w"]) -> Tensor:
    """Filter with the Gaussian window along rows, then columns; returns the valid region."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = (-(offsets**2) / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, window, groups=x.shape[1])
    return F.conv2d(x, window.mT, groups=x.shape[1])
