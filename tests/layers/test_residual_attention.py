"""RNAN's mask and residual attention: released tensors, the sum written out, odd sizes, errors."""

import pytest
import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.testing import assert_close

from cclnn.layers import AttentionMask, NonLocalBlock, ResidualAttention

OFFICIAL = {
    "first.conv1": "MB_RB1.0.body.0",
    "first.conv2": "MB_RB1.0.body.2",
    "down": "MB_Down.0",
    "up": "MB_Up.0",
    "last.conv1": "MB_RB3.0.body.0",
    "last.conv2": "MB_RB3.0.body.2",
    "gate": "MB_1x1conv.0",
    **{f"coarse.{i}.conv{k}": f"MB_RB2.{i}.body.{2 * k - 2}" for i in (0, 1) for k in (1, 2)},
}


def official_name(key):
    module, _, kind = key.rpartition(".")
    return f"{OFFICIAL[module]}.{kind}"


@cases("rnan_mask")
def test_golden_mask_and_gradients(name):
    case = read(name)
    layer = AttentionMask(case.params["C"], dtype=case["input.x"].dtype)
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    named = {official_name(key): parameter for key, parameter in layer.named_parameters()}
    assert_golden_gradients(case, x, named, float32=1e-5)


@pytest.mark.parametrize("non_local", [False, True])
def test_attention_is_its_formula_without_a_skip(non_local):
    layer = ResidualAttention(6, non_local=non_local, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    r = layer.first(x)
    h = layer.trunk[1](layer.trunk[0](r)) * layer.mask(r) + r
    assert_close(layer(x), layer.conv(layer.tail[1](layer.tail[0](h))))


def test_non_local_mask_attends_before_its_first_block():
    local, non_local = (AttentionMask(6, non_local=value, dtype=torch.float64) for value in (False, True))
    torch.nn.init.normal_(non_local.attention.out.weight)
    local.load_state_dict({k: t for k, t in non_local.state_dict().items() if not k.startswith("attention")})
    x = torch.randn(2, 6, 4, 8, dtype=torch.float64)
    assert isinstance(non_local.attention, NonLocalBlock)
    assert_close(non_local(x), local(non_local.attention(x)))


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (4, 7), (3, 5)])
def test_odd_sizes_cut_the_surplus_of_the_upsampling(size):
    layer = AttentionMask(6, dtype=torch.float64)
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    fine = layer.first(x)
    coarse = layer.coarse[1](layer.coarse[0](layer.down(fine)))
    assert coarse.shape[2:] == tuple((length + 1) // 2 for length in size)
    up = layer.up(coarse)[:, :, : size[0], : size[1]]
    assert_close(layer(x), layer.gate(layer.last(fine + up)).sigmoid())


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        AttentionMask(6)(torch.rand(2, 5, 5, 7))
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        ResidualAttention(6)(torch.rand(2, 5, 5, 7))
    with rejects("`reduction`=2 must divide `channels`=5"):
        AttentionMask(5, non_local=True)
    with rejects("`channels` must be at least 1, got 0"):
        AttentionMask(0)
    with rejects("`channels` must be at least 1, got 0"):
        ResidualAttention(0)
