"""The sub-pixel upsampler: released tensors, every scale, errors."""

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch.testing import assert_close

from cclnn.layers import Upsampler


@cases("upsampler")
def test_golden_output(name):
    case = read(name)
    layer = Upsampler(case.params["C"], scale=case.params["scale"])
    layer.load_state_dict(case.under("state."))
    assert_golden(layer(case["input.x"]), case["output.y"], float32=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4, 8, 16])
def test_repeats_pixels_with_weights_that_copy(scale):
    """A kernel whose centre passes each channel to all its sub-pixels is nearest-neighbour enlargement."""
    layer = Upsampler(3, scale=scale)
    for child in layer:
        if isinstance(child, torch.nn.Conv2d):
            torch.nn.init.zeros_(child.bias)
            torch.nn.init.zeros_(child.weight)
            factor = child.out_channels // 3
            child.weight.data[:, :, 1, 1] = torch.eye(3).repeat_interleave(factor, dim=0)
    x = torch.randn(2, 3, 5, 7)
    expected = x.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    assert_close(layer(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1, 0, -2, 5, 6, 12])
def test_other_scales_are_rejected(scale, rejects):
    with rejects(f"`scale` must be 2, 3, 4, 8 or another power of two, got {scale}"):
        Upsampler(3, scale=scale)


def test_messages(rejects):
    with rejects(r"`scale` must be 2, 3, 4, 8 or another power of two, got 2\.0"):
        Upsampler(3, scale=2.0)
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(2, 4, 3, 7\)"):
        Upsampler(3, scale=2)(torch.rand(2, 4, 3, 7))
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(3, 3, 7\)"):
        Upsampler(3, scale=2)(torch.rand(3, 3, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 3, 0, 7\)"):
        Upsampler(3, scale=2)(torch.rand(2, 3, 0, 7))
    with rejects("`channels` must be at least 1, got 0"):
        Upsampler(0, scale=2)
