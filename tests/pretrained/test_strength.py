"""Weights between two sets of weights."""

import pytest
import torch
from torch.testing import assert_close

import cclnn
from cclnn.pretrained.strength import interpolate


def edsr(seed, **options):
    torch.manual_seed(seed)
    return cclnn.EDSR(2, channels=8, **{"n_resblocks": 1, **options})


@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_every_weight_lies_on_the_line_between(strength):
    first, second = edsr(0), edsr(1).train()
    before = {name: x.clone() for name, x in first.state_dict().items()}
    between = interpolate(first, second, strength)
    assert not between.training
    assert between.config == first.config
    for name, x in between.state_dict().items():
        assert_close(x, (1 - strength) * first.state_dict()[name] + strength * second.state_dict()[name])
    assert all(torch.equal(x, before[name]) for name, x in first.state_dict().items())
    assert second.training


def test_the_ends_are_the_models_themselves():
    x = torch.rand(1, 3, 7, 5)
    first, second = edsr(0).eval(), edsr(1).eval()
    with torch.no_grad():
        assert torch.equal(interpolate(first, second, 0)(x), first(x))
        assert_close(interpolate(first, second, 1)(x), second(x))


def test_messages(rejects):
    with rejects("`strength` must lie between 0 and 1, got 1.5"):
        interpolate(edsr(0), edsr(1), 1.5)
    with rejects("models between which weights are interpolated must be built alike, got EDSR .* and EDSR"):
        interpolate(edsr(0), edsr(1, n_resblocks=2), 0.5)
