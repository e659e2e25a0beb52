"""Pixel attention: released tensors, the closed form, errors."""

import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.testing import assert_close

from cclnn.layers import PixelAttention


@cases("pa")
def test_golden_output_and_gradients(name):
    case = read(name)
    layer = PixelAttention(case.params["C"]).to(case["input.x"].dtype)
    layer.load_state_dict(case.under("state."))
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    assert_golden_gradients(case, x, dict(layer.named_parameters()), float32=1e-5)


def test_gates_every_channel_of_every_pixel():
    layer = PixelAttention(5).double()
    x = torch.randn(2, 5, 3, 7, dtype=torch.float64)
    gate = torch.einsum("oc,bchw->bohw", layer.conv.weight[:, :, 0, 0], x) + layer.conv.bias[:, None, None]
    assert_close(layer(x), x / (1 + (-gate).exp()))


def test_zero_weights_halve_the_features():
    layer = PixelAttention(5)
    torch.nn.init.zeros_(layer.conv.weight)
    torch.nn.init.zeros_(layer.conv.bias)
    x = torch.randn(2, 5, 3, 7)
    assert torch.equal(layer(x), x / 2)


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=5 h w\), got \(2, 4, 3, 7\)"):
        PixelAttention(5)(torch.rand(2, 4, 3, 7))
    with rejects(r"`x` must have shape \(b c=5 h w\), got \(5, 3, 7\)"):
        PixelAttention(5)(torch.rand(5, 3, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 5, 3, 0\)"):
        PixelAttention(5)(torch.rand(2, 5, 3, 0))
    with rejects("`channels` must be at least 1, got 0"):
        PixelAttention(0)
