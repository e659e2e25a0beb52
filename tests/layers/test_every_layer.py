"""What holds for every public layer and loss: arguments in repr, device and dtype of torch's own layers."""

import inspect
import re
import typing

import pytest
import torch

from cclnn import layers, losses

LAYERS = [getattr(layers, name) for name in layers.__all__]
LOSSES = [found for name in losses.__all__ if isinstance(found := getattr(losses, name), type)]
CHANNELS = 48
FACTORY = ("device", "dtype")

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)


def arguments_of(kind):
    """The constructor's parameters, but for device and dtype; `Annotated` and `| None` taken off their annotations."""
    if kind.__init__ is torch.nn.Module.__init__:
        return {}
    hints = typing.get_type_hints(kind.__init__)
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: (hints[p.name], p.default) for p in parameters if p.name not in FACTORY}


def another(hint, default):
    """A value of this type that is not the default: a choice of a Literal, 8, 0.25."""
    if hint is torch.nn.Module:
        return layers.DegradationEncoder(4, hidden=4, features=6)
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return next(option for option in options if option != default)
    if hint is bool:
        return not default
    if hint in (int, float):
        return {int: 8, float: 0.25}[hint]
    return another(options[0], default)


def build(kind, **arguments):
    """The layer with its required arguments."""
    required = {
        name: CHANNELS if name == "channels" else another(hint, None)
        for name, (hint, default) in arguments_of(kind).items()
        if default is inspect.Parameter.empty
    }
    return kind(**{**required, **arguments})


def inputs_of(layer, built):
    """An image of features, or what else the layer takes."""
    x = torch.rand(1, CHANNELS, 5, 7)
    if layer in (layers.MeanShift, layers.DegradationEncoder):
        return (torch.rand(1, 3, 5, 7),)
    if layer is layers.LayerAttention:
        return (torch.rand(1, 8, CHANNELS, 5, 7),)
    if layer in (layers.DegradationAwareConv, layers.DegradationAwareBlock, layers.DegradationAwareGroup):
        return x, torch.rand(1, CHANNELS)
    return (x,)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in (*LAYERS, *LOSSES)
        for name, (hint, _) in arguments_of(kind).items()
        if hint is not torch.nn.Module  # a part, with a repr of its own
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_repr_shows_every_argument(kind, name):
    """By its name, or where a part of the layer takes it, by the end of its name; the width alone has none."""
    hint, default = arguments_of(kind)[name]
    value = {"channels": CHANNELS, "kernel_size": 9, "scale": 3}.get(name) or another(hint, default)
    text = repr(build(kind, **{name: value}))
    shown = re.findall(rf"(\w+)={re.escape(repr(value))}(?![\w.])", text)
    first = next(iter(arguments_of(kind))) == name
    assert any(name.endswith(label) for label in shown) or (
        first and f"{kind.__name__}({value}" in re.sub(r"\s", "", text)
    )


@pytest.mark.parametrize("kind", [*LAYERS, *LOSSES], ids=lambda kind: kind.__name__)
def test_docstring_has_an_example(kind):
    """pytest --doctest-modules runs it."""
    assert ">>> " in kind.__doc__


@every_layer
def test_dtype_is_that_of_parameters_and_persistent_buffers(layer):
    built = build(layer, dtype=torch.float64)
    assert built.state_dict()
    assert float_types(built) == {torch.float64}
    assert float_types(build(layer)) == {torch.float32}


def float_types(module):
    """Batch normalisation also counts its batches, in an integer."""
    return {tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()}


@every_layer
def test_dtype_changes_precision_and_nothing_else(layer):
    torch.manual_seed(0)
    wide = build(layer, dtype=torch.float64)
    torch.manual_seed(0)
    narrow = build(layer).double()
    for name, tensor in wide.state_dict().items():
        assert tensor.shape == narrow.state_dict()[name].shape
    for name, constant in constants(wide).items():
        assert torch.equal(constant, constants(narrow)[name])


def constants(module):
    """Buffers that no file holds."""
    return {name: tensor for name, tensor in module.named_buffers() if name not in module.state_dict()}


@every_layer
@pytest.mark.parametrize("how", ["argument", "context"])
def test_meta_has_no_weights_but_real_constants(layer, how):
    """So that `load_state_dict(assign=True)` makes it whole."""
    if how == "argument":
        built = build(layer, device="meta")
    else:
        with torch.device("meta"):
            built = build(layer)
    assert {tensor.device.type for tensor in built.state_dict().values()} == {"meta"}
    real = build(layer)
    for name, tensor in constants(real).items():
        assert torch.equal(constants(built)[name], tensor)
    built.load_state_dict(real.state_dict(), assign=True)
    assert {tensor.device.type for tensor in (*built.parameters(), *built.buffers())} == {"cpu"}


@every_layer
def test_device(layer, device):
    built = build(layer, device=device)
    assert {tensor.device.type for tensor in (*built.parameters(), *built.buffers())} == {device}


def test_building_on_meta_does_not_import_the_compiler(after_torch):
    """torch.eye and others would on "meta", and take seconds."""
    program = """
import sys, torch, cclnn
from cclnn import layers
from cclnn.models.registry import ARCHITECTURES
layers.Upsampler(48, scale=3, device="meta")
for kind in ARCHITECTURES.values():
    kind(kind.architecture.scales[0], **kind.architecture.small, device="meta")
with torch.device("meta"):
    cclnn.create_model("cclnn")
assert "torch._dynamo" not in sys.modules
"""
    done = after_torch.run(program)
    assert done.returncode == 0, done.stderr


@every_layer
def test_an_empty_batch_gives_an_empty_batch(layer):
    """As torch's convolutions have it, with gradients, all zero."""
    built = build(layer)
    inputs = inputs_of(layer, built)
    full, empty = results(built(*inputs)), results(built(*(x[:0].requires_grad_() for x in inputs)))
    for whole, none in zip(full, empty, strict=True):
        assert none.shape == (whole.shape if whole.ndim == 0 else (0, *whole.shape[1:]))
        assert none.ndim or none == 0
    sum(result.sum() for result in empty).backward()
    assert not any(parameter.grad.any() for parameter in built.parameters() if parameter.grad is not None)


def results(out):
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        *((layer, {}) for layer in LAYERS),
        *((layers.CCLNBlock, {"sparsity": sparsity}) for sparsity in ("l1", "none")),
        *((layers.CCLNBlock, {"branch": branch}) for branch in ("local", "nonlocal")),
        (layers.NonLocalSparseAttention, {"stride": 2, "similarity": "cosine", "centre": True}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value.__name__,
)
def test_every_submodule_is_called(layer, given):
    """So that hooks, LoRA, offloading and sharding of single submodules take effect."""
    built = build(layer, **given)
    called = set()
    for name, module in built.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    built(*inputs_of(layer, built))
    lists = (torch.nn.ModuleList, torch.nn.ModuleDict)  # they hold modules and have no forward
    assert called == {name for name, module in built.named_modules() if not isinstance(module, lists)}
