"""What holds for every model of the table: sizes, gradients, configuration, files."""

import json
from copy import deepcopy
from inspect import signature

import pytest
import torch
from conftest import annotations_are_checked
from einops import rearrange
from few_layers import few_layers
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn.evaluation import evaluate
from cclnn.hub.renames import pattern
from cclnn.metrics import psnr
from cclnn.models import create_model, list_models
from cclnn.models.registry import ARCHITECTURES, models
from cclnn.ops import imresize

every_model = pytest.mark.parametrize("name", list_models())


def small(name, scale=None, **arguments):
    """The model, small as its record says, at its first scale unless another is given."""
    record = models()[name].record
    return create_model(name, scale=scale or record.scales[0], **record.small, **arguments)


def is_local(name):
    return models()[name].record.receptive_radius != "global"


def scales():
    """(name, scale) for every scale that each model was designed for."""
    return [
        pytest.param(name, scale, id=f"{name}-x{scale}") for name, v in models().items() for scale in v.record.scales
    ]


@pytest.mark.parametrize(("name", "scale"), scales())
def test_output_is_scale_times_as_large_on_odd_sizes(name, scale):
    model = small(name, scale).eval()
    with torch.no_grad():
        for b, h, w in ((1, 1, 1), (2, 5, 7), (1, 13, 3)):
            y = model(torch.rand(b, 3, h, w))
            assert y.shape == (b, 3, h * scale, w * scale)
            assert y.isfinite().all()


@every_model
def test_every_parameter_gets_a_gradient(name):
    model = small(name).train()
    for parameter in model.parameters():
        if not parameter.any():  # RNAN begins with some at zero, which hides what lies before them
            torch.nn.init.normal_(parameter, std=0.1)
    x = torch.rand(2, 3, 13, 17, requires_grad=True)
    y, loss = model(x, return_loss=True)
    (y.square().mean() + loss).backward()
    apart = [pattern(template) for template in model.architecture.trained_apart]
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any() != any(template.fullmatch(key) for template in apart), key
    assert x.grad.isfinite().all()
    assert x.grad.any()


@every_model
def test_config_rebuilds_the_model_also_through_json(name):
    model = small(name)
    config = json.loads(json.dumps(model.config))
    assert config == model.config
    again = type(model)(**config)
    assert again.config == model.config
    shapes, shapes_again = ({key: t.shape for key, t in m.state_dict().items()} for m in (model, again))
    assert shapes_again == shapes
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 11, 17)
    assert torch.equal(again.eval()(x), model.eval()(x))


@every_model
def test_saved_and_loaded_model_is_identical(name, tmp_path):
    model = small(name).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = cclnn.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    x = torch.rand(2, 3, 11, 17)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("name", [name for name, v in models().items() if "backend" in signature(v.kind).parameters])
def test_backends_give_the_same_image_and_are_not_part_of_the_config(name):
    model, reference = (small(name, backend=backend).eval() for backend in ("chunked", "reference"))
    reference.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 23, 29)
    assert_close(model(x), reference(x), rtol=0, atol=1e-5)
    assert model.config == reference.config
    assert "backend" not in model.config


@every_model
def test_evaluation_repeats_itself_and_leaves_the_random_state_alone(name):
    model = small(name).eval()
    x = torch.rand(1, 3, 13, 17)
    before = torch.get_rng_state()
    with torch.no_grad():
        first = model(x)
        assert torch.equal(model(x), first)
    assert torch.equal(torch.get_rng_state(), before)


@every_model
def test_an_image_alone_gives_the_same_as_in_a_batch(name):
    model = small(name).double().eval()
    x = torch.rand(2, 3, 13, 17, dtype=torch.float64)
    with torch.no_grad():
        assert_close(model(x[1:]), model(x)[1:], rtol=1e-11, atol=1e-11)


def positive(model):
    """The model in float64 with positive weights, in which nothing cancels."""
    for parameter in model.double().eval().parameters():
        torch.nn.init.uniform_(parameter, 0.005, 0.015)
    return model


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("name", "scale"), scales())
def test_an_output_pixel_depends_on_what_the_record_says(name, scale, axis):
    """The declared radius is exact, neither less nor more; one that is "global" reaches from end to end."""
    model = positive(small(name, scale))
    radius = model.architecture.reach(model)
    centre, length = (0, 60) if radius is None else (radius + 2, 2 * radius + 5)
    x = torch.rand(1, 3, *((length, 1) if axis == 2 else (1, length)), dtype=torch.float64, requires_grad=True)
    model(x).narrow(axis, centre * scale, scale).sum().backward()
    used = x.grad.abs().amax(dim=(0, 1, 5 - axis)).nonzero().flatten()
    seen = (used.min().item(), used.max().item())
    assert seen == ((0, length - 1) if radius is None else (centre - radius, centre + radius))


@pytest.mark.parametrize(("name", "scale"), [case for case in scales() if is_local(case.values[0])])
def test_tiles_that_overlap_by_the_radius_equal_the_whole(name, scale):
    model = small(name, scale)
    radius = model.architecture.reach(model)
    x = torch.rand(1, 3, 3 * radius + 20, 3 * radius + 31)
    whole = cclnn.Upscaler(model, tile="none", precision="fp32", device="cpu")(x)
    tiled = cclnn.Upscaler(model, tile=3 * radius + 9, overlap=radius, precision="fp32", device="cpu")(x)
    assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_every_network_is_evaluated_alone_and_as_the_mean_over_eight_symmetries(tmp_path):
    """The scores of "+" are those of the mean over four rotations, flipped and not."""
    networks = {name: few_layers(kind) for name, kind in ARCHITECTURES.items()}
    hr = torch.rand(1, 3, 7, 9).mul(255).byte().repeat_interleave(4, 2).repeat_interleave(4, 3)
    Image.fromarray(rearrange(hr, "1 c h w -> h w c").numpy()).save(tmp_path / "a.png")
    lr = imresize(hr, 0.5).float() / 255
    for ensemble in (False, True):
        found = evaluate(networks, [tmp_path], scale=2, memory=False, device="cpu", ensemble=ensemble)
        for name, network in networks.items():
            with torch.no_grad():
                sr = symmetric_mean(network, lr) if ensemble else network(lr)
            expected = psnr(sr.mul(255).round().clamp(0, 255).byte(), hr, border=2).item()
            assert_close(found.result(name, tmp_path.name).psnr, expected, rtol=0, atol=2e-3)


def symmetric_mean(network, x):
    results = []
    for turns in range(4):
        for axes in ([], [3]):
            turned = torch.rot90(x.flip(axes), turns, (2, 3))
            results.append(torch.rot90(network(turned), -turns, (2, 3)).flip(axes))
    return torch.stack(results).mean(dim=0)


@every_model
def test_autocast_keeps_images_float32(name):
    model = small(name).train()
    x = torch.rand(1, 3, 13, 17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, loss = model(x, return_loss=True)
    assert y.dtype == loss.dtype == torch.float32
    (y.mean() + loss).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@every_model
def test_low_precision_of_the_record_comes_near_and_keeps_the_dtype(name):
    """Root mean square errors below 2 % of the image's spread, by autocast and in a model of that precision.

    In the latter beyond what it costs to round the exact image: untrained, some networks make images of little spread.
    """
    model = small(name).double().eval()
    x = torch.rand(1, 3, 13, 17, dtype=torch.float64)
    with torch.no_grad():
        exact = model(x)
        assert exact.dtype == torch.float64
        for word in model.architecture.low_precision:
            low = {"bf16": torch.bfloat16, "fp16": torch.float16}[word]
            with torch.autocast("cpu", dtype=low):
                mixed = deepcopy(model).float()(x.float())
            pure = deepcopy(model).to(low)(x.to(low))
            assert (mixed.dtype, pure.dtype) == (torch.float32, low)
            rounding = (exact.to(low) - exact).square().mean().sqrt()
            for y, unavoidable in ((mixed, 0.0), (pure, rounding)):
                assert (y - exact).square().mean().sqrt() < 0.02 * exact.std() + unavoidable


@every_model
def test_channels_last_gives_the_same(name):
    model = small(name).eval()
    x = torch.rand(1, 3, 13, 17)
    with torch.no_grad():
        expected = model(x)
        model.to(memory_format=torch.channels_last)
        y = model(x.to(memory_format=torch.channels_last))
    assert_close(y, expected, rtol=0, atol=1e-4 * expected.std().item())


@every_model
def test_no_images_give_no_images(name):
    model = small(name)
    y, loss = model(torch.rand(0, 3, 5, 7), return_loss=True)
    assert y.shape == (0, 3, 5 * model.scale, 7 * model.scale)
    assert loss == 0
    (y.sum() + loss).backward()
    assert not any(parameter.grad.any() for parameter in model.parameters())


@every_model
def test_images_of_wrong_shape_are_rejected(name, rejects):
    model = small(name)
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(1, 1, 5, 7\)"):
        model(torch.rand(1, 1, 5, 7))
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(3, 5, 7\)"):
        model(torch.rand(3, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(1, 3, 0, 7\) for \(b c h w\)"):
        model(torch.rand(1, 3, 0, 7))


@pytest.fixture
def compiler(request):
    """`torch.compile` of a model as one graph, from scratch."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")

    def compiled(model, backend, **options):
        torch.compiler.reset()
        return torch.compile(model, backend=backend, fullgraph=True, **options)

    return compiled


without_warning = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own


@without_warning
@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_compiled_model_is_one_graph_for_all_sizes(kind, compiler):
    """Traced, not yet translated to machine code, which takes half a minute for each."""
    graphs = []
    model = few_layers(kind)
    compiled = compiler(model, lambda graph, _: graphs.append(graph) or graph.forward, dynamic=True)
    with torch.no_grad():
        for size in ((13, 17), (11, 19)):
            x = torch.rand(1, 3, *size)
            assert_close(compiled(x), model(x))
    assert len(graphs) == 1


@without_warning
def test_compiled_gradients_are_the_same(compiler):
    """One small CCLNN stands for all: it has every layer of the others."""
    model = create_model("cclnn-t", channels=16, n_resblocks=1, n_hashes=1).eval()
    results = {}
    for name, run in (("compiled", compiler(model, "aot_eager")), ("plain", model)):
        torch.manual_seed(0)
        model.zero_grad()
        sr, loss = run(torch.rand(1, 3, 13, 17), return_loss=True)
        (sr.square().mean() + loss).backward()
        results[name] = (sr, loss, *(parameter.grad.clone() for parameter in model.parameters()))
    assert_close(results["compiled"], results["plain"], rtol=1e-4, atol=1e-6)
