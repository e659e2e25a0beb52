"""Cross-scale attention: released tensors, patches cut out and pasted as a formula, sizes of any kind."""

import pytest
import torch
from conftest import annotations_are_checked
from golden.reader import assert_golden_layer, cases, load_official, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.layers import CrossScaleAttention
from cclnn.layers.cross_scale_attention import reduce_bilinear

NAMES = {"query": "conv_match_1", "key": "conv_match_2", "value": "conv_assembly"}


@cases("csnln_csa")
def test_golden_output_and_gradients(name):
    case = read(name)
    p = case.params
    layer = CrossScaleAttention(p["C"], scale=p["scale"], reduction=p["reduction"], softmax_scale=p["softmax_scale"])
    load_official(case, layer, NAMES, without=("escape_NaN",))
    assert_golden_layer(case, layer, NAMES)


def cut_out(layer, x):
    """The definition: patches of 3 s x 3 s cut out of the values, pasted at s times their query's place."""
    s = layer.scale
    query, value = layer.query(x), layer.value(x)
    key = layer.key(F.interpolate(x, scale_factor=1 / s, mode="bilinear", align_corners=False))
    queries, keys = F.unfold(query, 3, padding=1), F.unfold(key, 3, padding=1)
    keys = keys / keys.norm(dim=1, keepdim=True).clamp_min(1e-4)
    weights = (layer.softmax_scale * queries.mT @ keys).softmax(dim=2)
    patches = F.unfold(value, 3 * s, padding=s, stride=s)
    height, width = (s * side for side in x.shape[2:])
    return F.fold(patches @ weights.mT, (height, width), 3 * s, padding=s, stride=s) / 6


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_is_patches_cut_out_and_pasted(scale):
    layer = CrossScaleAttention(6, scale=scale, reduction=3).double()
    x = torch.randn(2, 6, 2 * scale, 3 * scale, dtype=torch.float64)
    assert_close(layer(x), cut_out(layer, x))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_keys_are_reduced_bilinearly_without_antialiasing(scale):
    x = torch.randn(2, 5, 4 * scale, 3 * scale, dtype=torch.float64)
    expected = F.interpolate(x, scale_factor=1 / scale, mode="bilinear", align_corners=False)
    assert_close(reduce_bilinear(x, scale), expected)
    if scale == 3:
        assert torch.equal(reduce_bilinear(x, scale), x[..., 1::3, 1::3])


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 7), (7, 11)])
def test_other_sizes_are_padded_by_their_last_pixels_and_cropped(scale, size):
    layer = CrossScaleAttention(4, scale=scale).double()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    bottom, right = (-side % scale for side in size)
    whole = layer(F.pad(x, (0, right, 0, bottom), mode="replicate"))
    assert_close(layer(x), whole[:, :, : scale * size[0], : scale * size[1]])


def test_constant_maps_gain_by_the_number_of_patches_over_six():
    """9 patches meet inside, 6 along an edge, 4 in a corner; the values do not vary."""
    layer = CrossScaleAttention(2).double()
    size, s = 20, 2
    with torch.no_grad():
        layer.query[0].weight.zero_()
        layer.query[0].bias.zero_()  # all scores are 0: every query takes the mean of all patches
        layer.value[0].weight.zero_()
        layer.value[0].bias.fill_(1)
        out = layer(torch.rand(1, 2, size, size, dtype=torch.float64))[0, 0]
    keys = size // s
    part = [(keys - 1) / keys, 1.0, (keys - 1) / keys]  # of all patches, those that have a block at offset -1, 0, 1
    inside, edge = sum(part), sum(part[:2])
    assert_close(out[size, size].item(), inside**2 / 6)
    assert_close(out[0, size].item(), edge * inside / 6)
    assert_close(out[0, 0].item(), edge**2 / 6)


def test_keys_of_zero_have_scores_of_zero():
    layer = CrossScaleAttention(2).double()
    with torch.no_grad():
        layer.key[0].weight.zero_()
        layer.key[0].bias.zero_()
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    assert_close(layer(x), cut_out(layer, x))


def test_zero_keys_have_finite_gradients():
    layer = CrossScaleAttention(2)
    with torch.no_grad():
        layer.key[0].bias.zero_()
    x = torch.zeros(1, 2, 4, 6, requires_grad=True)
    layer(x).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_parameters_are_those_of_the_released_layer():
    assert sum(parameter.numel() for parameter in CrossScaleAttention(128).parameters()) == 33_027


def test_memory_does_not_hold_all_scores():
    """160x128 pixels: all scores would take 420 MB."""
    peak = peak_memory(CrossScaleAttention(3, reduction=3), (160, 128))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < 120 * 2**20


@pytest.mark.parametrize("scale", [2, 3])
def test_exported_program_is_for_sizes_of_any_remainder(scale, request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    layer = CrossScaleAttention(4, scale=scale).eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        program = torch.export.export(layer, (torch.rand(2, 4, 13, 17),), dynamic_shapes={"x": sizes}).module()
        for shape in ((1, 4, 12, 18), (3, 4, 5, 6), (1, 4, 7, 11)):
            x = torch.rand(shape)
            assert_close(program(x), layer(x))


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(1, 4, 5, 7\)"):
        CrossScaleAttention(8)(torch.rand(1, 4, 5, 7))
    with rejects("`scale` must be at least 1, got 0"):
        CrossScaleAttention(8, scale=0)
    with rejects("`reduction`=3 must divide `channels`=8"):
        CrossScaleAttention(8, reduction=3)
