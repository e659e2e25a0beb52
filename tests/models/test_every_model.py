"""What holds for every model of the table: sizes, gradients, configuration, files."""

import json
from inspect import signature

import pytest
import torch
from conftest import annotations_are_checked
from torch.testing import assert_close

import cclnn
from cclnn.hub.renames import pattern
from cclnn.models import create_model, list_models
from cclnn.models.registry import models

every_model = pytest.mark.parametrize("name", list_models())


def small(name, scale=None, **arguments):
    """The model, small as its record says, at its first scale unless another is given."""
    record = models()[name].record
    return create_model(name, scale=scale or record.scales[0], **record.small, **arguments)


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


@every_model
def test_autocast_keeps_images_float32(name):
    model = small(name).train()
    x = torch.rand(1, 3, 13, 17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, loss = model(x, return_loss=True)
    assert y.dtype == loss.dtype == torch.float32
    (y.mean() + loss).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("low", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@every_model
def test_output_has_the_dtype_of_the_image(name, low):
    model = small(name).to(low).eval()
    with torch.no_grad():
        y = model(torch.rand(1, 3, 5, 7, dtype=low))
    assert y.dtype == low
    assert y.isfinite().all()


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
def test_images_of_wrong_shape_are_rejected(name, rejects):
    model = small(name)
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(1, 1, 5, 7\)"):
        model(torch.rand(1, 1, 5, 7))
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(3, 5, 7\)"):
        model(torch.rand(3, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(1, 3, 0, 7\) for \(b c h w\)"):
        model(torch.rand(1, 3, 0, 7))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
def test_compiled_model_is_one_graph_and_gives_the_same(request):
    """One small CCLNN stands for all: it has every layer of the others. No code generation, which takes a minute."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    model = create_model("cclnn-t", channels=16, n_resblocks=1, n_hashes=1).eval()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.rand(1, 3, 13, 17)
    sr, loss = compiled(x, return_loss=True)
    assert_close((sr, loss), model(x, return_loss=True))
    (sr.square().mean() + loss).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    sr, loss = model(x, return_loss=True)
    (sr.square().mean() + loss).backward()
    assert_close(gradients, [parameter.grad for parameter in model.parameters()], rtol=1e-4, atol=1e-6)
