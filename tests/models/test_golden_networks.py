"""Tiny whole networks of released code (CCLNN: composed), converted strictly, by every backend."""

import pytest
import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read

from cclnn.hub.renames import rename
from cclnn.layers import ChannelAttention, NonLocalSparseAttention, non_local_sparse_attention
from cclnn.pretrained import convert_official

backends = pytest.mark.parametrize("backend", ["reference", "chunked"])


def network_of(case, architecture, **arguments):
    """The network with a golden file's weights and rotations."""
    for name in ("n_hashes", "chunk_size"):
        if name in case.params:
            arguments[name] = case.params[name]
    model = convert_official(architecture, case.under("state."), res_scale=case.params["res_scale"], **arguments)
    for i, layer in enumerate(attentions(model)):
        layer.rotations = case.rotations(i)
    assert not model.training
    return model


def attentions(model):
    return [module for module in model.modules() if isinstance(module, NonLocalSparseAttention)]


def run(case, model):
    """Output and gradients in the file's range of values; images of cclnn are in [0, 1]."""
    white = case.params["rgb_range"]
    x = case["input.x"].requires_grad_()
    y = model(x / white) * white
    assert_golden(y, case["output.y"], float32=1e-4, scale=case["output.y"].std().item())
    if "cotangent" in case:
        (y * case["cotangent"]).sum().backward()
        parameters = dict(model.named_parameters())
        named = {
            key: parameters.pop(rename(key, model.architecture.released.renames)) for key in case.under("grad.state.")
        }
        assert not parameters
        assert_golden_gradients(case, x, named, float32=1e-4)


@cases("edsr")
def test_golden_edsr(name):
    case = read(name)
    run(case, network_of(case, "edsr"))


@backends
@cases("nlsn")
def test_golden_nlsn(name, backend):
    case = read(name)
    model = network_of(case, "nlsn", backend=backend)
    assert len(attentions(model)) == len(case.under("rot."))
    run(case, model)


@backends
@cases("cclnn")
def test_golden_cclnn(name, backend):
    case = read(name)
    model = network_of(case, "cclnn", backend=backend)
    assert len(attentions(model)) == len(case.under("rot."))
    run(case, model)


def check_orders(case, model, monkeypatch):
    plans = []
    make_plan = non_local_sparse_attention.make_plan
    monkeypatch.setattr(
        non_local_sparse_attention, "make_plan", lambda *a, **k: plans.append(make_plan(*a, **k)) or plans[-1]
    )
    x = case["input.x"] / case.params["rgb_range"]
    model(x)
    n = x.shape[2] * x.shape[3]
    assert len(plans) == len(case.under("inter.sort_indices.")) == 2
    for i, plan in enumerate(plans):
        expected = case.order(f"inter.sort_indices.{i}", rounds=case.params["n_hashes"], tokens=n)
        assert torch.equal(plan.slots[..., :n], expected)


@cases("nlsn")
def test_golden_order_of_pixels_in_nlsn(name, monkeypatch):
    case = read(name)
    check_orders(case, network_of(case, "nlsn"), monkeypatch)


@cases("cclnn")
def test_golden_order_of_pixels_and_channel_weights_in_cclnn(name, monkeypatch):
    case = read(name)
    model = network_of(case, "cclnn")
    weights = []
    for module in model.modules():
        if isinstance(module, ChannelAttention):
            module.register_forward_hook(lambda layer, inputs, _: weights.append(layer.weights(*inputs).flatten(1)))
    check_orders(case, model, monkeypatch)
    assert len(weights) == 2
    for i, found in enumerate(weights):
        assert_golden(found, case[f"inter.w_ca.{i}"], float32=1e-5)
