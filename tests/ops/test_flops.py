"""torch's flop counter sees what the library's operators compute."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cclnn.layers import CCLNBlock, EfficientNonLocalContrastiveAttention, NonLocalBlock
from cclnn.ops import dense_attention, lsh_attention, make_plan


def counted(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_sparse_attention_as_its_reference_counts_itself():
    """Backward computes the scores again, which autograd keeps."""
    q, v = torch.rand(2, 53, 6, requires_grad=True), torch.rand(2, 53, 10, requires_grad=True)
    plan = make_plan(torch.randint(0, 4, (2, 3, 53)), chunk_size=16)
    out = {name: lsh_attention(q, v, plan, backend=name) for name in ("reference", "chunked")}
    forward = {name: counted(lambda name=name: lsh_attention(q, v, plan, backend=name)) for name in out}
    assert forward["chunked"] == forward["reference"] == 2 * 2 * 3 * 64 * 48 * (6 + 10)
    backward = {name: counted(out[name].sum().backward) for name in out}
    assert backward["chunked"] == backward["reference"] + 2 * 2 * 3 * 64 * 48 * 6


def test_dense_attention_as_torch_counts_it_by_hand():
    q, k, v = (torch.rand(2, n, width, requires_grad=True) for n, width in ((53, 6), (37, 6), (37, 10)))
    out, plain = dense_attention(q, k, v), (q @ k.mT).softmax(dim=-1) @ v
    assert counted(lambda: dense_attention(q, k, v)) == counted(lambda: (q @ k.mT).softmax(dim=-1) @ v)
    again = 2 * 2 * 53 * 37 * 6
    assert counted(out.sum().backward) == counted(plain.sum().backward) + again


@pytest.mark.parametrize("layer", [CCLNBlock, NonLocalBlock, EfficientNonLocalContrastiveAttention])
def test_layers_count_forward_and_backward(layer):
    module, x = layer(16), torch.rand(1, 16, 9, 10)
    seen = FlopCounterMode(display=False)
    with seen:
        out = module(x)
        out = out if isinstance(out, tuple) else (out,)
        sum(result.sum() for result in out).backward()
    operators = {str(operator) for operator in seen.get_flop_counts()["Global"]}
    assert any(name.startswith("cclnn.") for name in operators)
    assert any(name.startswith("cclnn.") and name.endswith("_backward") for name in operators)


@pytest.mark.parametrize("first", ["cclnn", "torch.utils.flop_counter"])
def test_whichever_is_imported_first(first):
    """cclnn imports neither the counter nor what it imports, and leaves nothing in Python's import once it is told."""
    program = f"""
import importlib, importlib.util, sys
importlib.import_module({first!r})
if {first!r} == "cclnn":
    assert "torch.utils.flop_counter" not in sys.modules and "triton" not in sys.modules
    assert importlib.util.find_spec("torch.utils.flop_counter")  # somebody who only looks
import cclnn.ops._flops
from torch.utils import flop_counter
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("cclnn")]
assert set(cclnn.ops._flops.formulas()) <= set(flop_counter.flop_registry)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
