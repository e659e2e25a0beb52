"""The channel contrastive loss: golden values, extremes, gradients, errors."""

import math

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch.testing import assert_close

from cclnn.losses import ChannelContrastiveLoss, channel_contrastive_loss, channel_sparsity_loss


def closed_form(weights, k, margin):
    ordered = weights.double().sort(dim=1, descending=True).values
    ratio = ordered[:, :k].exp().mean(dim=1) / ordered[:, -k:].exp().mean(dim=1)
    return (margin - ratio.log()).mean()


@cases("cclloss")
def test_golden_losses_and_gradient(name):
    case = read(name)
    weights, ratio, margin = case["input.w_ca"].requires_grad_(), case.params["n"], case.params["b"]
    loss = channel_contrastive_loss(weights, ratio=ratio, margin=margin)
    assert_close(loss, case["output.floor.mean"], rtol=0, atol=1e-12)
    total = channel_contrastive_loss(weights, ratio=ratio, margin=margin, reduction="sum")
    assert_close(total, case["output.floor.sumC"], rtol=1e-12, atol=1e-12 * weights.shape[1])
    assert_close(channel_sparsity_loss(weights), case["output.l1_sparse"], rtol=0, atol=1e-12)
    loss.backward()
    assert_golden(weights.grad, case["grad.floor.mean.w_ca"], float32=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("channels", [7, 16, 64, 128, 256])
@pytest.mark.parametrize("ratio", [0.10, 0.15, 0.49])
def test_extremes_are_exactly_zero_and_one(ratio, channels, dtype):
    half = channels // 2
    separated = torch.cat([torch.ones(2, channels - half), torch.zeros(2, half)], dim=1).to(dtype)
    assert channel_contrastive_loss(separated[:, torch.randperm(channels)], ratio=ratio).item() == 0.0
    for value in (0.0, 0.3, 1.0):
        equal = torch.full((3, channels), value, dtype=dtype)
        assert channel_contrastive_loss(equal, ratio=ratio).item() == 1.0


def test_lies_between_zero_and_one_for_weights_in_that_range():
    for _ in range(50):
        assert 0 <= channel_contrastive_loss(torch.rand(3, 23)).item() <= 1


@pytest.mark.parametrize(
    ("channels", "ratio", "k"),
    [(3, 0.15, 1), (13, 0.15, 1), (14, 0.15, 2), (64, 0.15, 9), (64, 0.10, 6), (256, 0.15, 38), (100, 0.29, 29)],
)
def test_counts_floor_of_the_share_but_one_at_least(channels, ratio, k):
    """0.29 * 100 is 28.999999999999996 in floating point, and still 29 channels."""
    weights = torch.rand(5, channels, dtype=torch.float64)
    assert_close(channel_contrastive_loss(weights, ratio=ratio), closed_form(weights, k, 1.0))
    assert abs(closed_form(weights, k, 1.0) - closed_form(weights, k + 1, 1.0)) > 1e-4 or channels < 4


def test_margin_is_added_and_sum_is_a_factor_of_channels():
    weights = torch.rand(3, 20, dtype=torch.float64)
    assert_close(channel_contrastive_loss(weights, margin=0.25), closed_form(weights, 3, 0.25))
    assert_close(channel_contrastive_loss(weights, reduction="sum"), 20 * closed_form(weights, 3, 1.0))


def test_is_the_mean_over_images():
    weights = torch.rand(3, 20, dtype=torch.float64)
    alone = [channel_contrastive_loss(weights[i : i + 1]) for i in range(3)]
    assert_close(channel_contrastive_loss(weights), torch.stack(alone).mean())


def test_gradients_equal_finite_differences():
    weights = torch.linspace(0, 1, 26, dtype=torch.float64)[torch.randperm(26)].reshape(2, 13).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: channel_contrastive_loss(w, ratio=0.3, margin=0.7), (weights,))


def test_only_the_compared_channels_get_a_gradient():
    weights = torch.tensor([[0.9, 0.1, 0.5, 0.8, 0.2]], requires_grad=True)
    channel_contrastive_loss(weights, ratio=0.4).backward()
    assert (weights.grad.sign() == torch.tensor([[-1.0, 1.0, 0.0, -1.0, 1.0]])).all()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_weights_give_a_float32_loss(low):
    weights = torch.rand(2, 31).to(low)
    loss = channel_contrastive_loss(weights)
    assert loss.dtype == torch.float32
    assert_close(loss, channel_contrastive_loss(weights.float()), rtol=0, atol=0)


def test_large_weights_do_not_overflow():
    """exp(1e4) is infinite; the loss of weights 1e4 and -1e4 is 1 - 2e4."""
    weights = torch.tensor([[1e4, 0.0, -1e4]])
    assert channel_contrastive_loss(weights).item() == 1 - 2e4


def test_module_equals_function():
    weights = torch.rand(2, 20)
    module = ChannelContrastiveLoss(ratio=0.2, margin=0.5, reduction="sum")
    assert torch.equal(module(weights), channel_contrastive_loss(weights, ratio=0.2, margin=0.5, reduction="sum"))
    assert torch.equal(ChannelContrastiveLoss()(weights), channel_contrastive_loss(weights))


@pytest.mark.parametrize("ratio", [0.0, -0.1, 0.5, 0.7, math.nan])
def test_impossible_ratios_are_rejected(ratio, rejects):
    text = f"`ratio` must lie strictly between 0 and 0.5, got {ratio}"
    with rejects(text):
        channel_contrastive_loss(torch.rand(2, 20), ratio=ratio)
    with rejects(text):
        ChannelContrastiveLoss(ratio=ratio)


def test_messages(rejects):
    with rejects(r"`weights` must have shape \(b c\), got \(2, 20, 1, 1\)"):
        channel_contrastive_loss(torch.rand(2, 20, 1, 1))
    with rejects(r"`weights` must not be empty, got shape \(2, 0\)"):
        channel_contrastive_loss(torch.rand(2, 0))
    with rejects("`weights` needs at least 2 channels to compare, got 1"):
        channel_contrastive_loss(torch.rand(2, 1))
    with rejects("`reduction` must be one of 'mean', 'sum', got 'none'"):
        channel_contrastive_loss(torch.rand(2, 20), reduction="none")
    with rejects("`reduction` must be one of 'mean', 'sum', got 'none'"):
        ChannelContrastiveLoss(reduction="none")
    with rejects(r"`weights` must be a floating-point tensor, got torch\.int64", TypeError):
        channel_contrastive_loss(torch.ones(2, 20, dtype=torch.long))
