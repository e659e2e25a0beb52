"""Dense attention in blocks: the same as all scores at once, with gradients, in memory that does not grow with them."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.ops import dense_attention as attend
from cclnn.ops import largest_scores
from cclnn.ops.dense import WORKSPACE, blocks

SIZES = [(5, 5), (7, 13), (13, 4)]  # queries and keys
ONE_ROW, SOME_ROWS, TWO_IMAGES = 1, 29, 140  # numbers a block: below a row; some rows; whole images


def tokens(n, s, *, dtype=torch.float64, device="cpu"):
    shapes = (3, n, 6), (3, s, 6), (3, s, 10)
    return [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for shape in shapes]


def at_once(query, key, value, over):
    """All scores of a batch, as a formula."""
    scores = torch.einsum("bne,bse->bns", query, key)
    return torch.einsum("bns,bsd->bnd", scores.softmax(dim={"keys": 2, "queries": 1}[over]), value)


@pytest.mark.parametrize("workspace", [ONE_ROW, SOME_ROWS, TWO_IMAGES])
@pytest.mark.parametrize("over", ["keys", "queries"])
@pytest.mark.parametrize(("n", "s"), SIZES)
def test_blocks_give_what_all_scores_at_once_give(n, s, over, workspace, monkeypatch, device, dtype):
    monkeypatch.setattr("cclnn.ops.dense.WORKSPACE", workspace)
    inputs = tokens(n, s, dtype=dtype, device=device)
    cotangent = torch.randn(3, n, 10, dtype=dtype, device=device)
    results = []
    for function in (at_once, lambda *a: attend(*a[:3], over=a[3])):
        out = function(*inputs, over)
        results.append((out, *torch.autograd.grad((out * cotangent).sum(), inputs)))
    assert_close(results[1], results[0])


@pytest.mark.parametrize("over", ["keys", "queries"])
def test_gradients_equal_finite_differences(over, monkeypatch):
    monkeypatch.setattr("cclnn.ops.dense.WORKSPACE", SOME_ROWS)
    assert torch.autograd.gradcheck(lambda *a: attend(*a, over=over), tokens(4, 5))


def test_over_keys_is_torchs_attention_without_a_scale():
    query, key, value = tokens(7, 13)
    assert_close(attend(query, key, value), F.scaled_dot_product_attention(query, key, value, scale=1.0))


def test_over_queries_gives_away_each_value_once():
    """The weights of a key sum to one over the queries, so that the sum of all outputs is the sum of all values."""
    query, key, value = tokens(7, 13)
    assert_close(attend(query, key, value, over="queries").sum(dim=1), value.sum(dim=1))


@pytest.mark.parametrize("over", ["keys", "queries"])
def test_large_scores_do_not_overflow(over):
    query, key, value = tokens(7, 13, dtype=torch.float32)
    assert_close(attend(query * 300, key, value, over=over), at_once(query * 300, key, value, over))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("over", ["keys", "queries"])
def test_half_precision_is_summed_in_float32(low, over):
    inputs = [x.detach().to(low) for x in tokens(7, 13)]
    out = attend(*inputs, over=over)
    assert out.dtype == low
    expected = at_once(*(x.float() for x in inputs), over)
    assert_close(out.float(), expected, rtol=torch.finfo(low).eps, atol=1e-6)  # one rounding, of the result


@pytest.mark.parametrize("workspace", [ONE_ROW, SOME_ROWS, TWO_IMAGES])
def test_largest_scores_are_the_sorted_rows(workspace, monkeypatch, device, dtype):
    monkeypatch.setattr("cclnn.ops.dense.WORKSPACE", workspace)
    query, key, _ = tokens(7, 13, dtype=dtype, device=device)
    cotangent = torch.randn(3, 7, 4, dtype=dtype, device=device)
    rows = torch.einsum("bne,bse->bns", query, key).sort(dim=2, descending=True).values[..., :4]
    expected = (rows, *torch.autograd.grad((rows * cotangent).sum(), (query, key)))
    kept = largest_scores(query, key, count=4)
    assert_close((kept, *torch.autograd.grad((kept * cotangent).sum(), (query, key))), expected)


def test_every_row_of_every_image_is_in_one_block():
    for images, rows, width in ((3, 5, 7), (2, 3, WORKSPACE), (1, 3, WORKSPACE + 1), (5, 1000, 1500)):
        seen = torch.zeros(images, rows)
        for image, row in blocks(images, rows, width):
            seen[image, row] += 1
            assert seen[image, row].numel() * width <= max(WORKSPACE, width)
        assert seen.eq(1).all()


class Attend(torch.nn.Module):
    """Dense attention of an image's pixels with themselves."""

    def __init__(self, over):
        super().__init__()
        self.over = over

    def forward(self, x):
        q = x.flatten(2).mT.contiguous()
        return attend(q, q, q, over=self.over)


@pytest.mark.parametrize("over", ["keys", "queries"])
def test_memory_is_two_blocks_of_scores(over):
    """96x96 pixels: all scores would take 324 MiB."""
    peak = peak_memory(Attend(over), (96, 96))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < 2 * 4 * WORKSPACE + 16 * 2**20


@pytest.mark.parametrize("over", ["keys", "queries"])
def test_one_node_for_compilers(over):
    inputs = tokens(5, 7, dtype=torch.float32)
    torch.library.opcheck(
        torch.ops.cclnn.dense_attend.default,
        (*inputs, over == "queries"),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    torch.library.opcheck(
        torch.ops.cclnn.largest_scores.default,
        (*inputs[:2], 3),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_messages(rejects):
    query, key, value = tokens(5, 7)
    with rejects("`over` must be one of 'keys', 'queries', got 'query'"):
        attend(query, key, value, over="query")
    with rejects(r"`key` must have shape \(b=3 s e=6\), got \(3, 7, 5\)"):
        attend(query, key[..., :5], value)
    with rejects(r"`value` must have shape \(b=3 s=7 d\), got \(3, 6, 10\)"):
        attend(query, key, value[:, :6])
    with rejects("`query` must be a floating-point tensor, got torch.int64", TypeError):
        attend(query.long(), key, value)
    with rejects("`count`=8 must be at most the number of keys, 7"):
        largest_scores(query, key, count=8)
    with rejects("`count` must be at least 1, got 0"):
        largest_scores(query, key, count=0)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.gradgradcheck(attend, (query, key, value))
