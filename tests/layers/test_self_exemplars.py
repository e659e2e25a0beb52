"""Multi-source fusion and the self-exemplars mining cell: their equations written out, sizes of any kind."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.layers import MultiSourceFusion, SelfExemplarsMining


@pytest.mark.parametrize("scale", [2, 3])
def test_fusion_is_a_residual_block_of_the_difference_added_to_the_other_branch(scale):
    """As the paper draws it; `down` cancels."""
    fusion = MultiSourceFusion(4, scale=scale).double()
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    down, up = fusion.enlarge(fusion.in_scale(x)), fusion.cross_scale(x)
    error = up - down
    assert_close(fusion(x), down + (fusion.conv2(fusion.conv1(error)) + error))


@pytest.mark.parametrize("scale", [2, 3])
def test_cell_of_one_stage_written_out(scale):
    cell = SelfExemplarsMining(4, scale=scale).double()
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    fused = cell.fuse[0](x)
    large = fused + cell.enlarge[0](x - cell.reduce[0](fused))
    assert_close(cell(x), (cell.post(cell.back(large)), large))


def test_cell_of_two_stages_written_out():
    """The second stage works on the first one's result, and compares with the same x."""
    cell = SelfExemplarsMining(4, scale=4).double()
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    fused = cell.fuse[0](x)
    twice = fused + cell.enlarge[0](x - cell.reduce[0](fused))
    assert twice.shape[2:] == (10, 14)
    fused = cell.fuse[1](twice)
    large = fused + cell.enlarge[1](x - cell.reduce[1](fused))
    assert_close(cell(x), (cell.post(cell.back(large)), large))


@pytest.mark.parametrize(("scale", "kernels"), [(2, [6]), (3, [9]), (4, [6, 8])])
def test_kernels_are_those_of_the_released_code(scale, kernels):
    cell = SelfExemplarsMining(2, scale=scale)
    assert [part[0].kernel_size[0] for part in cell.reduce] == kernels
    assert [part[0].kernel_size[0] for part in cell.enlarge] == kernels
    assert cell.back[0].kernel_size[0] == kernels[-1]
    assert {fuse.enlarge[0].kernel_size[0] for fuse in cell.fuse} == {kernels[0]}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 7), (6, 8)])
def test_any_size(scale, size):
    x, large = SelfExemplarsMining(2, scale=scale)(torch.rand(2, 2, *size))
    assert x.shape == (2, 2, *size)
    assert large.shape == (2, 2, scale * size[0], scale * size[1])


def test_slopes_start_at_a_quarter():
    slopes = [part.weight for part in SelfExemplarsMining(2, scale=4).modules() if isinstance(part, torch.nn.PReLU)]
    assert len(slopes) == 2 * (6 + 2 + 2) + 2
    assert all(slope.item() == 0.25 for slope in slopes)


def test_messages(rejects):
    with rejects("`scale` must be one of 2, 3, got 4"):
        MultiSourceFusion(4, scale=4)
    with rejects("`scale` must be one of 2, 3, 4, got 8"):
        SelfExemplarsMining(4, scale=8)
    for kind in (MultiSourceFusion, SelfExemplarsMining):
        with rejects("`channels` must be at least 1, got 0"):
            kind(0)
        with rejects("`reduction`=2 must divide `channels`=5"):
            kind(5)
        with rejects(r"`x` must have shape \(b c=4 h w\), got \(1, 3, 5, 7\)"):
            kind(4)(torch.rand(1, 3, 5, 7))
