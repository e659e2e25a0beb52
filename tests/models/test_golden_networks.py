"""Tiny whole networks of released code (CCLNN: composed): converted strictly there and back, by every backend."""

import pytest
import torch
from golden.reader import CASES, assert_golden, assert_golden_gradients, cases, read

from cclnn.hub.renames import rename
from cclnn.layers import ChannelAttention, NonLocalSparseAttention, non_local_sparse_attention
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained import convert_official, to_official

# Group of files -> (class, arguments that neither the tensors nor the file's parameters show).
GROUPS = {
    **{"edsr": ("EDSR", {}), "nlsn": ("NLSN", {}), "cclnn": ("CCLNN", {})},
    **{"rcan": ("RCAN", {}), "rnan": ("RNAN", {}), "a2n": ("A2N", {}), "divanet": ("DiVANet", {}), "han": ("HAN", {})},
    **{"vdsr_rgb": ("VDSR", {"scale": 1}), "vdsr_y": ("VDSR", {}), "srcnn": ("SRCNN", {})},
    **{"csnln": ("CSNLN", {}), "dasr": ("DASR", {"rgb_range": 255.0}), "srfbn": ("SRFBN", {})},
}
CLOSER = {"csnln", "dasr", "srfbn"}  # in float32 within 1e-5 of the largest number, others within 1e-4 of their spread
# Name of a parameter in the files -> ours, where that is an argument of the network.
PARAMETERS = {
    **{"scale": "scale", "rgb_range": "rgb_range", "res_scale": "res_scale", "reduction": "reduction"},
    **{"n_feats": "channels", "n_resgroups": "n_groups", "group": "groups", "f2": "kernel"},
    **{"n_hashes": "n_hashes", "chunk_size": "chunk_size", "depth": "depth", "n_groups": "n_groups"},
    **{"n_blocks": "n_blocks", "num_groups": "n_groups", "num_steps": "n_steps", "num_features": "channels"},
}
BACKENDS = {"nlsn": ("reference", "chunked"), "cclnn": ("reference", "chunked")}
networks = pytest.mark.parametrize(
    ("group", "name", "arguments"),
    [
        pytest.param(group, name, {"backend": backend} if backend else {}, id="-".join(filter(None, (name, backend))))
        for group in GROUPS
        for name in CASES[group]
        for backend in BACKENDS.get(group, ("",))
    ],
)


def network_of(group, case, **arguments):
    """The network with a golden file's weights and rotations; what a checkpoint hides is given, the rest found."""
    kind, others = GROUPS[group]
    unseen = ARCHITECTURES[kind].architecture.unseen
    given = {ours: case.params[theirs] for theirs, ours in PARAMETERS.items() if theirs in case.params}
    hidden = {name: value for name, value in given.items() if name in unseen}
    model = convert_official("auto", case.under("state."), **hidden, **others, **arguments)
    assert type(model).__name__ == kind
    assert model.config.items() >= {name: value for name, value in given.items() if name in model.config}.items()
    assert not model.training
    for i, layer in enumerate(attentions(model)):
        layer.rotations = case.rotations(i)
    return model


def attentions(model):
    return [module for module in model.modules() if isinstance(module, NonLocalSparseAttention)]


@networks
def test_golden_output_and_gradients_and_every_tensor_back(group, name, arguments):
    """In the file's range of values; images of cclnn are in [0, 1]. Networks of luma are fed the enlarged luma."""
    case = read(name)
    model = network_of(group, case, **arguments)
    official, back = case.under("state."), to_official(model)
    assert back.keys() == official.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in official.items())
    assert len(attentions(model)) == len(case.under("rot."))
    white = case.params.get("rgb_range", 1)
    x = case["input.x"].requires_grad_()
    image = (model(x / white) if x.shape[1] == 3 else model.refine(x)) * white
    n_steps = len(case.under("output.step"))
    images = [y * white for y in model.steps(x / white)] if n_steps else [image]
    assert torch.equal(image, images[-1])
    suffixes = [f".step{i}" for i in range(n_steps)] or [""]
    for y, suffix in zip(images, suffixes, strict=True):
        expected = case[f"output{suffix or '.y'}"]
        close = {"float32": 1e-5} if group in CLOSER else {"float32": 1e-4, "scale": expected.std().item()}
        assert_golden(y, expected, **close)
    if not case.under("cotangent"):
        return
    sum((y * case[f"cotangent{suffix}"]).sum() for y, suffix in zip(images, suffixes, strict=True)).backward()
    assert_golden(x.grad, case["grad.x"], float32=1e-4)
    if expected := case.under("grad.state."):
        parameters = dict(model.named_parameters())
        named = {key: parameters.pop(rename(key, model.architecture.released.renames)) for key in expected}
        assert not parameters
        assert_golden_gradients(case, x, named, float32=1e-4)


@cases("srcnn")
def test_golden_srcnn_continues_the_image_by_its_edge_not_by_zeros(name):
    case = read(name)
    assert not torch.allclose(network_of("srcnn", case).refine(case["input.x"]), case["output.y_zeropad"])


@cases("dasr")
def test_golden_dasr_widths_and_features(name):
    case = read(name)
    model = network_of("dasr", case)
    channels, hidden, features = (int(width) for width in case.params["widths"].split("/"))
    widths = {"channels": channels, "reduction": 8, "hidden": hidden, "features": features, "rgb_range": 255.0}
    assert model.config.items() >= widths.items()
    assert_golden(model.encoder(case["input.x"])[0], case["output.fea"], float32=1e-5)


@cases("vdsr_y")
def test_golden_vdsr_port_for_luma_has_no_biases(name):
    assert network_of("vdsr_y", read(name)).config.items() >= {"colours": "y", "bias": False, "n_layers": 20}.items()


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in BACKENDS for name in CASES[group]])
def test_golden_order_of_pixels_and_channel_weights(group, name, monkeypatch):
    case, plans, weights = read(name), [], []
    model = network_of(group, case)
    make_plan = non_local_sparse_attention.make_plan
    monkeypatch.setattr(
        non_local_sparse_attention, "make_plan", lambda *a, **k: plans.append(make_plan(*a, **k)) or plans[-1]
    )
    for module in model.modules():
        if isinstance(module, ChannelAttention):
            module.register_forward_hook(
                lambda layer, inputs, _: weights.append(layer.channel_weights(*inputs).flatten(1))
            )
    x = case["input.x"] / case.params["rgb_range"]
    model(x)
    n = x.shape[2] * x.shape[3]
    assert len(plans) == len(case.under("inter.sort_indices.")) == 2
    for i, plan in enumerate(plans):
        expected = case.order(f"inter.sort_indices.{i}", rounds=case.params["n_hashes"], tokens=n)
        assert torch.equal(plan.slots[..., :n], expected)
    assert len(weights) == len(case.under("inter.w_ca.")) == (2 if group == "cclnn" else 0)
    for i, found in enumerate(weights):
        assert_golden(found, case[f"inter.w_ca.{i}"], float32=1e-5)
