"""Official state dicts: what is read off them, how keys are renamed, and that nothing is dropped."""

import pytest
import torch
from golden.reader import read

from cclnn.hub.renames import rename
from cclnn.layers.mean_shift import DIV2K_MEAN
from cclnn.models import EDSR, create_model
from cclnn.models._trunk import infer_white
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained import convert_official, detect, to_official


@pytest.fixture
def official():
    """The state dict of a tiny official EDSR."""
    return read("edsr_x2_grad.f32").under("state.")


def ours_of(kind, key):
    """Our name for an official key."""
    return rename(key, kind.architecture.released.renames)


def official_of(name, **arguments):
    """A model of ours and its state dict under official names."""
    model = create_model(name, **arguments)
    return model, to_official(model)


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


@pytest.mark.parametrize(
    "key",
    ["head.1.weight", "body.x.bias", "tail.2.weight", "module.head.0.weight", "body.0.cca.conv_du.0.scale", "weight"],
)
def test_keys_without_a_rule_are_errors(key, official, rejects):
    official[key] = torch.zeros(1)
    with rejects(f"`state_dict` holds '{key}', which no rule for EDSR renames"):
        convert_official("edsr", official)


def test_a_missing_tensor_is_an_error(official, rejects):
    del official["body.1.body.2.bias"]
    with rejects(r"the official edsr state dict does not fit EDSR: missing body\.1\.conv2\.bias"):
        convert_official("edsr", official)


def test_an_unexpected_tensor_is_an_error(official, rejects):
    official["body.0.conv_match.0.bias"] = torch.zeros(2)
    with rejects(r"`state_dict` holds 'body\.0\.conv_match\.0\.bias', which no rule for EDSR renames"):
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


# --- every architecture, there and back


def released():
    """(class, name of a variant, scale) for every architecture with released code."""
    return [
        pytest.param(kind, name, scale, id=f"{name}-x{scale}")
        for kind in ARCHITECTURES.values()
        if kind.architecture.released
        for name in kind.architecture.variants
        for scale in kind.architecture.scales
    ]


@pytest.mark.parametrize(("kind", "name", "scale"), released())
def test_released_to_ours_to_released_is_the_identity(kind, name, scale):
    record = kind.architecture
    model, official = official_of(name, scale=scale, **record.small)
    assert detect(official) == next(iter(record.variants))
    hidden = {argument: model.config[argument] for argument in record.unseen}
    again = convert_official("auto", official, **hidden)
    assert type(again) is kind
    assert again.config == model.config
    ours = model.state_dict()
    assert again.state_dict().keys() == ours.keys()
    assert all(torch.equal(tensor, ours[key]) for key, tensor in again.state_dict().items())
    back = to_official(again)
    assert back.keys() == official.keys()
    assert all(torch.equal(tensor, official[key]) for key, tensor in back.items())


# --- "auto", wrappers, and what is no checkpoint of ours


@pytest.mark.parametrize(
    ("name", "like", "arguments"),
    [
        ("cclnn", "cclnn-t", {"n_hashes": 1, "chunk_size": 64}),
        ("cclnn-t", "cclnn-l", {"n_hashes": 4, "res_scale": 0.1}),
    ],
)
def test_width_and_depth_tell_the_variant_whatever_name_is_given(name, like, arguments):
    _, state = official_of(like)
    assert convert_official(name, state).config.items() >= arguments.items()


def test_auto_names_what_it_does_not_know(rejects):
    with rejects(r"of no architecture that cclnn converts \(.*CCLNN, .*EDSR, .*\): it holds layer1\.weight, \.\.\."):
        convert_official("auto", {"layer1.weight": torch.zeros(2)})


@pytest.mark.parametrize("key", ["params_ema", "params", "state_dict", "model_state_dict", "model"])
def test_containers_and_prefixes_are_unpacked(key, official):
    inner = {f"module._orig_mod.{name}": tensor for name, tensor in official.items()}
    ours = convert_official("edsr", {key: inner, "iteration": 7}).state_dict()
    for name, tensor in official.items():
        assert torch.equal(ours[ours_of(EDSR, name)], tensor)


def test_averaged_weights_come_before_the_others(official):
    other = {name: tensor + 1 for name, tensor in official.items()}
    ours = convert_official("edsr", {"params": other, "params_ema": official}).state_dict()
    assert torch.equal(ours["head.bias"], official["head.0.bias"])


def test_what_is_no_floating_point_tensor_is_an_error(official, rejects):
    with rejects("`state_dict` must hold tensors, but 'epoch' is of type int"):
        convert_official("edsr", {**official, "epoch": 3})
    others = [
        (torch.zeros(8, dtype=torch.int64), r"torch\.int64, torch\.strided, on cpu"),
        (torch.zeros(8, dtype=torch.complex64), r"torch\.complex64, "),
        (torch.zeros(8).to(torch.float8_e5m2), r"torch\.float8_e5m2, "),
        (torch.zeros(8).to_sparse(), r"torch\.float32, torch\.sparse_coo, on cpu"),
        (torch.zeros(8, device="meta"), r"torch\.float32, torch\.strided, on meta"),
    ]
    for tensor, told in others:
        with rejects(rf"must hold plain floating-point tensors, but 'head\.0\.bias' is {told}"):
            convert_official("edsr", {**official, "head.0.bias": tensor})
    with rejects(r"`state_dict`: 'head\.0\.weight' of shape \(0, 3\) holds no numbers"):
        convert_official("edsr", {**official, "head.0.weight": torch.zeros(0, 3)})
    with rejects(r"head\.bias has shape \(\), needs \(8,\)"):
        convert_official("edsr", {**official, "head.0.bias": torch.tensor(1.0)})
    with rejects("`state_dict` holds no tensors"):
        convert_official("edsr", {})
    with rejects(r"`state_dict` holds numbers that are not finite, in head\.bias\."):
        convert_official("edsr", {**official, "head.0.bias": torch.full((8,), torch.nan)})


@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_white_is_recognised_in_half_precision_and_after_training(white, dtype, official):
    bias = -white * torch.tensor(DIV2K_MEAN)
    for moved in (bias.to(dtype), bias * 1.01):
        assert infer_white(moved) == white


def test_white_that_is_neither_1_nor_255_must_be_given(official, rejects):
    official["sub_mean.bias"] = -100 * torch.tensor(DIV2K_MEAN)
    with rejects("sub_mean.bias fits rgb_range=100, neither 1 nor 255; give `rgb_range`"):
        convert_official("edsr", official)
    assert convert_official("edsr", official, rgb_range=100.0).config["rgb_range"] == 100.0


def test_a_few_numbers_that_imply_a_huge_network_take_no_memory(rejects):
    """Width from one tensor, depth from names: 75 GB if they were believed."""
    state = {f"body.{i}.body.0.weight": torch.zeros(1) for i in range(1000)}
    state |= {"head.0.weight": torch.zeros(1024, 1), "tail.0.0.weight": torch.zeros(4096, 1)}
    state |= {"sub_mean.bias": -torch.tensor(DIV2K_MEAN)}
    with rejects(r"the official edsr state dict does not fit EDSR: body\.0\.conv1\.weight has shape \(1,\), needs"):
        convert_official("edsr", state)


def test_converting_leaves_the_random_state(official):
    before = torch.get_rng_state()
    convert_official("edsr", official)
    assert torch.equal(torch.get_rng_state(), before)
