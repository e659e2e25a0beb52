"""Convolutions that keep, enlarge or reduce features, each followed by a PReLU: the parts of feedback networks."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride and padding with which a strided convolution reduces, and a transposed one enlarges, exactly."""

    kernel: int
    stride: int
    padding: int


def activated(
    convolution: nn.Module, *, slope: float, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Sequential:
    """prelu(convolution(x)), with one slope for all channels."""
    return nn.Sequential(convolution, nn.PReLU(init=slope, device=device, dtype=dtype))


def convolve(
    channels: int,
    outputs: int,
    kernel: int,
    *,
    slope: float,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """prelu(conv(x)) of the same size, zero padding."""
    convolution = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, device=device, dtype=dtype)
    return activated(convolution, slope=slope, device=device, dtype=dtype)


def enlarge(
    channels: int,
    geometry: Geometry,
    *,
    slope: float,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """prelu(transposed conv(x)), `geometry.stride` times as large."""
    g = geometry
    convolution = nn.ConvTranspose2d(channels, channels, g.kernel, g.stride, g.padding, device=device, dtype=dtype)
    return activated(convolution, slope=slope, device=device, dtype=dtype)


def reduce(
    channels: int,
    geometry: Geometry,
    *,
    slope: float,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """prelu(strided conv(x)), 1 / `geometry.stride` times as large."""
    g = geometry
    convolution = nn.Conv2d(channels, channels, g.kernel, g.stride, g.padding, device=device, dtype=dtype)
    return activated(convolution, slope=slope, device=device, dtype=dtype)
