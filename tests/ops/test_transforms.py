"""Forward-mode derivatives and torch.func: right by default, a clear error where a backend is asked for by name."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.testing import assert_close

from cclnn.layers import NonLocalSparseAttention
from cclnn.ops import hash_codes, lsh_attention, make_plan

X = (1, 8, 3, 4)
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")  # torch's forward mode scripts a few


def layer(backend="auto"):
    torch.manual_seed(0)
    return NonLocalSparseAttention(8, n_hashes=2, chunk_size=5, backend=backend).double().eval()


def x():
    return torch.randn(X, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_forward_mode_equals_finite_differences():
    module, at, along = layer(), x(), torch.randn(X, dtype=torch.float64)
    with forward_ad.dual_level(), torch.no_grad():
        tangent = forward_ad.unpack_dual(module(forward_ad.make_dual(at, along))).tangent
        step = 1e-6
        expected = (module(at + step * along) - module(at - step * along)) / (2 * step)
    assert_close(tangent, expected, rtol=1e-6, atol=1e-8)


def test_forward_mode_of_the_value_alone():
    q, v = torch.randn(1, 11, 3, dtype=torch.float64), torch.randn(1, 11, 2, dtype=torch.float64)
    plan = make_plan(hash_codes(q, torch.randn(3, 2, 2)), chunk_size=4)
    with forward_ad.dual_level():
        out = lsh_attention(q, forward_ad.make_dual(v, v), plan)
        assert_close(forward_ad.unpack_dual(out).tangent, out)  # linear in v


def test_func_grad_and_jacobian_equal_autograd():
    module, at = layer(), x()

    def loss(at):
        return module(at).sin().sum()

    (expected,) = torch.autograd.grad(loss(leaf := at.clone().requires_grad_()), leaf)
    assert_close(torch.func.grad(loss)(at), expected)
    jacobian = torch.autograd.functional.jacobian(layer("reference"), at)
    assert_close(torch.func.jacrev(module)(at), jacobian)
    assert_close(torch.func.jvp(module, (at,), (at,))[1], torch.einsum("bchwBCHW,BCHW->bchw", jacobian, at))


def test_func_hessian_equals_autograd():
    module, at = layer(), x()
    expected = torch.autograd.functional.hessian(lambda at: layer("reference")(at).sin().sum(), at)
    assert_close(torch.func.hessian(lambda at: module(at).sin().sum())(at), expected)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev, torch.func.hessian])
def test_a_backend_asked_for_by_name_names_the_way_out(transform, rejects):
    module = layer("chunked")
    with rejects(r"backend='chunked' cannot be used here: torch.func's .*backend='reference'"):
        transform(lambda at: module(at).sum())(x())


def test_forward_mode_of_a_backend_asked_for_by_name_names_the_way_out(rejects):
    with (
        forward_ad.dual_level(),
        rejects(r"backend='chunked' cannot be used here: it has no forward-mode derivative.*backend='reference'"),
    ):
        layer("chunked")(forward_ad.make_dual(x(), x()))


@pytest.mark.parametrize("backend", ["reference", "portable"])
def test_these_backends_differentiate_in_every_way(backend):
    module, at = layer(backend), x()
    assert torch.autograd.gradcheck(module, at.requires_grad_(), check_forward_ad=True)
