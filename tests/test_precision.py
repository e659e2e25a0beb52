"""The policy of number formats and layouts."""

import pytest
import torch

from cclnn import precision
from cclnn.layers import ResBlock


def test_names_map_to_dtypes(rejects):
    assert precision.choose_dtype("fp32", "cpu") == torch.float32
    assert precision.choose_dtype("bf16", "cpu") == torch.bfloat16
    assert precision.choose_dtype("fp16", "cuda") == torch.float16
    with rejects("`precision` must be one of 'auto', 'fp32', 'bf16', 'fp16', got 'half'"):
        precision.choose_dtype("half", "cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bf16_where_the_hardware_is_fast_at_it(monkeypatch, fast, expected):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    assert precision.choose_dtype("auto", "cpu") == expected


def test_autocast_is_off_for_float32():
    layer, x = ResBlock(4), torch.rand(1, 4, 5, 7)
    with precision.autocast(torch.float32, "cpu"):
        assert layer.conv1(x).dtype == torch.float32
    with precision.autocast(torch.bfloat16, "cpu"):
        assert layer.conv1(x).dtype == torch.bfloat16


def test_cast_once_casts_under_autocast_only():
    x = torch.rand(1, 4, 5, 7)
    assert precision.cast_once(x) is x
    with precision.autocast(torch.bfloat16, "cpu"):
        assert torch.equal(precision.cast_once(x), x.bfloat16())


def test_lay_out_changes_strides_and_nothing_else():
    layer, x = ResBlock(4).double(), torch.rand(1, 4, 5, 7, dtype=torch.float64)
    before = layer(x)
    assert precision.lay_out(layer) is layer
    assert layer.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), before)
