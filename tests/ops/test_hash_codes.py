"""Spherical LSH: codes are the nearest signed axes, in float32, ties to the first."""

import pytest
import torch
from golden.reader import cases, read

from cclnn.ops import hash_codes
from cclnn.ops.sparse_attention.plan import hash_op


@cases("nlsa_hash")
def test_golden_codes(name):
    case = read(name)
    rounds, buckets = case.params["n_hashes"], case.params["hash_buckets"]
    codes = hash_codes(case["input.x"], case.rotations())
    offset = torch.arange(rounds)[:, None] * buckets  # the released code tells the rounds apart so
    assert torch.equal((codes + offset).flatten(1), case["output.codes"])


def test_codes_are_the_argmax_of_both_signs():
    embed, rotations = torch.randn(2, 37, 5), torch.randn(5, 3, 7)
    projected = torch.einsum("bne,erh->brnh", embed.double(), rotations.double())
    expected = torch.cat([projected, -projected], dim=-1).argmax(dim=-1)
    codes = hash_codes(embed, rotations)
    assert torch.equal(codes, expected)
    assert codes.dtype == torch.int64
    assert set(codes.unique().tolist()) == set(range(14))


def test_ties_take_the_first_index_of_both_signs():
    axes = torch.eye(3)[:, None]  # e=3, one round, p = embed
    embed = torch.tensor([[[1.0, 1.0, 0.0], [0.0, -2.0, 2.0], [-3.0, 0.0, -3.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]]])
    # [p, -p] of row 1 is (0 -2 2, 0 2 -2): the first 2 stands at index 2; of row 2 the first 3 stands at index 3
    assert hash_codes(embed, axes).tolist() == [[[0, 2, 3, 1, 0]]]


def test_zeros_have_code_zero():
    assert hash_codes(torch.zeros(2, 11, 5), torch.randn(5, 3, 4)).eq(0).all()


def test_float64_is_hashed_in_float32():
    """The two projections differ by less than float32 resolves, so that float32 sees a tie and takes the first."""
    embed = torch.tensor([[[1.0, 1.0 + 1e-12]]], dtype=torch.float64)
    axes = torch.eye(2)[:, None]
    assert hash_codes(embed, axes).tolist() == [[[0]]]
    assert torch.einsum("bne,erh->brnh", embed, axes.double()).argmax(-1).tolist() == [[[1]]]


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_low_precision_is_hashed_in_float32_also_under_autocast(low):
    embed, rotations = torch.randn(2, 101, 8).to(low), torch.randn(8, 4, 16)
    expected = hash_codes(embed.float(), rotations)
    assert torch.equal(hash_codes(embed, rotations), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hash_codes(embed, rotations), expected)


def test_codes_carry_no_gradient():
    assert not hash_codes(torch.randn(1, 7, 5, requires_grad=True), torch.randn(5, 2, 3)).requires_grad


@pytest.mark.parametrize("n", [1, 37, 5000])  # one block of tokens and two
@pytest.mark.parametrize("half", [1, 5, 7])
def test_half_uses_the_leading_axes_also_in_plain_operators(n, half):
    embed, rotations = torch.randn(2, n, 5), torch.randn(5, 3, 7)
    expected = hash_codes(embed, rotations[..., :half])
    assert torch.equal(hash_codes(embed, rotations, half=half), expected)
    assert torch.equal(hash_codes(embed, rotations, half=half, plain=True), expected)


def test_plain_operators_take_the_first_of_ties():
    embed = torch.tensor([[[1.0, 1.0, 0.0], [0.0, -2.0, 2.0], [-3.0, 0.0, -3.0], [0.0, 0.0, 0.0]]])
    axes = torch.eye(3)[:, None]
    assert torch.equal(hash_codes(embed, axes, plain=True), hash_codes(embed, axes))


def test_the_codes_have_the_strides_that_a_compiler_expects():
    arguments = (torch.randn(2, 37, 5), torch.randn(5, 3, 7), 4)
    checked = torch.library.opcheck(hash_op, arguments, test_utils=("test_schema", "test_faketensor"))
    assert set(checked.values()) == {"SUCCESS"}


def test_messages(rejects):
    embed, rotations = torch.randn(2, 7, 5), torch.randn(5, 2, 3)
    with rejects(r"`embed` must have shape \(b n e\), got \(7, 5\)"):
        hash_codes(embed[0], rotations)
    with rejects(r"`rotations` must have shape \(e=5 r axes\), got \(4, 2, 3\)"):
        hash_codes(embed, rotations[:4])
    with rejects(r"`rotations` must not be empty, got shape \(5, 0, 3\)"):
        hash_codes(embed, rotations[:, :0])
    with rejects(r"`embed` must not be empty, got shape \(2, 0, 5\)"):
        hash_codes(embed[:, :0], rotations)
    with rejects(r"`embed` must be a floating-point tensor, got torch\.int64", TypeError):
        hash_codes(embed.long(), rotations)
    with rejects("`half`=4 must be at most the axes of `rotations`, 3"):
        hash_codes(embed, rotations, half=4)
    with rejects("`half` must be at least 1, got 0"):
        hash_codes(embed, rotations, half=0)
