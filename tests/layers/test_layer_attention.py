"""HAN's attentions: released tensors, closed forms, and the softmax that takes the least similar map."""

import torch
from golden.reader import assert_golden_layer, cases, load_official, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import ChannelSpatialAttention, LayerAttention


@cases("han_lam")
def test_golden_layer_attention(name):
    case = read(name)
    layer = LayerAttention()
    names = {"gamma": "gamma"}
    load_official(case, layer, names)
    assert_golden_layer(case, layer, names)


@cases("han_csam")
def test_golden_channel_spatial_attention(name):
    case = read(name)
    layer = ChannelSpatialAttention()
    names = {"gamma": "gamma", "conv": "conv"}
    load_official(case, layer, names)
    assert_golden_layer(case, layer, names)


def test_shares_are_largest_for_the_least_similar_map():
    """Orthogonal maps of one image: each is most like itself, so that it gets the smallest share."""
    maps = torch.eye(3).reshape(1, 3, 1, 1, 3)
    shares = LayerAttention().shares(maps)[0]
    low = 1 / (1 + 2 * torch.e)
    assert_close(shares, torch.full((3, 3), torch.e * low) + torch.eye(3) * (low - torch.e * low))


def test_shares_are_nearly_one_hot_for_features_of_usual_size():
    """No scale: 64 channels of 24x24 pixels of unit variance have products of the order of 200 and more."""
    shares = LayerAttention().shares(torch.randn(1, 11, 64, 24, 24))
    assert shares.amax(dim=2).gt(0.999).float().mean() > 0.8


def test_shares_depend_on_the_number_of_pixels():
    maps = torch.randn(1, 3, 2, 1, 1) / 4
    shares = LayerAttention().shares
    assert shares(maps.expand(-1, -1, -1, 8, 8)).amax() > shares(maps).amax() + 0.1


def test_half_precision_does_not_overflow():
    """Products of 1e6, beyond float16's 65,504."""
    maps = torch.full((1, 2, 1, 10, 10), 100.0, dtype=torch.float16)
    layer = LayerAttention(dtype=torch.float16)
    assert_close(layer.shares(maps), torch.full((1, 2, 2), 0.5))
    assert torch.equal(layer(maps), maps)


def test_both_start_as_the_identity():
    maps = torch.randn(2, 4, 3, 5, 7)
    assert torch.equal(LayerAttention()(maps), maps)
    assert torch.equal(ChannelSpatialAttention()(maps[:, 0]), maps[:, 0])


def test_channel_spatial_gate_sees_neighbouring_channels():
    layer = ChannelSpatialAttention().double()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    padded = F.pad(x, (1,) * 6)
    gate = sum(
        layer.conv.weight[0, c, i, j] * padded[:, c : c + 4, i : i + 5, j : j + 3]
        for c in range(3)
        for i in range(3)
        for j in range(3)
    )
    assert_close(layer(x), x * (1 + 0.7 * (gate + layer.conv.bias).sigmoid()))


def test_channels_last_gives_the_same():
    """A kernel of five axes would have no such layout."""
    layer, x = ChannelSpatialAttention(), torch.randn(2, 4, 5, 3)
    torch.nn.init.ones_(layer.gamma)
    expected = layer(x)
    layer.to(memory_format=torch.channels_last)
    assert_close(layer(x.to(memory_format=torch.channels_last)), expected)


def test_messages(rejects):
    with rejects(r"`maps` must have shape \(b m c h w\), got \(2, 3, 5, 7\)"):
        LayerAttention()(torch.rand(2, 3, 5, 7))
    with rejects(r"`x` must have shape \(b c h w\), got \(3, 5, 7\)"):
        ChannelSpatialAttention()(torch.rand(3, 5, 7))
