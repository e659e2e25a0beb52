"""The L1 sparsity loss (its golden values are checked beside those of the contrastive loss)."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.losses import ChannelSparsityLoss, channel_sparsity_loss


def test_is_the_mean_magnitude():
    assert channel_sparsity_loss(torch.tensor([[1.0, -0.5, 0.0], [0.25, 0.25, -1.0]])).item() == 0.5


def test_extremes_are_exact():
    assert channel_sparsity_loss(torch.zeros(2, 7)).item() == 0.0
    assert channel_sparsity_loss(torch.ones(2, 7)).item() == 1.0


def test_gradients_equal_finite_differences():
    weights = torch.tensor([[0.4, -0.9, 0.2], [1.3, -0.1, 0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(channel_sparsity_loss, (weights,))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_weights_give_a_float32_loss(low):
    weights = torch.rand(3, 1001).to(low)
    loss = channel_sparsity_loss(weights)
    assert loss.dtype == torch.float32
    assert_close(loss, weights.double().mean().float())


def test_module_equals_function():
    weights = torch.randn(2, 7)
    assert torch.equal(ChannelSparsityLoss()(weights), channel_sparsity_loss(weights))


def test_messages(rejects):
    with rejects(r"`weights` must have shape \(b c\), got \(7,\)"):
        channel_sparsity_loss(torch.rand(7))
    with rejects(r"`weights` must not be empty, got shape \(2, 0\)"):
        channel_sparsity_loss(torch.rand(2, 0))
    with rejects(r"`weights` must be a floating-point tensor, got torch\.bool", TypeError):
        channel_sparsity_loss(torch.ones(2, 7, dtype=torch.bool))
