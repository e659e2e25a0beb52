"""DASR's layers: released tensors, one convolution per image and channel as a loop, the encoder."""

import torch
from golden.reader import assert_golden_layer, cases, load_official, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import DegradationAwareBlock, DegradationAwareConv, DegradationAwareGroup, DegradationEncoder

NAMES = {
    "kernel_hidden": "kernel.0",
    "kernel": "kernel.2",
    "conv": "conv",
    "squeeze": "ca.conv_du.0",
    "excite": "ca.conv_du.2",
}


@cases("dasr_daconv")
def test_golden_output_and_gradients(name):
    case = read(name)
    p = case.params
    layer = DegradationAwareConv(p["C"], kernel_size=p["kernel_size"], reduction=p["reduction"])
    load_official(case, layer, NAMES)
    assert_golden_layer(case, layer, NAMES, more=("v",))


def test_every_image_and_channel_has_a_kernel_of_its_own():
    layer = DegradationAwareConv(4, kernel_size=5, reduction=2).double()
    x, v = torch.randn(2, 4, 6, 7, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    made = layer.kernel(F.leaky_relu(layer.kernel_hidden(v), 0.1)).reshape(2, 4, 5, 5)
    filtered = torch.zeros_like(x)
    for image in range(2):
        for channel in range(4):
            plane, kernel = x[image, channel], made[image, channel]
            filtered[image, channel] = F.conv2d(plane[None, None], kernel[None, None], padding=2)[0, 0]
    gate = layer.excite(F.leaky_relu(layer.squeeze(v), 0.1)).sigmoid()
    expected = layer.conv(F.leaky_relu(filtered, 0.1)) + x * gate[:, :, None, None]
    assert_close(layer(x, v), expected)


def test_channels_last_gives_the_same():
    layer = DegradationAwareConv(8).double()
    x, v = torch.randn(2, 8, 5, 7, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    assert_close(layer(x.to(memory_format=torch.channels_last), v), layer(x, v))


def test_block_and_group_are_their_parts():
    group = DegradationAwareGroup(8, n_blocks=2).double()
    x, v = torch.randn(2, 8, 5, 7, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    deep = x
    for block in group.blocks:
        hidden = F.leaky_relu(block.aware1(deep, v), 0.1)
        hidden = F.leaky_relu(block.conv1(hidden), 0.1)
        deep = deep + block.conv2(F.leaky_relu(block.aware2(hidden, v), 0.1))
    assert_close(group(x, v), x + group.conv(deep))


def test_encoder_is_a_mean_over_pixels_of_six_convolutions():
    encoder = DegradationEncoder(4, hidden=5, features=6).double().train()
    x = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    strides = [module.stride[0] for module in encoder.body if isinstance(module, torch.nn.Conv2d)]
    assert strides == [1, 1, 2, 1, 2, 1]
    hidden = x
    for i in range(0, 18, 3):
        hidden = encoder.body[i](hidden)
        mean, spread = hidden.mean(dim=(0, 2, 3)), hidden.var(dim=(0, 2, 3), correction=0)
        hidden = F.leaky_relu((hidden - mean[:, None, None]) / (spread[:, None, None] + 1e-5).sqrt(), 0.1)
    features, embedding = encoder(x)
    assert_close(features, hidden.mean(dim=(2, 3)))
    assert_close(embedding, encoder.head[2](F.leaky_relu(encoder.head[0](features), 0.1)))


def test_parameters_are_those_of_the_released_layers():
    for kind, expected in ((DegradationAwareConv, 46_144), (DegradationAwareBlock, 166_144)):
        assert sum(parameter.numel() for parameter in kind(64).parameters()) == expected
    assert sum(parameter.numel() for parameter in DegradationEncoder().parameters()) == 1_278_784


def test_messages(rejects):
    layer = DegradationAwareConv(8)
    with rejects(r"`v` must have shape \(b=2 c=8\), got \(1, 8\)"):
        layer(torch.rand(2, 8, 5, 7), torch.rand(1, 8))
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(2, 4, 5, 7\)"):
        layer(torch.rand(2, 4, 5, 7), torch.rand(2, 8))
    with rejects("`kernel_size` must be odd and positive, got 2"):
        DegradationAwareConv(8, kernel_size=2)
    with rejects("`reduction`=8 must divide `channels`=12"):
        DegradationAwareConv(12)
    with rejects("`n_blocks` must be at least 1, got 0"):
        DegradationAwareGroup(8, n_blocks=0)
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(2, 1, 5, 7\)"):
        DegradationEncoder(4)(torch.rand(2, 1, 5, 7))
