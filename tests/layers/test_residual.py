"""EDSR's residual block: released tensors, errors."""

import torch
from golden.reader import assert_golden, assert_golden_gradients, cases, read

from cclnn.layers import ResBlock

OFFICIAL = {"conv1": "body.0", "conv2": "body.2"}


def official_name(key):
    child, kind = key.split(".")
    return f"{OFFICIAL[child]}.{kind}"


@cases("resblock")
def test_golden_output_and_gradients(name):
    case = read(name)
    layer = ResBlock(case.params["C"], res_scale=case.params["res_scale"]).to(case["input.x"].dtype)
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    named = {official_name(key): parameter for key, parameter in layer.named_parameters()}
    assert_golden_gradients(case, x, named, float32=1e-5)


def test_res_scale_zero_is_the_identity():
    x = torch.randn(2, 5, 3, 7)
    assert torch.equal(ResBlock(5, res_scale=0.0)(x), x)


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=5 h w\), got \(2, 4, 3, 7\)"):
        ResBlock(5)(torch.rand(2, 4, 3, 7))
    with rejects(r"`x` must have shape \(b c=5 h w\), got \(5, 3, 7\)"):
        ResBlock(5)(torch.rand(5, 3, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 5, 0, 7\)"):
        ResBlock(5)(torch.rand(2, 5, 0, 7))
    with rejects("`channels` must be at least 1, got 0"):
        ResBlock(0)
