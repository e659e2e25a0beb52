"""Every backend must reproduce reference.attend: outputs and gradients, on awkward sizes and extreme values."""

import pytest
import torch
from half_precision import (
    EXTREMES,
    assert_as_good,
    assert_averages,
    assert_no_less_finite,
    cotangent,
    extreme,
    one_rounding,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

import cclnn.ops.sparse_attention
from cclnn.ops import hash_codes, lsh_attention, make_plan
from cclnn.ops.sparse_attention import chunked, reference, why_not

FAST = ["chunked", "portable"]  # "fused" has a file of its own
ALL = ["reference", *FAST]
# n m r: one chunk, exact, padded, two chunks, one token, two tokens, chunks of one, all but one slot a copy
SIZES = [(5, 8, 1), (48, 16, 2), (53, 16, 4), (20, 16, 3), (1, 7, 2), (2, 1, 3), (11, 1, 2), (101, 13, 4), (33, 32, 2)]


def case(n, m, r, *, b=2, c=6, d=10, scale=1.0, device="cpu", dtype=torch.float64):
    g = torch.Generator().manual_seed(1000 * n + 10 * m + r)
    q = scale * torch.randn(b, n, c, generator=g, dtype=torch.float64)
    v = torch.randn(b, n, d, generator=g, dtype=torch.float64)
    rotations = torch.randn(c, r, 4, generator=g)
    q, v = q.to(device, dtype), v.to(device, dtype)
    return q, v, make_plan(hash_codes(q, rotations.to(device)), chunk_size=m)


def run(backend, q, v, plan):
    """Output and gradients, for a cotangent that is not constant."""
    a, b = q.detach().clone().requires_grad_(), v.detach().clone().requires_grad_()
    out = lsh_attention(a, b, plan, backend=backend)
    return (out.detach(), *torch.autograd.grad((out * cotangent(out)).sum(), (a, b)))


def assert_backends_agree(backend, q, v, plan, **tolerance):
    expected = run("reference", q, v, plan)
    assert all(tensor.isfinite().all() for tensor in expected)
    assert_close(run(backend, q, v, plan), expected, **tolerance)


@pytest.mark.parametrize("b", [1, 2, 3])
@pytest.mark.parametrize(("n", "m", "r"), SIZES)
@pytest.mark.parametrize("backend", FAST)
def test_matches_reference(backend, device, n, m, r, b):
    assert_backends_agree(backend, *case(n, m, r, b=b, device=device), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("n", "m", "r"), SIZES)
@pytest.mark.parametrize("backend", FAST)
def test_matches_reference_in_float32(backend, device, n, m, r):
    assert_backends_agree(backend, *case(n, m, r, device=device, dtype=torch.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("workspace", [1, 3 * 16 * 16 * 2, 3 * 16 * 16 * 5])
@pytest.mark.parametrize(("n", "m", "r"), SIZES)
def test_chunked_matches_reference_in_groups_of_any_size(monkeypatch, n, m, r, workspace):
    monkeypatch.setattr(chunked, "WORKSPACE", workspace)
    assert_backends_agree("chunked", *case(n, m, r, b=3), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("c", "d"), [(1, 3), (7, 1), (3, 64), (64, 3)])
def test_matches_reference_at_other_widths(backend, c, d):
    assert_backends_agree(backend, *case(53, 16, 2, c=c, d=d), rtol=1e-10, atol=1e-10)


@given(
    n=st.integers(1, 61), m=st.integers(1, 19), r=st.integers(1, 3), b=st.integers(1, 3), scale=st.floats(1e-6, 50.0)
)
@settings(max_examples=60)
def test_chunked_matches_reference_on_any_size(n, m, r, b, scale):
    assert_backends_agree("chunked", *case(n, m, r, b=b, c=3, d=5, scale=scale), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("norm", [200.0, 1e4])
def test_matches_reference_with_huge_scores(backend, norm):
    q, v, plan = case(53, 16, 3)
    q = norm * F.normalize(q, dim=-1)
    assert_backends_agree(backend, q, v, plan, rtol=1e-9, atol=1e-9)
    out, *gradients = run(backend, q.float(), v.float(), plan)
    assert_close(out, run("reference", q, v, plan)[0].float(), rtol=0, atol=3e-7 * norm)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", FAST)
def test_output_is_an_average_of_values_with_norms_beyond_the_range_of_exp(backend, low):
    """exp(1e4) overflows every dtype, and low precision cannot even represent the bound |q_i| exactly."""
    q, v, plan = case(53, 16, 3)
    q, v = (1e4 * F.normalize(q, dim=-1)).to(low), v.to(low)
    out, *gradients = run(backend, q, v, plan)
    assert_averages(out, v)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("tiny", [0.0, 1e-9, 4.9e-5, 5.1e-5, 1e-3])
def test_matches_reference_with_tiny_and_zero_tokens(backend, tiny):
    """Norms below 5e-5 are clamped: the gradient of the norm vanishes there."""
    q, v, plan = case(53, 16, 3)
    q[:, ::3] = tiny * F.normalize(q[:, ::3], dim=-1)
    assert_backends_agree(backend, q, v, plan, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", ALL)
def test_zero_queries_average_the_values_they_meet(backend):
    """All scores are 0: with one chunk the output is the mean of all values."""
    v = torch.randn(2, 23, 5, dtype=torch.float64)
    q = torch.zeros(2, 23, 3, dtype=torch.float64)
    out = lsh_attention(q, v, make_plan(torch.zeros(2, 3, 23, dtype=torch.long), chunk_size=23), backend=backend)
    assert_close(out, v.mean(dim=1, keepdim=True).expand_as(v))


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize("n", [1, 7, 16])
def test_one_chunk_is_plain_attention(backend, n):
    """An oracle that knows nothing of plans: one chunk holding every token is softmax attention."""
    q, v, plan = case(n, 16, 3)
    expected = F.scaled_dot_product_attention(q, F.normalize(q, dim=-1, eps=5e-5), v, scale=1.0)
    assert_close(lsh_attention(q, v, plan, backend=backend), expected)


@pytest.mark.parametrize("backend", ALL)
def test_one_token_is_its_value(backend):
    q, v, plan = case(1, 144, 4)
    assert_close(lsh_attention(q, v, plan, backend=backend), v)


@pytest.mark.parametrize("backend", ALL)
def test_two_chunks_count_the_other_chunk_twice(backend):
    """Four tokens sorted into chunks (0 2) and (1 3): a token meets its own once, the other twice."""
    q = torch.randn(1, 4, 3, dtype=torch.float64)
    v = torch.randn(1, 4, 5, dtype=torch.float64)
    plan = make_plan(torch.tensor([[[0, 1, 0, 1]]]), chunk_size=2)
    times = torch.tensor([[1, 2, 1, 2], [2, 1, 2, 1], [1, 2, 1, 2], [2, 1, 2, 1]])
    weights = times * (q[0] @ F.normalize(q[0], dim=-1).T).exp()
    expected = (weights / weights.sum(dim=1, keepdim=True)) @ v[0]
    assert_close(lsh_attention(q, v, plan, backend=backend)[0], expected)


@pytest.mark.parametrize("backend", ALL)
def test_rounds_pool_their_weights(backend):
    """Two rounds of a plan written out token by token, copies included."""
    q, v, plan = case(13, 3, 2, b=1)
    chunks = plan.slots[0].unflatten(-1, (-1, 3)).tolist()  # r k m
    keys = F.normalize(q[0], dim=-1)
    expected = torch.zeros_like(v[0])
    for i in range(13):
        met = []
        for r in range(2):
            own = plan.where[0, r, i].item() // 3
            count = len(chunks[r])
            met += chunks[r][own] + chunks[r][(own - 1) % count] + chunks[r][(own + 1) % count]
        expected[i] = (keys[met] @ q[0, i]).softmax(dim=0) @ v[0, met]
    assert_close(lsh_attention(q, v, plan, backend=backend)[0], expected)


@pytest.mark.parametrize("backend", ALL)
def test_gradients_equal_finite_differences(backend):
    q, v, plan = case(11, 3, 2, c=2, d=3)
    q, v = q.requires_grad_(), v.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: lsh_attention(a, b, plan, backend=backend), (q, v))


@pytest.mark.parametrize("backend", FAST)
def test_gradient_of_one_input_alone(backend):
    q, v, plan = case(53, 16, 2)
    for name in ("q", "v"):
        grads = []
        for way in ("reference", backend):
            inputs = {"q": q.clone(), "v": v.clone()}
            inputs[name].requires_grad_()
            out = lsh_attention(inputs["q"], inputs["v"], plan, backend=way)
            grads.append(torch.autograd.grad(out.square().sum(), inputs[name])[0])
        assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", FAST)
def test_inputs_are_left_as_they_were(backend):
    q, v, plan = case(53, 16, 2)
    before = q.clone(), v.clone(), plan.slots.clone(), plan.where.clone()
    run(backend, q, v, plan)
    assert_close((q, v, plan.slots, plan.where), before, rtol=0, atol=0)


@pytest.mark.parametrize("backend", FAST)
def test_strided_inputs_and_cotangents(backend):
    q, v, plan = case(53, 16, 2)
    dense = run(backend, q, v, plan)
    strided = run(backend, q.mT.contiguous().mT, v.mT.contiguous().mT, plan)
    assert_close(strided, dense, rtol=1e-12, atol=1e-12)
    a = v.clone().requires_grad_()
    lsh_attention(q, a, plan, backend=backend).sum().backward()  # an expanded cotangent
    b = v.clone().requires_grad_()
    lsh_attention(q, b, plan, backend="reference").sum().backward()
    assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_chunked_has_the_strides_that_a_compiler_expects(dtype):
    """Tokens and gradients as views of b c h w: compiled code reads the results by the strides of the fakes."""
    q, v, plan = case(20, 16, 3, dtype=dtype)
    q, v = (x.mT.contiguous().mT for x in (q, v))
    arguments = (q, v, plan.slots, plan.chunk)
    outputs = chunked.attend_op(*arguments)
    for operator, inputs in (
        (chunked.attend_op, arguments),
        (chunked.backward_op, (torch.ones_like(v), *arguments, *outputs)),
    ):
        checked = torch.library.opcheck(operator, inputs, test_utils=("test_schema", "test_faketensor"))
        assert set(checked.values()) == {"SUCCESS"}


def test_a_backend_asked_for_by_name_runs_or_raises(rejects):
    q, v, plan = case(11, 4, 2)
    with rejects(r"backend='fused' cannot be used here: .*\. Use backend='auto'"):
        lsh_attention(q, v, plan, backend="fused")  # float64, which no GPU kernel takes


def test_chunked_says_that_it_cannot_be_differentiated_twice():
    q, v, plan = case(11, 4, 2)
    q.requires_grad_()
    (first,) = torch.autograd.grad(lsh_attention(q, v, plan, backend="chunked").square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="has no second derivative with backend='chunked'; use"):
        first.sum().backward()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
@pytest.mark.parametrize(("n", "m", "r"), [(53, 16, 4), (20, 16, 3), (211, 36, 2), (9, 16, 2)])
@pytest.mark.parametrize("backend", FAST)
def test_low_precision_errs_at_most_twice_as_much_as_the_reference(backend, low, scale, n, m, r):
    """Both in the same precision, against float64 on the same rounded inputs."""
    q, v, plan = case(n, m, r, c=16, d=32, scale=scale, dtype=low)
    exact = run("reference", q.double(), v.double(), plan)
    plain = run("reference", q, v, plan)
    assert_as_good(run(backend, q, v, plan), plain, exact, one_rounding(reference.attend, q, v, plan))


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("extremes", EXTREMES)
@pytest.mark.parametrize(("n", "m"), [(53, 16), (500, 144)])
@pytest.mark.parametrize("backend", ALL)
def test_alike_tokens_and_large_numbers_overflow_nowhere(backend, n, m, extremes, low):
    """Sums over 3m alike tokens, and scores beyond what a half-precision number resolves.

    The weights of the reference sum to 1 up to the rounding of its float32 scores.
    """
    q, v, plan = extreme(*extremes, low, n=n, m=m)
    out, *gradients = run(backend, q, v, plan)
    assert_averages(out, v, slack=extremes[2] * torch.finfo(torch.float32).eps if backend == "reference" else 0.0)
    exact = run("reference", q.double(), v.double(), plan)
    assert_no_less_finite(gradients, exact[1:])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16], ids=str)
def test_no_norm_up_to_a_hundred_million_overflows(backend, low):
    """Beyond, float32 does not resolve scores: those of one token differ by tens between two orders of summation."""
    q, v, plan = extreme("half", 3000.0, 1e8, low, n=53, m=16)
    out, *gradients = run(backend, q, v, plan)
    assert_averages(out, v)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("backend", ALL)
def test_mixed_dtypes_are_promoted(backend):
    q, v, plan = case(53, 16, 2)
    out = lsh_attention(q.float(), v, plan, backend=backend)
    assert_close(out, lsh_attention(q.float().double(), v, plan, backend=backend), rtol=0, atol=0)
    assert lsh_attention(q.bfloat16(), v.float(), plan, backend=backend).dtype == torch.float32
    assert lsh_attention(q.bfloat16(), v.half(), plan, backend=backend).dtype == torch.float32


@pytest.mark.parametrize("backend", ALL)
def test_autocast_computes_in_its_dtype(backend):
    q, v, plan = case(53, 16, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = lsh_attention(q, v, plan, backend=backend)
    assert_close(out, lsh_attention(q.bfloat16(), v.bfloat16(), plan, backend=backend), rtol=0, atol=0)


def test_no_function_hides_the_package_of_the_attention():
    """`cclnn.ops.lsh_attention` is the function; its package has another name, so that both are attributes."""
    assert callable(cclnn.ops.lsh_attention)
    assert cclnn.ops.sparse_attention.why_not is why_not


def test_auto_is_chunked():
    q, v, plan = case(53, 16, 2)
    assert torch.equal(lsh_attention(q, v, plan), lsh_attention(q, v, plan, backend="chunked"))


def test_messages(rejects):
    q, v, plan = case(20, 16, 2)
    with rejects(
        "`backend` must be one of 'auto', 'reference', 'chunked', 'portable', 'fused', got 'chunky'. "
        "Did you mean 'chunked'?"
    ):
        lsh_attention(q, v, plan, backend="chunky")
    with rejects("`backend` must be one of .*, got 'chunky'"):
        why_not("chunky", q, v, plan)
    with rejects(r"`query` must have shape \(b=2 n=20 e\), got \(20, 6\)"):
        lsh_attention(q[0], v, plan)
    with rejects(r"`value` must have shape \(b=2 n=20 d\), got \(20, 10\)"):
        lsh_attention(q, v[0], plan)
    with rejects(r"`value` must have shape \(b=2 n=20 d\), got \(2, 19, 10\)"):
        lsh_attention(q, v[:, :19], plan)
    with rejects(r"`query` must have shape \(b=2 n=19 e\), got \(2, 20, 6\)"):
        lsh_attention(q, v, case(19, 16, 2)[2])
    with rejects(r"`query` must have shape \(b=3 n=20 e\), got \(2, 20, 6\)"):
        lsh_attention(q, v, case(20, 16, 2, b=3)[2])
    with rejects(r"`value` must not be empty, got shape \(2, 20, 0\)"):
        lsh_attention(q, v[..., :0], plan)
    with rejects(r"`query` must be a floating-point tensor, got torch\.int64", TypeError):
        lsh_attention(q.long(), v, plan)
    with rejects(r"`value` must be a floating-point tensor, got torch\.int64", TypeError):
        lsh_attention(q, v.long(), plan)
