"""RCAN's block and group: released tensors, sums written out, errors."""

import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.testing import assert_close

from cclnn.layers import ResidualChannelAttentionBlock, ResidualGroup

OFFICIAL = {
    "conv1": "body.0",
    "conv2": "body.2",
    "attention.squeeze": "body.3.conv_du.0",
    "attention.excite": "body.3.conv_du.2",
}


def official_name(key):
    module, _, kind = key.rpartition(".")
    return f"{OFFICIAL[module]}.{kind}"


@cases("rcab")
def test_golden_output_and_gradients(name):
    case = read(name)
    layer = ResidualChannelAttentionBlock(
        case.params["C"], reduction=case.params["reduction"], dtype=case["input.x"].dtype
    )
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    named = {official_name(key): parameter for key, parameter in layer.named_parameters()}
    assert_golden_gradients(case, x, named, float32=1e-5)


def test_group_is_its_blocks_in_a_row_a_convolution_and_the_input():
    group = ResidualGroup(6, n_blocks=3, reduction=2, dtype=torch.float64)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    first, second, third = group.blocks
    assert_close(group(x), group.conv(third(second(first(x)))) + x)


def test_zero_weights_are_the_identity():
    block = ResidualChannelAttentionBlock(6, reduction=2)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 6, 5, 7)
    assert torch.equal(block(x), x)


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        ResidualChannelAttentionBlock(6, reduction=2)(torch.rand(2, 5, 5, 7))
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(6, 5, 7\)"):
        ResidualGroup(6, n_blocks=1, reduction=2)(torch.rand(6, 5, 7))
    with rejects("`reduction`=16 must divide `channels`=6"):
        ResidualChannelAttentionBlock(6)
    with rejects("`n_blocks` must be at least 1, got 0"):
        ResidualGroup(16, n_blocks=0)
    with rejects("`channels` must be at least 1, got 0"):
        ResidualChannelAttentionBlock(0)
