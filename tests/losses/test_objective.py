"""The training objective: mean absolute error, from the end of warm-up on also the blocks' losses."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.losses import CCLNNLoss


def images():
    return torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)


def test_warm_up_is_the_mean_absolute_error_alone():
    sr, hr = images()
    expected = (sr - hr).abs().mean()
    for epoch in (1, 2, 150):
        assert_close(CCLNNLoss()(sr, hr, torch.tensor(0.8), epoch=epoch), expected)


def test_after_warm_up_the_block_loss_counts_by_lambda():
    sr, hr = images()
    expected = (sr - hr).abs().mean() + 4e-3 * 0.8
    for epoch in (151, 1000):
        assert_close(CCLNNLoss()(sr, hr, torch.tensor(0.8), epoch=epoch), expected)
    assert_close(CCLNNLoss(weight=0.5, warmup=0)(sr, hr, torch.tensor(0.8), epoch=1), (sr - hr).abs().mean() + 0.4)


def test_block_loss_stays_in_the_graph_during_warm_up():
    """So that every parameter has a gradient, zero if need be, as distributed training wants."""
    sr, hr = images()
    block_loss = torch.tensor(0.8, requires_grad=True)
    CCLNNLoss(warmup=3)(sr, hr, block_loss, epoch=3).backward()
    assert block_loss.grad.item() == 0.0
    CCLNNLoss(warmup=3)(sr, hr, block_loss, epoch=4).backward()
    assert_close(block_loss.grad, torch.tensor(4e-3))


def test_gradients_equal_finite_differences():
    sr = torch.rand(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    block_loss = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    hr = (sr + torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)).detach()
    loss = CCLNNLoss(warmup=0, weight=0.3)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, hr, b, epoch=1), (sr, block_loss))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_images_are_compared_in_float32(low):
    sr, hr = images()
    loss = CCLNNLoss()(sr.to(low), hr, torch.tensor(0.8), epoch=1)
    assert loss.dtype == torch.float32
    assert_close(loss, (sr.to(low).float() - hr).abs().mean(), rtol=0, atol=0)


def test_messages(rejects):
    sr, hr = images()
    with rejects(r"`sr` and `hr` must have the same shape, got \(2, 3, 5, 7\) and \(2, 3, 5, 6\)"):
        CCLNNLoss()(sr, hr[..., :-1], torch.tensor(0.0), epoch=1)
    with rejects("`epoch` must be at least 1, got 0"):
        CCLNNLoss()(sr, hr, torch.tensor(0.0), epoch=0)
    with rejects("`weight` must be at least 0, got -0.1"):
        CCLNNLoss(weight=-0.1)
    with rejects("`weight` must be at least 0, got nan"):
        CCLNNLoss(weight=float("nan"))
    with rejects("`warmup` must be at least 0, got -1"):
        CCLNNLoss(warmup=-1)
