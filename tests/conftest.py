"""Fixtures of every test: devices and dtypes present, a fixed seed, uninitialised memory that shows."""

import gc
import importlib
import os
import re
import sys
import tempfile
import types
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from after_torch import AfterTorch
from forked import Program
from hypothesis import settings
from skips import SkipCheck, pytest_addoption

__all__ = ["pytest_addoption"]

settings.register_profile("untimed", deadline=None)  # a timed test is no test
settings.load_profile("untimed")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic algorithms on a GPU need it
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes that import torch for seconds


def annotations_are_checked(config):
    return bool(config.getoption("jaxtyping_packages", default=None))


def pytest_configure(config):
    """Check skips; let beartype take an int where a float is annotated, as PEP 484 and mypy do."""
    config.pluginmanager.register(SkipCheck(config))
    if annotations_are_checked(config):
        import beartype

        beartype.beartype = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def pytest_collection_modifyitems(items):
    """The slowest first, so that several workers end together."""
    items.sort(key=lambda item: {"training", "export"}.isdisjoint(item.path.parts))


def pytest_collection_finish():
    """Garbage collections skip the tests and all that they import, and are fewer: networks are traced in less time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_unconfigure():
    gc.unfreeze()  # some modules complain of what is left at the end


@pytest.fixture
def spandrel(monkeypatch):
    """The package. Two of its architectures import torchvision, whose wheel does not load beside torch for CPUs."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    stubs = {name: types.ModuleType(name) for name in names}
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(stubs[names[-1]], name, None)
    for name, module in stubs.items():
        monkeypatch.setitem(sys.modules, name, module)
    return importlib.import_module("spandrel")


@pytest.fixture(scope="session")
def cached_translations():
    """onnxscript's list of translations to ONNX, for which it parses 500 sources at every export: half a second."""
    from torch.onnx._internal.exporter import _registration

    with pytest.MonkeyPatch.context() as patch:
        apis = _registration.onnxscript_apis
        patch.setattr(apis, "get_torchlib_ops", cache(apis.get_torchlib_ops))
        yield


@pytest.fixture(scope="session")
def after_torch(tmp_path_factory):
    """`after_torch.run(code)`: in a process that has imported torch and nothing else."""
    process = AfterTorch(tmp_path_factory.mktemp("after_torch"))
    yield process
    process.close()


DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def dtype(request):
    return request.param


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever tests ran before it."""
    torch.manual_seed(20241)


@pytest.fixture(autouse=True)
def uninitialised_memory_is_nan():
    """torch.empty holds NaN (integers: their maximum), so that code which reads before it writes is found out."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def memory_is_measured_in_a_fork(monkeypatch):
    """`peak_memory` runs its file in a new interpreter, which imports torch for seconds; a fork of one that has runs it
    as well.
    """
    from cclnn.evaluation import memory  # here, so that --jaxtyping-packages comes before

    def run(command, *, env, **_):
        with tempfile.TemporaryDirectory() as printed:
            return Program(command[1:], Path(printed), environment=env, returns_memory=True).wait()

    monkeypatch.setattr(memory, "subprocess", types.SimpleNamespace(run=run))


@pytest.fixture
def rejects(request):
    """`with rejects("text"):` a ValueError that says so; under --jaxtyping-packages the annotation may object first."""
    errors = ()
    if annotations_are_checked(request.config):
        import jaxtyping

        errors = (jaxtyping.TypeCheckError,)

    @contextmanager
    def check(match, error=ValueError):
        with pytest.raises((error, *errors)) as caught:
            yield
        if not isinstance(caught.value, errors):
            assert re.search(match, str(caught.value)), f"{match!r} is not in {str(caught.value)!r}"

    return check
