"""DiVANet's layers: released tensors, variances written out, sums of the fusion, errors."""

import torch
from golden.reader import assert_golden, cases, read
from torch.testing import assert_close

from cclnn.layers import (
    DirectionalVarianceAttention,
    DirectionalVarianceBlock,
    DirectionalVarianceGroup,
)

BLOCK = {"expand": "body.0", "reduce": "body.2", "conv": "body.3"}
PARTS = {"magnitude": "weight_g", "direction": "weight_v", "bias": "bias"}


def official_name(key):
    module, _, kind = key.rpartition(".")
    return f"{BLOCK[module]}.{PARTS[kind]}" if module in BLOCK else key.replace("attention", "DiVA")


def load(layer, case):
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})


@cases("diva")
def test_golden_attention_and_gradient(name):
    case = read(name)
    layer = DirectionalVarianceAttention(64)
    load(layer, case)
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.0"], float32=1e-5)
    (y * case["cotangent.0"]).sum().backward()
    assert_golden(x.grad, case["grad.x"], float32=1e-5)


@cases("diva_block")
def test_golden_block_and_gradient(name):
    case = read(name)
    layer = DirectionalVarianceBlock(64)
    load(layer, case)
    x = case["input.x"].requires_grad_()
    outputs = layer(x)
    for i, output in enumerate(outputs):
        assert_golden(output, case[f"output.{i}"], float32=1e-5)
    sum((output * case[f"cotangent.{i}"]).sum() for i, output in enumerate(outputs)).backward()
    assert_golden(x.grad, case["grad.x"], float32=1e-5)


def test_variance_is_that_of_the_population_along_one_axis():
    layer = DirectionalVarianceAttention(6, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    rows = (x - x.mean(dim=3, keepdim=True)).square().mean(dim=3)
    columns = (x - x.mean(dim=2, keepdim=True)).square().mean(dim=2)
    gates = []
    for variance, conv in ((rows, layer.conv_h), (columns, layer.conv_w)):
        gates.append(torch.einsum("bcl,dc->bdl", variance, conv.weight[:, :, 0, 0]) + conv.bias[:, None])
    y = x * gates[0].sigmoid()[:, :, :, None] * gates[1].sigmoid()[:, :, None, :]
    assert_close(layer(x), y)


def test_one_pixel_has_no_variance():
    layer = DirectionalVarianceAttention(6)
    assert layer(torch.randn(2, 6, 1, 1)).isfinite().all()


def test_group_chains_its_blocks_and_fuses_what_they_gave():
    group = DirectionalVarianceGroup(6, n_blocks=2, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    one, attention_one = group.block1(x)
    two, attention_two = group.block2(one)
    attention = group.attentions(torch.cat([attention_one, attention_two], dim=1)).relu()
    fused = group.features(torch.cat([x, one, two], dim=1)).relu()
    assert_close(group(x), (fused + x + attention, attention))


def test_nested_group_has_groups_for_blocks():
    nested = DirectionalVarianceGroup(6, n_blocks=2, nested=True)
    assert [type(block) for block in nested.block2.children()][:2] == [DirectionalVarianceBlock] * 2
    plain = DirectionalVarianceGroup(6, n_blocks=2)
    plain.block1, plain.block2 = nested.block1, nested.block2
    plain.features, plain.attentions = nested.features, nested.attentions
    x = torch.randn(2, 6, 5, 7)
    assert_close(nested(x), plain(x))


def test_messages(rejects):
    x = torch.rand(2, 5, 5, 7)
    for layer in (DirectionalVarianceAttention(6), DirectionalVarianceBlock(6), DirectionalVarianceGroup(6)):
        with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
            layer(x)
    for layer in (DirectionalVarianceAttention, DirectionalVarianceBlock, DirectionalVarianceGroup):
        with rejects("`channels` must be at least 1, got 0"):
            layer(0)
    with rejects("`n_blocks` must be at least 1, got 0"):
        DirectionalVarianceGroup(6, n_blocks=0)
    with rejects("`expansion` must be at least 1, got 0"):
        DirectionalVarianceBlock(6, expansion=0)
    with rejects("`linear` must be at least .*, got 0.1"):
        DirectionalVarianceBlock(6, linear=0.1)
