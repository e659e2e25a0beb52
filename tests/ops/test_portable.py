"""Dense attentions in torch's own operators: the same as ours."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.ops import dense_attention, patch_attention
from cclnn.ops.portable import dense_attend, patch_attend


@pytest.mark.parametrize("over", ["keys", "queries"])
@pytest.mark.parametrize("low", [torch.float64, torch.float32, torch.float16], ids=str)
def test_dense_attention(over, low):
    q, k, v = (torch.randn(shape).to(low) for shape in ((2, 7, 3), (2, 5, 3), (2, 5, 4)))
    assert_close(dense_attend(q, k, v, over == "queries"), dense_attention(q, k, v, over=over))


@pytest.mark.parametrize("low", [torch.float64, torch.float32, torch.float16], ids=str)
def test_patch_attention(low):
    shapes = (3, 5, 7, 6), (3, 5, 3, 4), (3, 2, 3, 4), (3, 3, 4)
    q, k, v, weight = (torch.randn(shape).to(low) for shape in shapes)
    assert_close(patch_attend(q, k, v, weight), patch_attention(q, k, v, weight))
