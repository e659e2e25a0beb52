"""Non-local attention within one scale: released tensors, all scores as a formula."""

import torch
from golden.reader import assert_golden_layer, cases, load_official, read
from torch.testing import assert_close

from cclnn.layers import NonLocalAttention

NAMES = {"query": "conv_match1", "key": "conv_match2", "value": "conv_assembly"}


@cases("csnln_nla")
def test_golden_output_and_gradients(name):
    case = read(name)
    layer = NonLocalAttention(case.params["C"], reduction=case.params["reduction"])
    load_official(case, layer, NAMES)
    assert_golden_layer(case, layer, NAMES)


def test_is_softmax_attention_without_scale_residual_or_output_convolution():
    layer = NonLocalAttention(6, reduction=3).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    query, key, value = (part(x).flatten(2) for part in (layer.query, layer.key, layer.value))
    weights = torch.einsum("bei,bej->bij", query, key).softmax(dim=2)
    assert_close(layer(x), torch.einsum("bij,bcj->bci", weights, value).reshape(x.shape))


def test_parameters_are_those_of_the_released_layer():
    assert sum(parameter.numel() for parameter in NonLocalAttention(128).parameters()) == 33_027


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(1, 4, 5, 7\)"):
        NonLocalAttention(8)(torch.rand(1, 4, 5, 7))
    with rejects("`reduction`=3 must divide `channels`=8"):
        NonLocalAttention(8, reduction=3)
