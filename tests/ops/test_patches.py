"""Attention between patches: the same as patches cut out and pasted, with gradients, in memory that does not grow."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.ops import patch_attention
from cclnn.ops.patches import WORKSPACE, query_blocks

ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-5}
ONE_QUERY, SOME_QUERIES, TWO_IMAGES = 1, 900, 5000  # numbers a block: below one query; a part of an image; images


def maps(*, dtype=torch.float64, device="cpu"):
    shapes = (3, 5, 7, 6), (3, 5, 3, 4), (3, 2, 3, 4), (3, 3, 4)
    query, key, value, weight = (torch.randn(shape, dtype=dtype, device=device) for shape in shapes)
    return [x.requires_grad_() for x in (query, key, value, weight.abs() + 0.1)]


def cut_out(query, key, value, weight):
    """Every patch cut out, all scores at once, every patch pasted."""
    queries, keys, values = (F.unfold(x, 3, padding=1) for x in (query, key, value))
    scores = torch.einsum("ben,bes->bns", queries, keys) * weight.flatten(1)[:, None]
    return F.fold(torch.einsum("bns,bds->bdn", scores.softmax(dim=2), values), query.shape[2:], 3, padding=1)


@pytest.mark.parametrize("workspace", [ONE_QUERY, SOME_QUERIES, TWO_IMAGES, WORKSPACE])
def test_is_attention_of_patches_cut_out_and_pasted(workspace, monkeypatch, device, dtype):
    monkeypatch.setattr("cclnn.ops.patches.WORKSPACE", workspace)
    inputs = maps(dtype=dtype, device=device)
    cotangent = torch.randn(3, 2, 7, 6, dtype=dtype, device=device)
    results = []
    for function in (cut_out, patch_attention):
        out = function(*inputs)
        results.append((out, *torch.autograd.grad((out * cotangent).sum(), inputs)))
    for actual, expected in zip(*reversed(results), strict=True):
        assert_close(actual, expected, rtol=0, atol=ROUNDING[dtype] * expected.abs().max().item())


def test_gradients_equal_finite_differences(monkeypatch):
    monkeypatch.setattr("cclnn.ops.patches.WORKSPACE", SOME_QUERIES)
    query, key, value, weight = (x.detach() for x in maps())
    inputs = [x.requires_grad_() for x in (query[:2, :2, :3, :4], key[:2, :2, :2], value[:2, :1, :2], weight[:2, :2])]
    assert torch.autograd.gradcheck(patch_attention, inputs)


def test_one_key_is_pasted_everywhere():
    """A hand-worked case: the only patch holds one value, in its centre, and every query takes it."""
    query, key = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 1, 1)
    out = patch_attention(query, key, torch.full((1, 3, 1, 1), 5.0), torch.ones(1, 1, 1))
    assert torch.equal(out, torch.full((1, 3, 4, 5), 5.0))


def test_constant_values_show_how_many_patches_meet():
    """With equal scores and values of 1: 9 patches meet inside, 6 along an edge, 4 in a corner."""
    size = 40
    out = patch_attention(torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, size, size), *ones(size))[0, 0]
    inside = (3 * size - 2) ** 2 / size**2  # sum over offsets of the share of keys that have this neighbour
    assert_close(out[2, 2], torch.tensor(inside))
    assert out[0, 0] < out[0, 2] < out[2, 2]


def ones(size):
    return torch.ones(1, 1, size, size), torch.ones(1, size, size)


def test_every_query_is_in_one_block():
    shapes = [((3, 1, 5, 7), (3, 1, 4, 4)), ((2, 1, 3, 5), (2, 1, 3000, 3000)), ((1, 1, 100, 90), (1, 1, 50, 50))]
    for query, key in shapes:
        seen = torch.zeros(query)
        for block in query_blocks(query, key):
            seen[block.inner] += 1
            rows, columns = (side.stop - side.start + 2 for side in (block.rows, block.columns))
            images = block.images.stop - block.images.start
            numbers = images * rows * columns * (key[2] + 2) * (key[3] + 2)
            assert numbers <= WORKSPACE or images * rows * columns == 9
        assert seen.eq(1).all()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_summed_in_float32(low):
    inputs = [x.detach().to(low) for x in maps()]
    out = patch_attention(*inputs)
    assert out.dtype == low
    exact = cut_out(*(x.float() for x in inputs))
    assert (out.float() - exact).abs().max() <= torch.finfo(low).eps * exact.abs().max()


class Attend(torch.nn.Module):
    """Patches of an image with those of a quarter of it; forward, or forward and backward."""

    def __init__(self, backward):
        super().__init__()
        self.backward = backward

    def forward(self, x):
        query = x.requires_grad_(self.backward)
        small = query[..., ::2, ::2].contiguous()
        with torch.set_grad_enabled(self.backward):
            out = patch_attention(query, small, small, torch.ones_like(small[:, 0]))
            if self.backward:
                out.sum().backward()
        return out.detach()


@pytest.mark.parametrize(("backward", "blocks"), [(False, 2), (True, 4)], ids=["forward", "backward"])
def test_memory_is_two_blocks_of_scores_forward_and_four_backward(backward, blocks):
    """128x128 pixels: all scores would take 268 MB, and each sum along their diagonals as much again."""
    peak = peak_memory(Attend(backward), (128, 128))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < blocks * 4 * WORKSPACE + 40 * 2**20


def test_one_node_for_compilers():
    torch.library.opcheck(
        torch.ops.cclnn.patch_attend.default,
        maps(dtype=torch.float32),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_messages(rejects):
    query, key, value, weight = maps()
    with rejects(r"`key` must have shape \(b=3 e=5 hk wk\), got \(3, 4, 3, 4\)"):
        patch_attention(query, key[:, :4], value, weight)
    with rejects(r"`value` must have shape \(b=3 d hk=3 wk=4\), got \(3, 2, 2, 4\)"):
        patch_attention(query, key, value[:, :, :2], weight)
    with rejects(r"`weight` must have shape \(b=3 hk=3 wk=4\), got \(3, 3, 3\)"):
        patch_attention(query, key, value, weight[..., :3])
    with rejects("`query` must be a floating-point tensor, got torch.int64", TypeError):
        patch_attention(query.long(), key, value, weight)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.gradgradcheck(patch_attention, (query, key, value, weight))
