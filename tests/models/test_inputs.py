"""What is no image in [0, 1] is refused, or warned of once, and looking for it is in nobody's way."""

import copy
import pickle
import time
import warnings

import pytest
import torch
from conftest import annotations_are_checked
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from cclnn.models import EDSR, _base, create_model, list_models

RANGE = r"`x` should be an image with black 0 and white 1, got numbers from"


def tiny():
    torch.manual_seed(0)
    return EDSR(2, channels=4, n_resblocks=1).eval()


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("name", [list_models()[0], "cclnn-t", "vdsr"])
def test_whole_numbers_are_refused(name, kind, rejects):
    with rejects(rf"`x` must be a floating-point image, black 0 and white 1, got {kind}\. Divide it by its", TypeError):
        create_model(name)(torch.ones(1, 3, 5, 7).to(kind))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1), (-0.51, 0.2), (0.3, 1.51)])
def test_numbers_far_outside_are_warned_of_once(low, high, request):
    model, x = tiny(), torch.full((2, 3, 5, 7), float(low))
    x[1, 2, 3, 4] = high
    with pytest.warns(RuntimeWarning, match=rf"{RANGE} {low} to {high}\.") as caught:
        model(x)
    assert caught[0].filename == __file__ or annotations_are_checked(request.config)
    model(x)  # no second warning, which would be an error here


@pytest.mark.parametrize("x", [torch.tensor([0.0, 1.0]), torch.tensor([-0.49, 1.49]), torch.tensor([0.5, torch.nan])])
def test_other_numbers_are_not(x):
    tiny()(x.expand(1, 3, 5, 2))


@pytest.mark.filterwarnings("error")
def test_the_warning_names_a_later_image_too():
    model, dark = tiny(), torch.zeros(1, 3, 5, 7)
    model(dark)
    with pytest.warns(RuntimeWarning, match=RANGE):
        model(dark + 200)


def test_copies_and_pickles_go_on():
    model, bright = tiny(), torch.full((1, 3, 5, 7), 200.0)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.warns(RuntimeWarning, match=RANGE):
            again(bright)


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
def test_compiled_code_does_not_look_and_is_not_compiled_again(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    model, counter = tiny(), CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    x = torch.rand(1, 3, 5, 7)
    for _ in range(3):
        model(x)
        assert_close(compiled(x), model(x))
    compiled(200 * x)
    assert counter.frame_count == 1


def test_export_does_not_look(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    model, x = tiny(), torch.full((1, 3, 5, 7), 200.0)
    any_size = {"x": {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    for strict in (False, True):
        program = export(model, (x,), dynamic_shapes=any_size, strict=strict).module()
        assert_close(program(x[..., 1:]), _quietly(model, x[..., 1:]))


def _quietly(model, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(x)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_nor_does_anything_that_has_no_numbers():
    model, x = tiny(), torch.full((1, 3, 5, 7), 200.0)
    torch.func.vmap(model)(x[None])
    torch.func.jvp(model, (x,), (x,))
    torch.jit.trace(model, x, check_trace=False)
    with FlopCounterMode(display=False):
        model(x)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        model(torch.empty(1, 3, 5, 7))
    tiny().to("meta")(x.to("meta"))
    with pytest.warns(RuntimeWarning, match=RANGE):  # it had looked at nothing yet
        model(x)


def test_a_look_takes_less_than_a_thousandth_of_a_network():
    """Times of one process, the least of several, so that neighbours do not count."""
    model, x = create_model("cclnn-t").eval(), torch.rand(1, 3, 96, 96)

    def least(call, times):
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return min(taken)

    with torch.no_grad():
        network = least(lambda: model.super_resolve(x), 3)
    assert least(lambda: _base._warn_of_range(x), 30) < 0.001 * network
