"""The upsampler of PAN and A2N: its formula, its widths, errors."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import NearestUpsampler


@pytest.mark.parametrize(("scale", "factors"), [(2, [2]), (3, [3]), (4, [2, 2])])
def test_is_nearest_enlargement_convolutions_and_attention(scale, factors):
    layer = NearestUpsampler(6, out_channels=4, scale=scale, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    y = x
    for factor, step in zip(factors, layer.steps, strict=True):
        y = step.conv1(F.interpolate(y, scale_factor=factor, mode="nearest"))
        y = F.leaky_relu(y * step.attention.conv(y).sigmoid(), 0.2)
        y = F.leaky_relu(step.conv2(y), 0.2)
    assert_close(layer(x), y)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_are_those_of_pan(scale):
    step = (24 * 24 + 24) + (24 * 24 * 9 + 24)
    count = 40 * 24 * 9 + 24 + step + (24 * 24 * 9 + 24 + step) * (scale == 4)
    assert sum(p.numel() for p in NearestUpsampler(40, scale=scale).parameters()) == count


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        NearestUpsampler(6)(torch.rand(2, 5, 5, 7))
    with rejects("`scale` must be one of 2, 3, 4, got 8"):
        NearestUpsampler(6, scale=8)
    with rejects("`channels` must be at least 1, got 0"):
        NearestUpsampler(0)
    with rejects("`out_channels` must be at least 1, got 0"):
        NearestUpsampler(6, out_channels=0)
