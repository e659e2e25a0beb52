"""Official state dicts: what is read off them, how keys are renamed, and that nothing is dropped."""

import pytest
import torch
from golden.reader import read
from torch.testing import assert_close

from cclnn.hub import convert_official
from cclnn.hub.convert import rename
from cclnn.models import CCLNN, EDSR, NLSN, create_model

NETWORKS = [
    ("edsr", "edsr_x2_grad.f32", EDSR),
    ("edsr", "edsr_x2_r255.f32", EDSR),
    ("edsr", "edsr_x3_r1.f32", EDSR),
    ("edsr-baseline", "edsr_x4_r255.f32", EDSR),
    ("nlsn", "nlsn_x2.f32", NLSN),
    ("nlsn", "nlsn_x3.f32", NLSN),
    ("nlsn-l", "nlsn_x4_r255.f32", NLSN),
    ("cclnn", "cclnn_x2.f32", CCLNN),
    ("cclnn-l", "cclnn_x4.f32", CCLNN),
]
networks = pytest.mark.parametrize(("architecture", "name", "kind"), NETWORKS)


@pytest.fixture
def official():
    """The state dict of a tiny official EDSR."""
    return read("edsr_x2_grad.f32").under("state.")


@networks
def test_arguments_are_read_off_the_tensors(architecture, name, kind):
    case = read(name)
    model = convert_official(architecture, case.under("state."))
    params = case.params
    assert type(model) is kind
    assert not model.training
    expected = {
        "scale": params["scale"],
        "channels": params["n_feats"],
        "n_resblocks": params["n_resblocks"],
        "rgb_range": params["rgb_range"],
    }
    if kind is not EDSR:
        expected["match_reduction"] = 4
    if kind is CCLNN:
        expected["reduction"] = params["reduction"]
    assert model.config.items() >= expected.items()


@networks
def test_every_tensor_arrives_under_a_name_of_its_own(architecture, name, kind):
    state = read(name).under("state.")
    ours = convert_official(architecture, state).state_dict()
    assert sorted(map(rename, state)) == sorted(ours)
    for key, tensor in state.items():
        assert torch.equal(ours[rename(key)], tensor), key


def test_what_no_tensor_shows_comes_from_the_table_or_the_arguments():
    state = read("nlsn_x2.f32").under("state.")
    config = convert_official("nlsn", state).config
    assert config.items() >= {"res_scale": 0.1, "n_hashes": 4, "chunk_size": 144}.items()
    config = convert_official("nlsn", state, res_scale=0.5, n_hashes=2, chunk_size=36, seed=3).config
    assert config.items() >= {"res_scale": 0.5, "n_hashes": 2, "chunk_size": 36, "seed": 3}.items()


def test_float64_tensors_give_a_float64_model_with_float32_rotations():
    model = convert_official("nlsn", read("nlsn_x2.f64").under("state."))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert model.body[0].rotations.dtype == torch.float32


def test_scale_eight_is_recognised():
    model = create_model("edsr", scale=8, channels=4, n_resblocks=1)
    state = {}
    for key, tensor in model.state_dict().items():
        official = key.replace("head.", "head.0.").replace("conv1", "body.0").replace("conv2", "body.2")
        state[official] = tensor
    again = convert_official("edsr", state)
    assert again.scale == 8
    x = torch.rand(1, 3, 5, 7)
    assert_close(again(x), model.eval()(x))


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("sub_mean.weight", "sub_mean.weight"),
        ("add_mean.bias", "add_mean.bias"),
        ("head.0.weight", "head.weight"),
        ("body.32.bias", "body.32.bias"),
        ("body.11.body.0.weight", "body.11.conv1.weight"),
        ("body.11.body.2.bias", "body.11.conv2.bias"),
        ("body.9.conv_match.0.weight", "body.9.conv_match.weight"),
        ("body.9.conv_assembly.0.bias", "body.9.conv_assembly.bias"),
        ("body.0.pa.conv.weight", "body.0.pixel_attention.conv.weight"),
        ("body.0.nlsa.conv_match.0.bias", "body.0.nonlocal_attention.conv_match.bias"),
        ("body.0.cca.conv_du.0.weight", "body.0.channel_attention.squeeze.weight"),
        ("body.0.cca.conv_du.2.weight", "body.0.channel_attention.excite.weight"),
        ("body.0.res.body.0.weight", "body.0.residual.conv1.weight"),
        ("body.0.res.body.2.bias", "body.0.residual.conv2.bias"),
        ("tail.0.2.weight", "tail.0.2.weight"),
        ("tail.1.bias", "tail.1.bias"),
    ],
)
def test_rules_rename(key, ours):
    assert rename(key) == ours


@pytest.mark.parametrize(
    "key",
    ["head.1.weight", "body.x.bias", "tail.2.weight", "module.head.0.weight", "body.0.cca.conv_du.0.scale", "weight"],
)
def test_keys_without_a_rule_are_errors(key, official, rejects):
    official[key] = torch.zeros(1)
    with rejects(f"`state_dict` holds '{key}', which no rule of cclnn.hub.convert renames"):
        convert_official("edsr", official)


def test_a_missing_tensor_is_an_error(official, rejects):
    del official["body.1.body.2.bias"]
    with rejects(r"the official edsr state dict does not fit EDSR: missing body\.1\.conv2\.bias"):
        convert_official("edsr", official)


def test_an_unexpected_tensor_is_an_error(official, rejects):
    official["body.0.conv_match.0.bias"] = torch.zeros(2)
    with rejects(r"the official edsr state dict does not fit EDSR: unexpected body\.0\.conv_match\.bias"):
        convert_official("edsr", official)


def test_a_misshapen_tensor_is_an_error(official, rejects):
    official["body.0.body.0.bias"] = torch.zeros(7)
    with rejects(r"body\.0\.conv1\.bias has shape \(7,\), needs \(8,\)"):
        convert_official("edsr", official)


def test_weights_of_another_architecture_are_an_error(official, rejects):
    with rejects(r"the official nlsn state dict does not fit NLSN: missing body\.0\.conv_assembly\.bias"):
        convert_official("nlsn", official)


@pytest.mark.parametrize(
    ("key", "ours"),
    [("head.0.weight", "head.weight"), ("tail.0.0.weight", "tail.0.0.weight"), ("sub_mean.bias", "sub_mean.bias")],
)
def test_a_state_dict_of_another_family_is_an_error(key, ours, official, rejects):
    del official[key]
    with rejects(f"`state_dict` has no tensor for '{ours}'; is it a network of the EDSR family"):
        convert_official("edsr", official)


def test_unknown_architecture_suggests_the_nearest(official, rejects):
    with rejects(r"unknown model 'nlsm'\. Did you mean 'nlsn'\? list_models\(\) shows all\."):
        convert_official("nlsm", official)


def test_arguments_of_other_architectures_are_errors(official):
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_hashes'"):
        convert_official("edsr", official, n_hashes=4)
