"""Networks of the paper's Table 5 and the sources of its ideas: quirks, variants, memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.models import create_model
from cclnn.ops import imresize, rgb_to_y
from cclnn.pretrained import convert_official, to_official


def create_small(name):
    return dict(create_model(name, device="meta").architecture.small)


def test_scale_of_pan_and_a2n_shows_for_x4_only():
    for name in ("pan", "a2n"):
        states = {scale: to_official(create_model(name, scale=scale, **create_small(name))) for scale in (2, 3, 4)}
        assert states[2].keys() == states[3].keys()
        assert convert_official("auto", states[4]).scale == 4
        assert convert_official("auto", states[3], scale=3).scale == 3


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("vdsr", {"colours": "rgb"}, 668_227),
        ("vdsr", {"colours": "rgb", "bias": False}, 667_008),
        ("vdsr", {"bias": False}, 664_704),
        ("srcnn", {"kernel": 3}, 24_513),
        ("srcnn", {"colours": "rgb"}, 20_099),
        ("srcnn", {"colours": "rgb", "kernel": 3}, 36_483),
        ("srcnn", {"colours": "rgb", "kernel": 5}, 69_251),
    ],
)
def test_parameters_of_variants(name, arguments, count):
    """Those of the records are tested with the others; without the scalars of the mean shifts of VDSR on RGB."""
    assert sum(p.numel() for p in create_model(name, **arguments).parameters()) == count


@pytest.mark.parametrize("name", ["srcnn", "vdsr"])
def test_luma_is_refined_and_chroma_stays_bicubic(name):
    model = create_model(name, scale=3).double().eval()
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        y = model(x)
        enlarged = imresize(x, 3.0)
        assert_close(rgb_to_y(y), model.refine(rgb_to_y(enlarged)))
    assert_close(y - y.mean(dim=1, keepdim=True), enlarged - enlarged.mean(dim=1, keepdim=True))


def test_divanet_enlarges_as_torch_does():
    model = create_model("divanet", scale=3, **create_small("divanet")).eval()
    for parameter in (model.tail.magnitude, model.tail.bias):
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 3, 5, 7)
    with torch.no_grad():
        y = model(x)
    assert_close(y, F.interpolate(x, scale_factor=3.0, mode="bicubic", align_corners=False), rtol=0, atol=1e-5)
    assert not torch.allclose(y, imresize(x, 3.0), atol=1e-3)
    assert [conv.groups for conv in model.upsampler] == [4]


@pytest.mark.parametrize("name", ["pan", "a2n"])
def test_pan_and_a2n_add_the_bilinear_image_without_mean_shift(name):
    model = create_model(name, scale=3, **create_small(name)).eval()
    for parameter in model.tail.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 3, 5, 7)
    with torch.no_grad():
        assert_close(model(x), F.interpolate(x, scale_factor=3.0, mode="bilinear"))
    assert not any("mean" in key for key in model.state_dict())


def test_trained_mean_shift_of_rcan_is_copied():
    model = create_model("rcan", **create_small("rcan"))
    official = to_official(model)
    official["sub_mean.weight"] = official["sub_mean.weight"] * 1.01
    official["add_mean.bias"] = official["add_mean.bias"] + 0.5
    again = convert_official("auto", official)
    assert torch.equal(again.sub_mean.weight, official["sub_mean.weight"])
    assert torch.equal(again.add_mean.bias, official["add_mean.bias"])


def test_enlcn_has_a_loss_in_training_only():
    model = create_model("enlcn", **create_small("enlcn"))
    x = torch.rand(1, 3, 9, 11)
    assert model(x, return_loss=True)[1] > 0
    assert model.eval()(x, return_loss=True)[1] == 0


@pytest.mark.parametrize("name", ["rnan", "enlcn"])
def test_memory_of_dense_models_grows_with_pixels_not_their_square(name):
    """72x72 pixels: the scores of one attention at once would take 103 MiB, and as much again after the softmax."""
    peak = peak_memory(create_model(name, **create_small(name)), (72, 72))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < 150 * 2**20
