"""HAN: told from an RCAN, whose keys it has and more; its attentions."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.models import HAN, RCAN, create_model
from cclnn.pretrained import convert_official, detect, to_official

SMALL = {"channels": 4, "n_groups": 2, "n_blocks": 1, "reduction": 2}


def test_is_told_from_an_rcan_whose_keys_it_has_and_more():
    han, rcan = (to_official(create_model(name, **SMALL)) for name in ("han", "rcan"))
    assert set(rcan) < set(han)
    assert detect(han) == "han"
    assert detect(rcan) == "rcan"
    assert isinstance(convert_official("auto", rcan), RCAN)


def test_keys_of_neither_are_named_with_both(rejects):
    state = {**to_official(create_model("han", **SMALL)), "lb.gamma": torch.zeros(1)}
    with rejects("`state_dict` fits HAN and RCAN; name the architecture"):
        convert_official("auto", state)
    with rejects("`state_dict` holds 'lb.gamma', which no rule for HAN renames"):
        convert_official("han", state)


def test_another_kernel_is_an_error(rejects):
    state = to_official(create_model("han", **SMALL))
    with rejects(r"channel_spatial_attention\.conv\.weight has shape \(27,\), needs \(1, 3, 3, 3\)"):
        convert_official("auto", {**state, "csa.conv.weight": torch.zeros(27)})
    with rejects(r"`state_dict` must hold tensors, but 'csa\.conv\.weight' is of type int"):
        convert_official("auto", {**state, "csa.conv.weight": 3})


def test_stages_are_the_outputs_of_the_body_the_last_first():
    model = HAN(**SMALL).double().eval()
    x = torch.rand(1, 4, 5, 7, dtype=torch.float64)
    first = model.body[0](x)
    second = model.body[1](first)
    assert_close(model.stages(x), torch.stack([model.body[2](second), second, first], dim=1))


@pytest.mark.parametrize(("white", "sharpest"), [(255.0, 1.0), (1.0, 0.999)])
def test_layer_attention_is_nearly_one_hot_at_initialisation(white, sharpest):
    """Every map takes one single other, whatever the image: products over 64 x 24 x 24 numbers are not scaled."""
    model = create_model("han", rgb_range=white, n_blocks=2).eval()
    rows = torch.linspace(0, 1, 24)[:, None]
    x = (0.5 + 0.5 * torch.sin(9 * rows + torch.arange(24) / 5)).expand(1, 3, 24, 24)
    with torch.no_grad():
        shares = model.layer_attention.shares(model.stages(model.head(model.sub_mean(x * white))))
    assert shares.shape == (1, 11, 11)
    assert shares.amax(dim=2).min() >= sharpest


def test_attentions_start_as_the_identity():
    model = HAN(**SMALL).eval()
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        features = model.head(model.sub_mean(x * 255))
        maps = model.stages(features)
        deep = model.merge(torch.cat([maps[:, 0], model.merge_layers(maps.flatten(1, 2))], dim=1))
        assert torch.equal(model(x), model.add_mean(model.tail(features + deep)) / 255)
