"""State dicts without a configuration: whose they are, by names and shapes, and what is read off them."""

from pathlib import Path

import pytest
import torch
from golden.reader import read
from safetensors.torch import load_file
from torch import nn

import cclnn
from cclnn.models import ARCHITECTURES, CCLNN, EDSR, NLSN, SmallCCLNN, create_model
from cclnn.models.registry import models
from cclnn.pretrained import from_state_dict, recognize, to_official

WEIGHTS = Path(cclnn.__file__).parent / "weights"


def small(name, scale):
    """A small model of which names and shapes tell everything."""
    record = models()[name].record
    return create_model(name, scale=scale, **{key: record.small[key] for key in record.small.keys() - record.unseen})


def cases():
    """(name, scale) of the first variant of every architecture."""
    return [
        pytest.param(next(iter(kind.architecture.variants)), scale, id=f"{kind.__name__}-x{scale}")
        for kind in ARCHITECTURES.values()
        for scale in kind.architecture.scales
        if scale == 2 or "scale" not in kind.architecture.unseen
    ]


@pytest.mark.parametrize(("name", "scale"), cases())
def test_names_of_ours_and_of_the_released_code_give_the_model(name, scale):
    model = small(name, scale)
    states = [model.state_dict()]
    if model.architecture.released:
        states.append({"params": {f"module.{key}": tensor for key, tensor in to_official(model).items()}})
    for state in states:
        assert recognize(state) is type(model)
        again = from_state_dict(state)
        assert again.config == model.config
        assert not again.training
        assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", ARCHITECTURES.values())
def test_tensors_are_of_one_class_only(kind):
    """Each class alone is asked, so that the order of the classes decides nothing."""
    model = small(next(iter(kind.architecture.variants)), 2)
    fitting = {other for other in ARCHITECTURES.values() if recognize(model.state_dict(), among=[other])}
    assert fitting == {kind}
    if kind.architecture.released:
        official = to_official(model)
        assert {other for other in ARCHITECTURES.values() if recognize(official, among=[other])} == {kind}


@pytest.mark.parametrize(
    "model",
    [
        CCLNN(3, channels=16, n_resblocks=2, branch="local"),
        CCLNN(2, channels=16, n_resblocks=2, branch="nonlocal", similarity="cosine", match_reduction=2),
        CCLNN(2, channels=16, n_resblocks=9, reduction=4, centre=True),
        NLSN(4, channels=16, n_resblocks=2, similarity="cosine", centre=True),
        SmallCCLNN(4, channels=16, n_units=3, n_convs=2, n_blocks=2, reduction=4, match_reduction=2),
        SmallCCLNN(3, channels=16, n_units=2, n_convs=4, n_blocks=0),
    ],
    ids=lambda model: f"{type(model).__name__}-x{model.scale}",
)
def test_options_that_change_the_tensors_are_read_off_them(model):
    assert from_state_dict(model.state_dict()).config == model.config


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_published_weights_without_their_description_give_the_same_image(name):
    model = cclnn.load(name)
    again = from_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))  # stored in half precision
    assert again.head.weight.dtype == torch.float16
    x = torch.rand(1, 3, 17, 23)
    with torch.no_grad():
        assert torch.equal(again.float()(x), model(x))


def test_what_no_tensor_shows_comes_from_the_arguments():
    state = create_model("vdsr", scale=3, channels=8, n_layers=4).state_dict()
    assert from_state_dict(state).scale == 2
    assert from_state_dict(state, scale=3).scale == 3
    with pytest.raises(TypeError, match="unexpected keyword argument 'res_scale'"):
        from_state_dict(state, res_scale=0.1)


def test_released_tensors_give_what_the_released_code_gave():
    case = read("edsr_x2_grad.f32")
    state = case.under("state.")
    assert recognize(state) is EDSR
    assert recognize(state, among=[NLSN, CCLNN]) is None


def broken(change):
    state = dict(small("edsr", 2).state_dict())
    change(state)
    return state


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"weight": torch.zeros(3)},
        {"epoch": 3, "model": None},
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)).state_dict(),
        {f"body.{i}.weight": torch.zeros(()) for i in range(4)},
        {"head.weight": torch.zeros(4), "tail.weight": torch.zeros(4), "body.0.squeeze.weight": torch.zeros(0)},
        {"head.weight": torch.zeros(4), "tail.weight": torch.zeros(4), "body.0.0.weight": torch.zeros(1)},
        {"head.weight": torch.zeros(4, 3), "tail.0.0.weight": torch.zeros(4), "sub_mean.bias": torch.zeros(1)},
        broken(lambda state: state.pop("tail.1.bias")),
        broken(lambda state: state.update(extra=torch.zeros(1))),
        broken(lambda state: state.update({"head.bias": torch.zeros(5)})),
        broken(lambda state: state.update({"head.bias": "text"})),
        broken(lambda state: state.update({"head.bias": torch.zeros(16, dtype=torch.int32)})),
        broken(lambda state: state.update({"module.head.bias": torch.zeros(16)})),
    ],
)
def test_other_tensors_are_nobodys(state, rejects):
    assert recognize(state) is None
    with rejects("`state_dict` does not hold the tensors of a network that cclnn has"):
        from_state_dict(state)


def test_numbers_that_are_not_finite_are_refused(rejects):
    state = broken(lambda state: state.update({"head.bias": torch.full((16,), torch.nan)}))
    with rejects(r"`state_dict` holds numbers that are not finite, in head\.bias"):
        from_state_dict(state)
