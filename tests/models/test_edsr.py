"""EDSR: the trunk that all networks share, written out."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.models import EDSR


def test_is_head_body_with_long_skip_and_tail_around_the_mean():
    model = EDSR(2, channels=8, n_resblocks=2, res_scale=0.3).double().eval()
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    p = dict(model.named_parameters())

    def conv(features, name):
        return F.conv2d(features, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)

    mean = torch.tensor([0.4488, 0.4371, 0.4040]).double().reshape(3, 1, 1)
    features = conv(x - mean, "head")
    deep = features
    for i in range(2):
        deep = deep + 0.3 * conv(conv(deep, f"body.{i}.conv1").relu(), f"body.{i}.conv2")
    features = features + conv(deep, "body.2")
    expected = conv(F.pixel_shuffle(conv(features, "tail.0.0"), 2), "tail.1") + mean
    assert_close(model(x), expected)


def test_zero_weights_give_the_mean_colour():
    model = EDSR(3, channels=4, n_resblocks=1)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
    assert_close(model(torch.rand(2, 3, 5, 7)), mean.expand(2, 3, 15, 21))


def test_white_of_255_is_the_same_network_in_other_units():
    """With biases and mean 255 times as large, all features of a network for 0..255 are, and the image is the same."""
    model = EDSR(2, channels=8, n_resblocks=2).double().eval()
    other = EDSR(2, channels=8, n_resblocks=2, rgb_range=255.0).double().eval()
    state = model.state_dict()
    other.load_state_dict({key: 255 * state[key] if key.endswith("bias") else state[key] for key in state})
    x = torch.rand(1, 3, 5, 7, dtype=torch.float64)
    assert_close(other(x), model(x))
    assert_close(EDSR(2, channels=8, n_resblocks=2, rgb_range=255.0).sub_mean.bias, 255 * model.sub_mean.bias.float())
