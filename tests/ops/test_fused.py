"""The Triton kernels against reference.attend: on a GPU as they are, elsewhere in Triton's interpreter."""

import os
import sys

import pytest
import torch
from conftest import annotations_are_checked
from half_precision import (
    EXTREMES,
    assert_as_good,
    assert_averages,
    assert_no_less_finite,
    cotangent,
    extreme,
    one_rounding,
)
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import NonLocalSparseAttention
from cclnn.ops import hash_codes, make_plan
from cclnn.ops.sparse_attention import LSHPlan, fused, reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def why_no_kernels():
    """Import the kernels, for the interpreter if there is no GPU; the variable is set here and in each test only."""
    if not fused.INSTALLED:
        return "Triton is not installed"
    if DEVICE == "cpu":
        if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
            return "Triton was imported without TRITON_INTERPRET=1, and there is no GPU"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            from cclnn.ops.sparse_attention import _kernels
    else:
        from cclnn.ops.sparse_attention import _kernels
    assert _kernels.attend
    return ""


REASON = why_no_kernels()
needs_kernels = pytest.mark.skipif(bool(REASON), reason=REASON)
# n m r: one chunk, exact, padded, two chunks, one token, two tokens, chunks of one, several blocks, copies all but one
SIZES = [
    (5, 8, 1),
    (24, 8, 2),
    (27, 8, 2),
    (20, 16, 2),
    (1, 7, 2),
    (2, 1, 3),
    (11, 1, 2),
    (43, 13, 2),
    (37, 36, 1),
]


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        if not REASON:
            round_like_a_gpu(monkeypatch)


def round_like_a_gpu(monkeypatch):
    """The interpreter cuts float32 off to bfloat16, which doubles its errors and pushes them all one way."""
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def rounded(x, source, target, mode):
        if (source.name, target.name) != ("fp32", "bf16"):
            return convert(x, source, target, mode)
        return torch.tensor(x).bfloat16().view(torch.uint16).numpy()

    monkeypatch.setattr(interpreter, "_convert_float", rounded)


def case(n, m, r, *, b=2, c=6, d=10, scale=1.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(1000 * n + 10 * m + r)
    q = scale * torch.randn(b, n, c, generator=g, dtype=torch.float64)
    v = torch.randn(b, n, d, generator=g, dtype=torch.float64)
    rotations = torch.randn(c, r, 4, generator=g)
    q, v = q.to(DEVICE, dtype), v.to(DEVICE, dtype)
    return q, v, make_plan(hash_codes(q, rotations.to(DEVICE)), chunk_size=m)


def run(attend, q, v, plan):
    """Output and gradients, for a cotangent that is not constant."""
    a, b = q.detach().clone().requires_grad_(), v.detach().clone().requires_grad_()
    out = attend(a, b, plan)
    return (out.detach(), *torch.autograd.grad((out * cotangent(out)).sum(), (a, b)))


def assert_matches_reference(q, v, plan, tolerance=1e-5):
    exact = run(reference.attend, q.double(), v.double(), plan)
    for got, expected in zip(run(fused.attend, q, v, plan), exact, strict=True):
        assert got.dtype == q.dtype
        assert_close(got.double(), expected, rtol=tolerance, atol=tolerance * max(1.0, expected.abs().max().item()))


@needs_kernels
@pytest.mark.parametrize(("n", "m", "r"), SIZES)
def test_matches_reference(n, m, r):
    assert_matches_reference(*case(n, m, r))


@needs_kernels
@pytest.mark.parametrize(("n", "m", "r"), [(37, 36, 1), (20, 16, 2)])
@pytest.mark.parametrize(("c", "d"), [(16, 64), (1, 3), (33, 17)])
def test_matches_reference_at_other_widths(n, m, r, c, d):
    assert_matches_reference(*case(n, m, r, b=1, c=c, d=d))


@needs_kernels
@pytest.mark.parametrize("sizes", [(16, 16), (16, 32), (64, 16), (128, 128)])
@pytest.mark.parametrize(("n", "m", "r", "b"), [(37, 7, 2, 1), (20, 16, 1, 2)])
def test_blocks_of_any_size_agree(monkeypatch, sizes, n, m, r, b):
    """Blocks within a chunk, across many chunks, and longer than the image."""
    launches = dict.fromkeys(fused.SINGLE, (fused.Launch(*sizes, 4, 2),))
    monkeypatch.setattr(fused, "SINGLE", launches)
    assert_matches_reference(*case(n, m, r, b=b))


@needs_kernels
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [0.3, 5.0])
@pytest.mark.parametrize(("n", "m", "r"), [(18, 7, 2), (10, 7, 3), (83, 36, 1)])
def test_low_precision_errs_at_most_twice_as_much_as_the_reference(low, scale, n, m, r):
    """Both in the same precision, against float64 on the same rounded inputs."""
    q, v, plan = case(n, m, r, b=1, c=16, d=32, scale=scale, dtype=low)
    exact = run(reference.attend, q.double(), v.double(), plan)
    plain = run(reference.attend, q, v, plan)
    assert_as_good(run(fused.attend, q, v, plan), plain, exact, one_rounding(reference.attend, q, v, plan))


@needs_kernels
@pytest.mark.parametrize("dtype", fused.DTYPES, ids=str)
def test_output_is_an_average_of_values_with_norms_beyond_the_range_of_exp(dtype):
    q, v, plan = case(18, 7, 2, b=1)
    q, v = (1e4 * F.normalize(q, dim=-1)).to(dtype), v.to(dtype)
    out, *gradients = run(fused.attend, q, v, plan)
    assert_averages(out, v)
    assert all(gradient.isfinite().all() for gradient in gradients)
    if dtype == torch.float32:
        assert_close(out.double(), reference.attend(q.double(), v.double(), plan), rtol=0, atol=3e-3)


@needs_kernels
@pytest.mark.parametrize("dtype", fused.DTYPES, ids=str)
@pytest.mark.parametrize("extremes", [entry for entry in EXTREMES if entry[0] != "random" and entry[2] != 1])
def test_alike_tokens_and_large_numbers_overflow_nowhere(extremes, dtype):
    q, v, plan = extreme(*extremes, dtype, n=13, m=4, b=1, device=DEVICE)
    out, *gradients = run(fused.attend, q, v, plan)
    assert_averages(out, v)
    exact = run(reference.attend, q.double(), v.double(), plan)
    assert_no_less_finite(gradients, exact[1:])


@needs_kernels
@pytest.mark.parametrize("tiny", [0.0, 1e-9, 4.9e-5, 5.1e-5])
def test_matches_reference_with_tiny_and_zero_tokens(tiny):
    """Norms below 5e-5 are clamped: the gradient of the norm vanishes there."""
    q, v, plan = case(37, 16, 1, b=1)
    q[:, ::3] = tiny * F.normalize(q[:, ::3], dim=-1)
    assert_matches_reference(q, v, plan)


@needs_kernels
@pytest.mark.parametrize("centre", [False, True])
def test_cosine_similarity_learns_as_in_the_reference(centre):
    """Queries tau k_i: gradients of the features, of both convolutions and of tau."""
    found = {}
    for backend in ("fused", "reference"):
        torch.manual_seed(0)
        arguments = {"similarity": "cosine", "centre": centre, "n_hashes": 2, "chunk_size": 7, "backend": backend}
        layer = NonLocalSparseAttention(8, **arguments, device=DEVICE).train()
        x = torch.randn(1, 8, 4, 5).to(DEVICE).requires_grad_()
        out = layer(x, rotations=torch.randn(2, 2, 8, device=DEVICE))
        inputs = {"x": x, **dict(layer.named_parameters())}
        gradients = torch.autograd.grad((out * cotangent(out)).sum(), list(inputs.values()))
        found[backend] = {"out": out.detach(), **dict(zip(inputs, gradients, strict=True))}
    assert found["reference"]["logit_scale"].abs() > 5e-3
    for name, expected in found["reference"].items():
        assert_close(found["fused"][name], expected, rtol=0, atol=1e-5 * max(10.0, expected.abs().max().item()))


@needs_kernels
def test_runs_are_equal_bit_by_bit():
    q, v, plan = case(37, 16, 1, b=1)
    for a, b in zip(run(fused.attend, q, v, plan), run(fused.attend, q, v, plan), strict=True):
        assert torch.equal(a, b)


@needs_kernels
def test_plans_of_32_bits_and_strided_inputs():
    q, v, plan = case(20, 16, 1)
    dense = run(fused.attend, q, v, plan)
    small = LSHPlan(plan.slots.int(), plan.where.int(), plan.chunk)
    for a, b in zip(run(fused.attend, q.mT.contiguous().mT, v.mT.contiguous().mT, small), dense, strict=True):
        assert torch.equal(a, b)
    a, b = v.clone().requires_grad_(), v.clone().requires_grad_()
    fused.attend(q, a, plan).sum().backward()  # an expanded cotangent
    reference.attend(q, b, plan).sum().backward()
    assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_changes_nothing(dtype):
    q, v, plan = case(20, 16, 1, b=1, dtype=dtype)
    expected = run(fused.attend, q, v, plan)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        got = run(fused.attend, q, v, plan)
    assert_close(got, expected, rtol=0, atol=0)


@needs_kernels
def test_operators_keep_their_contracts():
    q, v, plan = case(5, 4, 1, b=1)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    forward = (q.requires_grad_(), v.requires_grad_(), plan.slots, plan.chunk)
    assert set(torch.library.opcheck(fused.attend_op, forward, test_utils=checks).values()) == {"SUCCESS"}
    outputs = (output.detach() for output in fused.attend_op(*forward))
    backward = (torch.ones_like(v), q.detach(), v.detach(), plan.slots, plan.chunk, *outputs)
    assert set(torch.library.opcheck(fused.backward_op, backward, test_utils=checks[:3]).values()) == {"SUCCESS"}


@needs_kernels
def test_compiles_to_one_graph(request, monkeypatch):
    """The question and the answer: why_not must be traceable too."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    monkeypatch.setattr(fused, "_interpreted", lambda: DEVICE == "cpu")  # not asked for while compiling
    q, v, plan = case(20, 16, 1, b=1)

    def twice(q, v, plan):
        assert fused.why_not(q, v, plan) is None
        return fused.attend(2 * q, v, plan) + v

    compiled = torch.compile(twice, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(q, v, plan), twice(q, v, plan))
    assert_close(run(compiled, q, v, plan), run(twice, q, v, plan), rtol=1e-6, atol=1e-6)


@needs_kernels
def test_says_that_it_cannot_be_differentiated_twice():
    q, v, plan = case(5, 4, 1)
    q.requires_grad_()
    (first,) = torch.autograd.grad(fused.attend(q, v, plan).square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="has no second derivative with backend='fused'; use"):
        first.sum().backward()


@needs_kernels
def test_takes_what_it_can():
    for dtype in fused.DTYPES:
        assert fused.why_not(*case(20, 16, 1, dtype=dtype)) is None
    q, v, plan = case(20, 16, 1)
    assert fused.why_not(q.double(), v, plan) == "it computes in float32, bfloat16 or float16, got torch.float64"
    assert fused.why_not(q, v.expand(2, 20, 10).repeat(1, 1, 26), plan) == (
        "it takes at most 256 channels, got 260 in `value`"
    )
    assert fused.why_not(q.repeat(1, 1, 43), v, plan) == "it takes at most 256 channels, got 258 in `query`"
    many = torch.empty(1, 1, 256, device=DEVICE).expand(1, 2**23, 256)
    assert fused.why_not(many, many, plan) == (
        "it takes images of less than 2**31 numbers, got 8388608 tokens of 256 channels"
    )
    away = LSHPlan(plan.slots.to("meta"), plan.where.to("meta"), plan.chunk)
    assert fused.why_not(q, v, away) == f"the plan must be on {q.device}, got meta"


def test_names_what_is_missing(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    q, v, plan = case(20, 16, 1)
    monkeypatch.setattr(fused, "INSTALLED", True)
    assert fused.why_not(q.cpu(), v.cpu(), plan) == "it needs CUDA tensors, got cpu"
    monkeypatch.setattr(fused, "INSTALLED", False)
    assert fused.why_not(q, v, plan) == 'it needs Triton: pip install "cclnn[triton]"'
