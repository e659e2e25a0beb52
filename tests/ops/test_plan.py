"""The plan: a stable sort, whole chunks, a place for every token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cclnn.ops import make_plan
from cclnn.ops.sparse_attention import plan_from_order
from cclnn.ops.sparse_attention.plan import sort_op


def test_hand_worked_plan_with_copies():
    """Tokens 1 and 3 (code 0), 0 and 4 (code 1), 2 (code 2); the 6th slot repeats the last token."""
    plan = make_plan(torch.tensor([[[1, 0, 2, 0, 1]]]), chunk_size=3)
    assert plan.slots.tolist() == [[[1, 3, 0, 4, 2, 2]]]
    assert plan.where.tolist() == [[[2, 0, 4, 1, 3]]]
    assert plan.chunk == 3


def test_copies_repeat_the_last_tokens_in_order():
    """7 tokens in chunks of 4 need one copy, in chunks of 5 three: the last three, in the same order."""
    codes = torch.tensor([[[6, 5, 4, 3, 2, 1, 0]]])
    assert make_plan(codes, chunk_size=4).slots.tolist() == [[[6, 5, 4, 3, 2, 1, 0, 0]]]
    assert make_plan(codes, chunk_size=5).slots.tolist() == [[[6, 5, 4, 3, 2, 1, 0, 2, 1, 0]]]


@pytest.mark.parametrize("n", [17, 101, 5003])
def test_equal_codes_keep_their_order(n):
    codes = torch.randint(0, 3, (2, 3, n))
    plan = make_plan(codes, chunk_size=13)
    sorted_keys = (codes * n + torch.arange(n)).sort(dim=-1).values  # unique keys: no tie to break
    assert torch.equal(plan.slots[..., :n], sorted_keys % n)


@pytest.mark.parametrize("codes", [[3, 256, 3, 255, 0, 256], [70000, 1, 65536, 65535, 1], [0, -1, 5, -300, -1]])
def test_any_integers_are_sorted(codes):
    """One byte, two bytes and the rest take different ways on a CPU; the oracle is Python's own stable sort."""
    order = sorted(range(len(codes)), key=codes.__getitem__)
    assert make_plan(torch.tensor([[codes]]), chunk_size=1).slots.tolist() == [[order]]


@pytest.mark.parametrize("n", [1, 2, 7, 143])
def test_fewer_tokens_than_a_chunk_are_one_chunk_of_those_tokens(n):
    plan = make_plan(torch.randint(0, 4, (2, 3, n)), chunk_size=144)
    assert plan.chunk == n
    assert plan.slots.shape == (2, 3, n)


@given(
    b=st.integers(1, 3),
    r=st.integers(1, 4),
    n=st.integers(1, 97),
    m=st.integers(1, 31),
    buckets=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150)
def test_a_plan_places_every_token(b, r, n, m, buckets, seed):
    codes = torch.randint(0, buckets, (b, r, n), generator=torch.Generator().manual_seed(seed))
    plan = make_plan(codes, chunk_size=m)
    slots = plan.slots.shape[-1]
    assert plan.chunk == min(m, n)
    assert slots % plan.chunk == 0
    assert slots - n < plan.chunk
    assert torch.equal(plan.slots[..., :n].sort(dim=-1).values, torch.arange(n).expand(b, r, n))
    assert torch.equal(plan.slots.gather(-1, plan.where), torch.arange(n).expand(b, r, n))
    assert plan.where.max() < n  # a token's place is never a copy
    in_order = codes.gather(-1, plan.slots[..., :n])
    assert (in_order.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("largest", [7, 300, 70_000])  # sorted as 8 bits, as 16, by torch
@pytest.mark.parametrize("chunk_size", [4, 11, 13])
def test_the_plan_has_the_strides_that_a_compiler_expects(largest, chunk_size):
    """Codes with rounds before images: compiled code reads the plan by the strides of the fake."""
    codes = torch.randint(largest + 1, (3, 2, 11), generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    checked = torch.library.opcheck(sort_op, (codes, chunk_size), test_utils=("test_schema", "test_faketensor"))
    assert set(checked.values()) == {"SUCCESS"}
    assert all(x.is_contiguous() for x in sort_op(codes, chunk_size))


@given(b=st.integers(1, 3), r=st.integers(1, 3), n=st.integers(1, 97), m=st.integers(1, 31), seed=st.integers(0, 2**31))
@settings(max_examples=100)
def test_plain_operators_make_the_same_plan(b, r, n, m, seed):
    codes = torch.randint(-3, 9, (b, r, n), generator=torch.Generator().manual_seed(seed))
    plan, plain = (make_plan(codes, chunk_size=m, plain=plain) for plain in (False, True))
    assert torch.equal(plan.slots, plain.slots)
    assert torch.equal(plan.where, plain.where)
    assert plan.chunk == plain.chunk


def test_plan_from_order_takes_the_order_as_it_is():
    order = torch.tensor([[[3, 0, 2, 1], [1, 2, 3, 0]]])
    plan = plan_from_order(order, chunk_size=2)
    assert torch.equal(plan.slots, order)
    assert plan.where.tolist() == [[[1, 3, 2, 0], [3, 0, 1, 2]]]


def test_messages(rejects):
    codes = torch.zeros(1, 2, 5, dtype=torch.long)
    with rejects(r"`codes` must have shape \(b r n\), got \(2, 5\)"):
        make_plan(codes[0], chunk_size=3)
    with rejects(r"`codes` must not be empty, got shape \(1, 2, 0\)"):
        make_plan(codes[..., :0], chunk_size=3)
    with rejects("`chunk_size` must be at least 1, got 0"):
        make_plan(codes, chunk_size=0)
    for wrong in (codes.float(), codes.bool()):
        with rejects(f"`codes` must be an integer tensor, got {wrong.dtype}", TypeError):
            make_plan(wrong, chunk_size=3)
