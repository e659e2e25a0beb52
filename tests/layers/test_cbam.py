"""CBAM: released tensors in evaluation and training, closed forms."""

import torch
from golden.reader import assert_golden, assert_golden_layer, cases, load_official, official_name, read
from torch.testing import assert_close

from cclnn.layers import CBAM, ChannelGate, SpatialAttention

NAMES = {
    "channel.squeeze": "ChannelGate.mlp.1",
    "channel.excite": "ChannelGate.mlp.3",
    "spatial.conv": "SpatialGate.spatial.conv",
    "spatial.norm": "SpatialGate.spatial.bn",
}


def block_of(case):
    block = CBAM(case.params["C"], reduction=case.params["reduction_ratio"])
    load_official(case, block, NAMES)
    return block


@cases("cbam")
def test_golden_output_and_gradients(name):
    case = read(name)
    block = block_of(case).eval()
    assert_golden(block.channel(case["input.x"]), case["output.channel"], float32=1e-5)
    assert_golden_layer(case, block, NAMES)


@cases("cbam")
def test_golden_training_step(name):
    case = read(name)
    block = block_of(case).train()
    x = case["input.x"].requires_grad_()
    y = block(x)
    assert_golden(y, case["output.train.y"], float32=1e-5)
    after = block.state_dict()
    for kind in ("running_mean", "running_var"):
        expected = case[f"output.train.after.SpatialGate.spatial.bn.{kind}"]
        assert_golden(after[f"spatial.norm.{kind}"], expected, float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    assert_golden(x.grad, case["grad_train.x"], float32=1e-4)
    for key, parameter in block.named_parameters():
        expected = case[f"grad_train.state.{official_name(key, NAMES)}"]
        assert_golden(parameter.grad, expected.reshape(parameter.shape), float32=1e-4)


def test_channel_gate_sums_the_perceptrons_of_mean_and_maximum():
    gate = ChannelGate(6, reduction=2).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)

    def perceptron(v):
        hidden = (v @ gate.squeeze.weight.T + gate.squeeze.bias).clamp_min(0)
        return hidden @ gate.excite.weight.T + gate.excite.bias

    total = perceptron(x.mean(dim=(2, 3))) + perceptron(x.flatten(2).max(dim=2).values)
    assert_close(gate.gate(x)[:, :, 0, 0], 1 / (1 + (-total).exp()))
    assert_close(gate(x), x * gate.gate(x))


def test_spatial_attention_looks_at_maximum_then_mean():
    layer = SpatialAttention(kernel_size=1).double().eval()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([2.0, -3.0])[None, :, None, None])
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    score = (2 * x.max(dim=1, keepdim=True).values - 3 * x.mean(dim=1, keepdim=True)) / (1 + 1e-5) ** 0.5
    assert_close(layer.gate(x), score.sigmoid())
    assert_close(layer(x), x * score.sigmoid())


def test_parameters_are_those_of_the_released_block():
    for channels, expected in ((64, 680), (128, 2_284), (256, 8_564)):
        assert sum(parameter.numel() for parameter in CBAM(channels).parameters()) == expected


def test_batch_normalisation_has_the_released_momentum_and_no_bias_before_it():
    layer = SpatialAttention()
    assert layer.norm.momentum == 0.01
    assert layer.conv.bias is None


def test_messages(rejects):
    with rejects("`reduction`=16 must divide `channels`=30"):
        CBAM(30)
    with rejects("`kernel_size` must be odd and positive, got 4"):
        SpatialAttention(kernel_size=4)
    with rejects(r"`x` must have shape \(b c=32 h w\), got \(2, 16, 5, 7\)"):
        ChannelGate(32)(torch.rand(2, 16, 5, 7))
    with rejects(r"`x` must have shape \(b c h w\), got \(3, 5, 7\)"):
        SpatialAttention()(torch.rand(3, 5, 7))
