"""Weight normalisation: torch's own, initialisation, gradients, half precision, errors."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cclnn.layers import WeightNormConv2d


@pytest.mark.parametrize("groups", [1, 2])
def test_equals_torchs_weight_norm_with_gradients(groups):
    ours = WeightNormConv2d(6, out_channels=4, groups=groups, dtype=torch.float64)
    with torch.no_grad():
        ours.magnitude.mul_(torch.rand(4, 1, 1, 1))
    plain = nn.Conv2d(6, 4, 3, padding=1, groups=groups, dtype=torch.float64)
    theirs = nn.utils.parametrizations.weight_norm(plain)
    parts = theirs.parametrizations.weight
    with torch.no_grad():
        parts.original0.copy_(ours.magnitude)
        parts.original1.copy_(ours.direction)
        theirs.bias.copy_(ours.bias)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    y, expected = ours(x), theirs(x)
    assert_close(y, expected)
    y.sin().sum().backward()
    expected.sin().sum().backward()
    assert_close(ours.magnitude.grad, parts.original0.grad)
    assert_close(ours.direction.grad, parts.original1.grad)
    assert_close(ours.bias.grad, theirs.bias.grad)


def test_starts_as_torchs_convolution():
    torch.manual_seed(3)
    ours = WeightNormConv2d(6, out_channels=4, kernel_size=1)
    torch.manual_seed(3)
    plain = nn.Conv2d(6, 4, 1)
    x = torch.randn(2, 6, 5, 7)
    assert_close(ours(x), plain(x))


def test_length_of_the_direction_does_not_matter():
    layer = WeightNormConv2d(6, out_channels=4, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = layer(x)
    with torch.no_grad():
        layer.direction.mul_(17.0)
    assert_close(layer(x), expected)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_norm_in_half_precision_is_summed_in_float32(low):
    layer = WeightNormConv2d(2000, out_channels=1, kernel_size=1)
    nn.init.constant_(layer.direction, 30.0)  # sum of squares 1.8e6, infinite in float16
    layer.to(low)
    length = layer.weight().float().square().sum().sqrt()
    assert_close(length, layer.magnitude[0, 0, 0, 0].float().abs(), rtol=0.01, atol=0)


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        WeightNormConv2d(6, out_channels=4)(torch.rand(2, 5, 5, 7))
    with rejects("`groups`=4 must divide `channels`=6"):
        WeightNormConv2d(6, out_channels=4, groups=4)
    with rejects("`groups`=3 must divide `out_channels`=4"):
        WeightNormConv2d(6, out_channels=4, groups=3)
    with rejects("`channels` must be at least 1, got 0"):
        WeightNormConv2d(0, out_channels=4)
    with rejects("`out_channels` must be at least 1, got 0"):
        WeightNormConv2d(6, out_channels=0)
    with rejects("`kernel_size` must be at least 1, got 0"):
        WeightNormConv2d(6, out_channels=4, kernel_size=0)
