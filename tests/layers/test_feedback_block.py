"""SRFBN's feedback block: its equations written out, its state outside, sizes."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.layers import FeedbackBlock


def test_equations_of_three_groups_written_out():
    block = FeedbackBlock(4, n_groups=3, scale=3).double()
    x, hidden = torch.randn(2, 2, 4, 5, 7, dtype=torch.float64)

    def join(*maps):
        return torch.cat(maps, dim=1)

    low0 = block.compress_in(join(x, hidden))
    high1 = block.enlarge[0](low0)
    low1 = block.reduce[0](high1)
    high2 = block.enlarge[1](block.mix_low[0](join(low0, low1)))
    low2 = block.reduce[1](block.mix_high[0](join(high1, high2)))
    high3 = block.enlarge[2](block.mix_low[1](join(low0, low1, low2)))
    low3 = block.reduce[2](block.mix_high[1](join(high1, high2, high3)))
    assert_close(block(x, hidden), block.compress_out(join(low1, low2, low3)))


def test_without_a_hidden_state_the_input_stands_for_it():
    block = FeedbackBlock(4, n_groups=2)
    x = torch.randn(1, 4, 5, 7)
    assert torch.equal(block(x), block(x, x))
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_inner_features_are_scale_times_as_large(scale):
    block = FeedbackBlock(2, n_groups=1, scale=scale)
    shapes = []
    block.enlarge[0].register_forward_hook(lambda module, inputs, out: shapes.append(out.shape[2:]))
    for size in ((1, 1), (5, 7)):
        assert block(torch.rand(1, 2, *size)).shape[2:] == size
        assert shapes.pop() == tuple(scale * side for side in size)


def test_slopes_start_at_a_fifth():
    block = FeedbackBlock(2, n_groups=2)
    slopes = [module.weight for module in block.modules() if isinstance(module, torch.nn.PReLU)]
    assert len(slopes) == 2 + 2 + 2 + 2
    assert all(slope.item() == pytest.approx(0.2) for slope in slopes)


def test_messages(rejects):
    block = FeedbackBlock(4)
    with rejects("`scale` must be one of 2, 3, 4, 8, got 5"):
        FeedbackBlock(4, scale=5)
    with rejects("`n_groups` must be at least 1, got 0"):
        FeedbackBlock(4, n_groups=0)
    with rejects(r"`x` must have shape \(b c=4 h w\), got \(1, 3, 5, 7\)"):
        block(torch.rand(1, 3, 5, 7))
    with rejects(r"`hidden` must have the shape of `x`, \(1, 4, 5, 7\), got \(1, 4, 5, 6\)"):
        block(torch.rand(1, 4, 5, 7), torch.rand(1, 4, 5, 6))
