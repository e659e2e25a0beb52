"""Fixtures of every test: devices and dtypes present, a fixed seed, uninitialised memory that shows."""

import os
import re
from contextlib import contextmanager

import pytest
import torch

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic algorithms on a GPU need it

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


@pytest.fixture
def rejects(request):
    """`with rejects("text"):` a ValueError that says so; under --jaxtyping-packages the annotation may object first."""
    annotated = bool(request.config.getoption("jaxtyping_packages", default=None))

    @contextmanager
    def check(match, error=ValueError):
        allowed = (error, __import__("jaxtyping").TypeCheckError) if annotated else (error,)
        with pytest.raises(allowed) as caught:
            yield
        if not annotated or type(caught.value) is error:
            assert re.search(match, str(caught.value)), f"{match!r} is not in {str(caught.value)!r}"

    return check
