"""Blocks of PAN and A2N: released tensors, formulas written out, errors."""

import math

import pytest
import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import AttentionInAttentionBlock, PixelAttentionConv, SelfCalibratedBlock

BRANCH = {"gate_conv": "k1", "gate": "k2", "conv1": "k3", "conv2": "k4"}
BLOCK = {
    "first": "conv_first",
    "squeeze": "ADM.0",
    "excite": "ADM.2",
    "plain": "non_attention",
    "last": "conv_last",
    **{f"attention.{ours}": f"attention.{official}" for ours, official in BRANCH.items()},
}


def official_name(key, names):
    module, _, kind = key.rpartition(".")
    return f"{names[module]}.{kind}"


def check_golden(layer, case, names):
    layer.load_state_dict({key: case[f"state.{official_name(key, names)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    named = {official_name(key, names): parameter for key, parameter in layer.named_parameters()}
    assert_golden_gradients(case, x, named, float32=1e-5)


@cases("a2n_branch")
def test_golden_attention_branch(name):
    case = read(name)
    check_golden(PixelAttentionConv(case.params["C"], deep_gate=True, dtype=case["input.x"].dtype), case, BRANCH)


@cases("aab")
def test_golden_block(name):
    case = read(name)
    layer = AttentionInAttentionBlock(
        case.params["C"],
        reduction=case.params["reduction"],
        temperature=case.params["t"],
        dtype=case["input.x"].dtype,
    )
    check_golden(layer, case, BLOCK)


def image(channels=6):
    return torch.randn(2, channels, 5, 7, dtype=torch.float64)


def test_gate_of_zero_weights_is_a_half():
    layer = PixelAttentionConv(6, dtype=torch.float64)
    torch.nn.init.zeros_(layer.gate.weight)
    torch.nn.init.zeros_(layer.gate.bias)
    x = image()
    assert_close(layer(x), layer.conv2(layer.conv1(x)) / 2)


def test_self_calibrated_block_is_its_formula():
    block = SelfCalibratedBlock(6, dtype=torch.float64)
    x = image()
    one, two = (torch.where(u > 0, u, 0.2 * u) for u in (block.split1(x), block.split2(x)))
    plain = F.conv2d(one, block.conv.weight, padding=1)
    pa = block.attention
    gated = F.conv2d(F.conv2d(two, pa.conv1.weight, padding=1) * pa.gate(two).sigmoid(), pa.conv2.weight, padding=1)
    merged = torch.cat([torch.where(u > 0, u, 0.2 * u) for u in (plain, gated)], dim=1)
    assert_close(block(x), x + torch.einsum("bchw,dc->bdhw", merged, block.merge.weight[:, :, 0, 0]))


def test_self_calibrated_block_has_the_parameters_of_pan():
    """1x1 without bias: two splits and a merge; 3x3 without bias: three; the gate with bias."""
    c, half = 40, 20
    count = 2 * c * half + c * c + 3 * half * half * 9 + half * half + half
    assert sum(p.numel() for p in SelfCalibratedBlock(c).parameters()) == count


def test_shares_sum_to_one_and_follow_the_temperature():
    u = image()
    hot, cold = (AttentionInAttentionBlock(6, reduction=2, temperature=t, dtype=torch.float64) for t in (30.0, 0.5))
    cold.load_state_dict(hot.state_dict())
    assert_close(hot.shares(u).sum(dim=1), torch.ones(2, 1, 1, dtype=torch.float64))
    log_ratio = [block.shares(u).log().diff(dim=1) for block in (hot, cold)]
    assert_close(log_ratio[1], 60 * log_ratio[0])


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        PixelAttentionConv(6)(torch.rand(2, 5, 5, 7))
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        SelfCalibratedBlock(6)(torch.rand(2, 5, 5, 7))
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(2, 5, 5, 7\)"):
        AttentionInAttentionBlock(8)(torch.rand(2, 5, 5, 7))
    with rejects("`channels` must be even, got 5"):
        SelfCalibratedBlock(5)
    with rejects("`reduction`=4 must divide `channels`=6"):
        AttentionInAttentionBlock(6)
    for layer in (PixelAttentionConv, SelfCalibratedBlock, AttentionInAttentionBlock):
        with rejects("`channels` must be at least 1, got 0"):
            layer(0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_impossible_temperatures_are_rejected(temperature, rejects):
    with rejects(f"`temperature` must be positive, got {temperature}"):
        AttentionInAttentionBlock(8, temperature=temperature)
