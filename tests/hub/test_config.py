"""Configurations: every model's own passes, whatever else they hold is caught (tests/hub/test_hostile_files.py)."""

import json

import pytest
import torch

import cclnn
from cclnn.hub.config import blank, build, check, describe, parse
from cclnn.models._registry import ARCHITECTURES, MODELS


def weightless(name, scale):
    with torch.device("meta"):
        return cclnn.create_model(name, scale=scale)


@pytest.mark.parametrize("name", cclnn.list_models())
def test_every_model_is_described_and_rebuilt(name):
    """Through JSON, on "meta" and on the CPU: same architecture, same names and shapes, same configuration."""
    model = weightless(name, MODELS[name].scales[0])
    description = parse(json.dumps(describe(model)), "here")
    assert description == describe(model)
    twin = build(description, "here", device="meta")
    assert type(twin) is type(model)
    assert twin.config == model.config
    assert {k: x.shape for k, x in twin.state_dict().items()} == {k: x.shape for k, x in model.state_dict().items()}
    assert {parameter.device.type for parameter in twin.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["cclnn-t", "edsr-baseline", "nlsn-l"])
def test_building_leaves_the_random_state_and_keeps_constants(name):
    model = cclnn.create_model(name)
    before = torch.get_rng_state()
    twin = build(describe(model), "here", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    for buffer, expected in zip(twin.buffers(), model.buffers(), strict=True):
        assert torch.equal(buffer, expected)


def test_constructors_that_draw_leave_the_random_state_too():
    class Drawing(cclnn.EDSR):
        def __init__(self) -> None:
            super().__init__(2, channels=8, n_resblocks=1)
            self.noise = torch.randn(3)

    before = torch.get_rng_state()
    noise = blank(Drawing, {}, device="cpu").noise
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.randn(3), noise)


def test_an_integer_may_stand_for_a_float():
    description = describe(cclnn.EDSR(2, channels=8, n_resblocks=1))
    description["arguments"] = {**description["arguments"], "res_scale": 1}
    check(description, "here")


def test_an_argument_without_limits_of_its_own_has_those_of_its_type(monkeypatch):
    class Toy(cclnn.EDSR):
        def __init__(self, scale: int = 2, *, depth: int = 3, gain: float | None = None, flag: bool = False) -> None:
            raise AssertionError

    monkeypatch.setitem(ARCHITECTURES, "Toy", Toy)

    def toy(**changed):
        arguments = {"scale": 2, "depth": 3, "gain": None, "flag": False, **changed}
        return {"schema": 1, "architecture": "Toy", "arguments": arguments}

    check(toy(), "here")
    check(toy(depth=1024, gain=-1e6, flag=True), "here")
    with pytest.raises(
        ValueError, match=r"depth must lie in \[0, 1024\], got 1025; flag must be bool, got 1; gain must"
    ):
        check(toy(depth=1025, gain=1e7, flag=1), "here")
    with pytest.raises(ValueError, match=r"here: `arguments` do not fit Toy: gain must be float \| None, got 'x'\."):
        check(toy(gain="x"), "here")


def test_choices_are_those_of_the_annotation():
    description = describe(cclnn.CCLNN(2, channels=16, n_resblocks=1))
    check(description, "here")
    description["arguments"] = {**description["arguments"], "branch": "eval(1)"}
    with pytest.raises(
        ValueError, match=r"branch must be typing\.Literal\['both', 'local', 'nonlocal'\], got 'eval\(1\)'"
    ):
        check(description, "here")
