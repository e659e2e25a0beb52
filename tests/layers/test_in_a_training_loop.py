"""What training loops do to layers: compile them, recompute them, run them in low precision.

DistributedDataParallel: training/test_gradients.py, in two processes.
"""

import shutil

import pytest
import torch
from conftest import annotations_are_checked
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from cclnn.layers import CCLNBlock, NonLocalSparseAttention


def attention():
    return NonLocalSparseAttention(8, reduction=2, n_hashes=2, chunk_size=13)


def block():
    return CCLNBlock(8, reduction=2, ratio=0.2, match_reduction=2, n_hashes=2, chunk_size=13)


def step(call, module):
    """Output and gradients of one training step; attentions draw their rotations from the default generator."""
    torch.manual_seed(7)
    x = torch.randn(2, 8, 11, 7).requires_grad_()
    out = call(x)
    y, loss = out if isinstance(out, tuple) else (out, out.new_zeros(()))
    gradients = torch.autograd.grad(y.sin().sum() + loss, (x, *module.parameters()))
    return y.detach(), loss.detach(), *gradients


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [attention, block])
def test_compiles_to_one_graph(make, training, request):
    """fullgraph raises on a graph break."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    module = make().train(training)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert_close(step(compiled, module), step(module, module), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend writes C++, and there is no g++")
@pytest.mark.parametrize("training", [True, False])
def test_compiles_with_the_default_backend(training, request):
    """It checks the strides that our operators promise; a batch, because the strides of one image are never wrong."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    module = block().train(training)
    compiled = torch.compile(module, fullgraph=True, options={"fallback_random": True})  # draw rotations as eager does
    if training:
        assert_close(step(compiled, module), step(module, module), rtol=1e-4, atol=1e-6)
    else:
        x = torch.randn(2, 8, 11, 7)
        with torch.no_grad():
            assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [attention, block])
def test_activation_checkpointing_gives_the_same(make):
    module = make().train()
    recomputed = step(lambda x: checkpoint(module, x, use_reentrant=False), module)
    assert_close(recomputed, step(module, module), rtol=0, atol=0)


@pytest.mark.parametrize("make", [attention, block])
def test_autocast_trains_near_float32(make):
    module = make().train()
    exact = step(module, module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = step(module, module)
    for a, b in zip(low[2:], exact[2:], strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.2 * b.norm()
