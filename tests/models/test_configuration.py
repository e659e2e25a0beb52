"""Configurations: captured from the constructor's call, and checked where a file holds them."""

import inspect
import json
import re
from typing import Annotated, Literal

import pytest
import torch

import cclnn
from cclnn._arguments import Later, Length, Range, captured, problems_of
from cclnn.hub.description import parse
from cclnn.models._files import build, describe, weightless
from cclnn.models.registry import ARCHITECTURES, models


@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_repr_shows_every_argument(kind):
    """Those of the configuration by the model, the attention's backend by its layers."""
    model = kind(**kind.architecture.small, device="meta")
    arguments = inspect.signature(kind).parameters.keys() - {"device", "dtype", "backend"}
    assert model.config.keys() == arguments
    first, shown = repr(model).splitlines()[:2]
    assert first == f"{kind.__name__}("
    assert {f"{name}={value!r}" for name, value in model.config.items()} == set(re.split(r", (?=\w+=)", shown.strip()))
    if "backend" in inspect.signature(kind).parameters:
        assert "backend='reference'" in repr(kind(**kind.architecture.small, backend="reference", device="meta"))


class Toy:
    """A constructor with arguments of every kind, none of them like EDSR's."""

    def __init__(
        self,
        scale: int = 2,
        *,
        depth: int = 3,
        gain: float | None = None,
        flag: bool = False,
        widths: Annotated[list[int], Range(1, 64), Length(1, 3)] = (6, 6),
        stages: tuple[float, ...] = (),
        mode: Literal["a", "b", 3] = "a",
        slope: Annotated[float, Range(0, 1)] | None = None,
        backend: str = "auto",
        device: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        raise AssertionError


TOY = {
    **{"scale": 2, "depth": 3, "gain": None, "flag": False},
    **{"widths": [6, 6], "stages": [], "mode": "a", "slope": None},
}


def test_the_call_is_captured_with_its_defaults_as_json():
    assert captured(Toy, (), {"backend": "reference", "device": "cpu"}) == TOY
    widths = [1, 2]
    config = captured(Toy, (4,), {"widths": widths, "stages": (0.5,), "mode": 3})
    widths.append(3)
    assert config == {**TOY, "scale": 4, "widths": [1, 2], "stages": [0.5], "mode": 3}
    assert json.loads(json.dumps(config)) == config


def test_a_call_that_does_not_fit_is_left_to_the_constructor():
    assert captured(Toy, (), {"wings": 2}) == {}
    with pytest.raises(TypeError, match="unexpected keyword argument 'wings'"):
        cclnn.EDSR(2, wings=2)


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        ({"depth": 1024, "gain": -1e6, "flag": True, "widths": [64], "mode": 3, "slope": 1}, []),
        ({"depth": 1025}, ["depth must lie in [0, 1024], got 1025"]),
        ({"gain": 1e7}, ["gain must lie in [-1000000.0, 1000000.0], got 10000000.0"]),
        ({"gain": "x"}, ["gain must be float | None, got 'x'"]),
        ({"flag": 1}, ["flag must be bool, got 1"]),
        ({"widths": 6}, ["widths must be list[int], got 6"]),
        ({"widths": [6, 6.5]}, ["widths must be list[int], got [6, 6.5]"]),
        ({"widths": [6, True]}, ["widths must be list[int], got [6, True]"]),
        ({"widths": [6, 65]}, ["widths must lie in [1, 64], got 65"]),
        ({"widths": []}, ["widths must have 1 to 3 elements, got 0"]),
        ({"stages": [0.5] * 257}, ["stages must have 0 to 256 elements, got 257"]),
        ({"stages": [float("nan")]}, ["stages must lie in [-1000000.0, 1000000.0], got nan"]),
        ({"mode": True}, ["mode must be typing.Literal['a', 'b', 3], got True"]),
        ({"slope": 1.5}, ["slope must lie in [0, 1], got 1.5"]),
        ({"backend": "auto"}, ["unexpected backend"]),
    ],
)
def test_what_a_file_asks_for_is_checked_against_the_annotations(changed, problems):
    assert problems_of(Toy, {**TOY, **changed}) == problems


def test_an_argument_added_later_may_be_missing_from_a_file():
    class Grown:
        def __init__(self, width: int, option: Annotated[int, Range(1, 3), Later()] = 1) -> None: ...

    assert problems_of(Grown, {"width": 4}) == []
    assert problems_of(Grown, {"option": 4}) == ["missing width", "option must lie in [1, 3], got 4"]


def test_a_missing_argument_is_a_problem():
    assert problems_of(Toy, {name: value for name, value in TOY.items() if name != "mode"}) == ["missing mode"]


@pytest.mark.parametrize("name", cclnn.list_models())
def test_every_model_is_described_and_rebuilt(name):
    """Through JSON, on "meta": same architecture, same names and shapes, same configuration; constants are real."""
    variant = models()[name]
    model = cclnn.create_model(name, scale=variant.record.scales[0], device="meta")
    description = parse(json.dumps(describe(model).as_json()), "here")
    assert description == describe(model)
    twin = build(variant.kind, description.arguments, "here")
    assert twin.config == model.config
    assert {k: x.shape for k, x in twin.state_dict().items()} == {k: x.shape for k, x in model.state_dict().items()}
    stored = twin.state_dict().keys()
    for key, tensor in [*twin.named_parameters(), *twin.named_buffers()]:
        assert tensor.is_meta == (key in stored), key


def test_building_draws_no_random_number():
    class Drawing(cclnn.EDSR):
        def __init__(self, *, device=None) -> None:
            super().__init__(2, channels=8, n_resblocks=1, device=device)
            self.noise = torch.randn(3)

    before = torch.get_rng_state()
    noise = weightless(Drawing, {}).noise
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.randn(3), noise)
