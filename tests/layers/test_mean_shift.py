"""Mean shift: released tensors, float32 at least, buffers instead of parameters, errors."""

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch.testing import assert_close

from cclnn.layers import MeanShift


@cases("meanshift")
def test_golden_shift_there_and_back(name):
    case = read(name)
    white = float(case.params["rgb_range"])
    subtract, add = MeanShift(white), MeanShift(white, sign=1)
    for layer, key in ((subtract, "sub"), (add, "add")):
        official = case.under(f"state.{key}.")
        assert official.keys() == layer.state_dict().keys()
        for name_, tensor in layer.state_dict().items():
            assert_golden(tensor, official[name_], float32=1e-6)
    shifted = subtract(case["input.x"])
    assert_golden(shifted, case["output.sub"], float32=1e-5)
    assert_golden(add(shifted), case["output.addsub"], float32=1e-5)


def test_mean_colour_becomes_zero():
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
    assert MeanShift()(mean.expand(2, 3, 5, 7)).abs().max() == 0
    assert_close(MeanShift(255.0, sign=1)(torch.zeros(1, 3, 1, 1)), 255 * mean)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_and_autocast_are_computed_in_float32(low):
    """Quirk: an image has more than bfloat16's 8 bits."""
    x = torch.rand(2, 3, 5, 7)
    layer = MeanShift()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert torch.equal(y, layer(x))
    y = layer(x.to(low))
    assert y.dtype == torch.float32
    assert torch.equal(y, layer(x.to(low).float()))


def test_has_twelve_buffers_in_its_state_dict_and_no_parameter():
    layer = MeanShift()
    assert list(layer.parameters()) == []
    assert sum(tensor.numel() for tensor in layer.state_dict().values()) == 12


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(2, 1, 5, 7\)"):
        MeanShift()(torch.rand(2, 1, 5, 7))
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(3, 5, 7\)"):
        MeanShift()(torch.rand(3, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 3, 5, 0\)"):
        MeanShift()(torch.rand(2, 3, 5, 0))
    with rejects("`sign` must be one of -1, 1, got 2"):
        MeanShift(sign=2)
