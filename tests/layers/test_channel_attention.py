"""Channel attention and its contrastive form: released tensors, the loss beside the features, errors."""

import math

import pytest
import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.testing import assert_close

from cclnn.layers import ChannelAttention, ChannelContrastiveAttention
from cclnn.losses import channel_contrastive_loss

OFFICIAL = {"squeeze": "conv_du.0", "excite": "conv_du.2"}


def official_name(key):
    child, kind = key.split(".")
    return f"{OFFICIAL[child]}.{kind}"


@pytest.mark.parametrize("kind", [ChannelAttention, ChannelContrastiveAttention])
@cases("calayer")
def test_golden_output_and_gradients(name, kind):
    case = read(name)
    layer = kind(case.params["C"], reduction=case.params["reduction"]).to(case["input.x"].dtype)
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    out = layer(x)
    y = out if kind is ChannelAttention else out[0]
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    named = {official_name(key): parameter for key, parameter in layer.named_parameters()}
    assert_golden_gradients(case, x, named, float32=1e-5)


def test_weights_are_one_gate_per_image_and_channel():
    layer = ChannelAttention(6, reduction=2).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    mean = x.mean(dim=(2, 3))
    hidden = (mean @ layer.squeeze.weight[:, :, 0, 0].T + layer.squeeze.bias).clamp_min(0)
    gate = 1 / (1 + (-(hidden @ layer.excite.weight[:, :, 0, 0].T + layer.excite.bias)).exp())
    assert_close(layer.channel_weights(x), gate[:, :, None, None])
    assert_close(layer(x), x * gate[:, :, None, None])


def test_loss_is_that_of_the_weights_after_the_sigmoid():
    layer = ChannelContrastiveAttention(32, ratio=0.2, margin=0.7)
    x = torch.randn(3, 32, 5, 7)
    out, loss = layer(x)
    weights = layer.channel_weights(x)
    assert_close(loss, channel_contrastive_loss(weights.flatten(1), ratio=0.2, margin=0.7))
    assert_close(out, x * weights)
    assert loss.shape == ()


def test_loss_alone_trains_every_parameter():
    layer = ChannelContrastiveAttention(32)
    _, loss = layer(torch.randn(3, 32, 5, 7))
    loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())


def test_contrastive_form_has_the_same_state_dict():
    plain, contrastive = ChannelAttention(32), ChannelContrastiveAttention(32)
    assert plain.state_dict().keys() == contrastive.state_dict().keys()
    assert {key.split(".")[0] for key in plain.state_dict()} == {"squeeze", "excite"}


def test_autocast_gives_a_float32_loss():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, loss = ChannelContrastiveAttention(32)(torch.randn(2, 32, 5, 7))
    assert loss.dtype == torch.float32
    assert out.dtype == torch.float32


@pytest.mark.parametrize("kind", [ChannelAttention, ChannelContrastiveAttention])
def test_messages(kind, rejects):
    with rejects(r"`x` must have shape \(b c=32 h w\), got \(2, 16, 5, 7\)"):
        kind(32)(torch.rand(2, 16, 5, 7))
    with rejects(r"`x` must have shape \(b c=32 h w\), got \(32, 5, 7\)"):
        kind(32)(torch.rand(32, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(1, 32, 0, 7\)"):
        kind(32)(torch.rand(1, 32, 0, 7))
    with rejects("`reduction`=16 must divide `channels`=30"):
        kind(30)
    with rejects("`reduction` must be at least 1, got -2"):
        kind(30, reduction=-2)
    with rejects("`channels` must be at least 1, got 0"):
        kind(0)


@pytest.mark.parametrize("ratio", [0.0, -0.2, 0.5, 1.0, math.inf])
def test_impossible_ratios_are_rejected(ratio, rejects):
    with rejects(f"`ratio` must lie strictly between 0 and 0.5, got {ratio}"):
        ChannelContrastiveAttention(32, ratio=ratio)
