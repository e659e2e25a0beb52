"""Networks of the paper's Table 5 and the sources of its ideas: released tensors through the converter, and quirks."""

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.models import create_model
from cclnn.ops import imresize, rgb_to_y
from cclnn.pretrained import convert_official, to_official


def run(name, architecture, **arguments):
    """Output of the converted network in the file's range of values, and every key back under its official name."""
    case = read(name)
    official = case.under("state.")
    model = convert_official(architecture, official, **arguments)
    again = to_official(model)
    assert again.keys() == official.keys()
    for key, tensor in official.items():
        assert torch.equal(again[key], tensor), key
    white = case.params["rgb_range"]
    y = model(case["input.x"] / white) * white
    assert_golden(y, case["output.y"], float32=1e-4, scale=case["output.y"].std().item())
    return model


@cases("rcan")
def test_golden_rcan(name):
    run(name, "auto")


@cases("rnan")
def test_golden_rnan(name):
    run(name, "auto")


@cases("a2n")
def test_golden_a2n(name):
    run(name, "auto")


@cases("divanet")
def test_golden_divanet(name):
    run(name, "auto")


@cases("vdsr_rgb")
def test_golden_vdsr_port_for_rgb(name):
    model = run(name, "vdsr", scale=1)
    assert model.config.items() >= {"colours": "rgb", "bias": True, "rgb_range": 255.0}.items()


@cases("vdsr_y")
def test_golden_vdsr_port_for_luma(name):
    case = read(name)
    official = case.under("state.")
    model = convert_official("auto", official)
    assert model.config.items() >= {"colours": "y", "bias": False, "n_layers": 20}.items()
    assert_golden(model.refine(case["input.x"]), case["output.y"], float32=1e-4, scale=case["output.y"].std().item())
    again = to_official(model)
    assert again.keys() == official.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in official.items())


@cases("srcnn")
def test_golden_srcnn_continues_the_image_by_its_edge(name):
    case = read(name)
    model = convert_official("auto", case.under("state."))
    assert_golden(model.refine(case["input.x"]), case["output.y"], float32=1e-5)
    assert not torch.allclose(model.refine(case["input.x"]), case["output.y_zeropad"])


@pytest.mark.parametrize(
    "architecture", ["rcan", "rnan", "a2n", "divanet", "pan", "enlcn", "vdsr", "srcnn", "srcnn-955"]
)
def test_is_detected_and_converted_there_and_back(architecture):
    small = {} if "srcnn" in architecture else create_small(architecture)
    model = create_model(architecture, **small).eval()
    official = to_official(model)
    again = convert_official("auto", {f"module.{key}": tensor for key, tensor in official.items()}, **small)
    assert again.config == model.config
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in model.state_dict().items())


def create_small(name):
    return dict(create_model(name, device="meta").architecture.small)


def test_scale_of_pan_and_a2n_shows_for_x4_only():
    for name in ("pan", "a2n"):
        states = {scale: to_official(create_model(name, scale=scale, **create_small(name))) for scale in (2, 3, 4)}
        assert states[2].keys() == states[3].keys()
        assert convert_official("auto", states[4]).scale == 4
        assert convert_official("auto", states[3], scale=3).scale == 3


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"colours": "rgb"}, 668_227),
        ({"colours": "rgb", "bias": False}, 667_008),
        ({}, 665_921),
        ({"bias": False}, 664_704),
    ],
)
def test_parameters_of_vdsr_variants(arguments, count):
    """Without the scalars of the mean shifts that the variants on RGB have."""
    assert sum(p.numel() for p in create_model("vdsr", **arguments).parameters()) == count


@pytest.mark.parametrize(
    ("kernel", "colours", "count"),
    [(1, "y", 8_129), (3, "y", 24_513), (5, "y", 57_281), (1, "rgb", 20_099), (3, "rgb", 36_483), (5, "rgb", 69_251)],
)
def test_parameters_of_srcnn_variants(kernel, colours, count):
    model = create_model("srcnn", kernel=kernel, colours=colours)
    assert sum(p.numel() for p in model.parameters()) == count


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


def test_messages(rejects):
    for name in ("pan", "a2n"):
        with rejects("`channels` must be at least 1, got 0"):
            create_model(name, channels=0)
        with rejects("`n_blocks` must be at least 1, got 0"):
            create_model(name, n_blocks=0)
        with rejects("`rgb_range` must be positive, got 0"):
            create_model(name, rgb_range=0.0)
        with rejects("no tensor for 'head.weight'; is it a PAN or an A2N"):
            convert_official(name, {"conv_last.weight": torch.zeros(3, 8, 3, 3)})
    with rejects("`n_groups` must be at least 1, got 0"):
        create_model("rcan", n_groups=0)
    with rejects("`n_groups` must be at least 2, got 1"):
        create_model("rnan", n_groups=1)
    with rejects("`kernel` must be odd, got 4"):
        create_model("srcnn", kernel=4)
    with rejects("`kernel` must be at least 1, got 0"):
        create_model("srcnn", kernel=0)
    with rejects("`colours` must be one of 'y', 'rgb', got 'yuv'"):
        create_model("srcnn", colours="yuv")
    with rejects("`n_layers` must be at least 2, got 1"):
        create_model("vdsr", n_layers=1)
    with rejects("`channels` must be at least 1, got 0"):
        create_model("vdsr", channels=0)
    with rejects("`rgb_range` must be positive, got -1"):
        create_model("vdsr", rgb_range=-1.0)
    with rejects("no tensor for 'body.0.weight'; is it a VDSR"):
        convert_official("vdsr", {"sub_mean.bias": torch.zeros(3)})
    with rejects("no tensor for 'conv2.weight'; is it an SRCNN"):
        convert_official("srcnn", {"conv1.weight": torch.zeros(64, 1, 9, 9)})
    with rejects("no tensor for 'head.direction'; is it a DiVANet"):
        convert_official("divanet", {"exit1.bias": torch.zeros(3)})
