"""What the sparse attention has to hold in half precision."""

import torch
from torch.nn import functional as F

from cclnn.ops import hash_codes, make_plan

# tokens, size of the values, norm of the queries
EXTREMES = [
    (tokens, size, norm)
    for tokens in ("alike", "half", "random")
    for size, norm in [(300.0, 1.0), (3000.0, 20.0), (3000.0, 5e4), (60_000.0, 6e4)]
]


def extreme(tokens, size, norm, dtype, *, n, m, b=2, device="cpu"):
    """Queries of that norm, values up to that size and a plan: all tokens alike, two thirds of them, or none."""
    g = torch.Generator().manual_seed(n)
    q, v = torch.randn(b, n, 16, generator=g), torch.randn(b, n, 64, generator=g)
    alike = slice({"alike": 0, "half": n // 3, "random": n}[tokens], n)
    q[:, alike], v[:, alike] = q[:1, :1], v[:1, :1]
    q, v = (x.to(device, dtype) for x in (norm * F.normalize(q, dim=-1), size * v / v.abs().max()))
    return q, v, make_plan(hash_codes(q, torch.randn(16, 2, 4, generator=g).to(device)), chunk_size=m)


def cotangent(out):
    """One that is not constant."""
    return torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device=out.device).reshape(out.shape)


def rms(x):
    return x.double().square().mean().sqrt().item()


def assert_averages(out, v, slack=0.0):
    """Every number of the output lies between the least and the largest of the values, up to rounding."""
    slack = max(2 * torch.finfo(v.dtype).eps, 5e-6, slack) * v.abs().max().double()
    assert out.isfinite().all()
    assert (out.double() <= v.double().amax(dim=1, keepdim=True) + slack).all()
    assert (out.double() >= v.double().amin(dim=1, keepdim=True) - slack).all()


def assert_no_less_finite(gradients, exact):
    """Finite wherever the exact gradient fits, by half, into the dtype."""
    for gradient, truth in zip(gradients, exact, strict=True):
        fits = truth.abs() < torch.finfo(gradient.dtype).max / 2
        assert gradient[fits].isfinite().all()
        assert not gradient.isnan().any()


def one_rounding(attend, q, v, plan):
    """How far one rounding of the output to the dtype of q moves it, and the gradient of q, to which it comes through
    D_i = g_i . out_i: what any attention that keeps its output and not its scores may be off by.
    """
    unit = torch.finfo(q.dtype).eps / 2 / 3**0.5
    out, towards = (attend(q.double(), x.double(), plan) for x in (v, F.normalize(q, dim=-1)))  # sum_j p_ij k_j
    error = unit * out * torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).sign().to(out)
    smallest = torch.finfo(q.dtype).smallest_normal * torch.finfo(q.dtype).eps
    return rms(error), max(rms((cotangent(out) * error).sum(dim=-1, keepdim=True) * towards), smallest), 0.0


def assert_as_good(fast, plain, exact, rounding):
    """Output and gradients err at most twice as much as those of the reference in the same precision, or as one
    rounding does.
    """
    names = "output", "gradient of q", "gradient of v"
    for name, a, b, truth, least in zip(names, fast, plain, exact, rounding, strict=True):
        assert a.dtype == b.dtype
        error, allowed = rms(a.double() - truth), max(rms(b.double() - truth), least)
        assert error <= 2 * allowed, f"{name}: {error:.2e} against {allowed:.2e}"
