"""Every architecture as an ONNX file in float16, which comes near the model's own result at any size."""

import pytest
import torch
from conftest import annotations_are_checked
from few_layers import few_layers

from cclnn.export import export
from cclnn.export.exporting import HALF_TOLERANCE
from cclnn.models.registry import ARCHITECTURES

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("cached_translations")]  # the exporter's

IN_HALF = {name: kind for name, kind in ARCHITECTURES.items() if "fp16" in kind.architecture.low_precision}


@pytest.fixture(autouse=True)
def traceable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")


@pytest.mark.parametrize("kind", IN_HALF.values(), ids=IN_HALF)
def test_float16_comes_near(kind, tmp_path):
    torch.manual_seed(0)
    difference = export(few_layers(kind), tmp_path / "model.onnx", half=True, check=True)
    assert 0 < difference <= HALF_TOLERANCE
