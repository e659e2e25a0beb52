"""Every architecture as a float32 file: the model's own result at any size, and facts about itself."""

from functools import cache

import onnx
import pytest
import torch
from conftest import annotations_are_checked
from few_layers import few_layers

from cclnn.export import export, exporting, largest_difference
from cclnn.export.exporting import CHECKED_DENSE, TOLERANCE, weights_hash
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained import OnnxModel

exporter_warns = pytest.mark.filterwarnings("ignore")
pytestmark = [exporter_warns, pytest.mark.usefixtures("cached_translations")]


@pytest.fixture(autouse=True, scope="module")
def traceable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def model(request):
    torch.manual_seed(0)
    return few_layers(ARCHITECTURES[request.param])


@pytest.fixture(scope="module", autouse=True)
def traced_once(traceable, model):
    """Both formats are written from one program: to trace a network takes longer than to write it."""
    program = cache(lambda trace=exporting._program: trace(exporting._Portable(model, torch.float32)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_program", lambda portable: program())
        yield


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    """The network as ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export(model, path, facts={"license": "MIT"})
    return path


def test_onnxruntime_gives_the_same_at_ten_sizes(model, file):
    assert len(CHECKED_DENSE) == 10
    assert largest_difference(model, OnnxModel(file), CHECKED_DENSE) <= TOLERANCE


def test_the_file_needs_nothing_of_ours_and_says_what_it_is(model, file):
    found = onnx.load(file, load_external_data=False)
    assert {domain.domain for domain in found.opset_import} == {""}
    assert {node.domain for node in found.graph.node} == {""}
    facts = OnnxModel(file).facts
    reach = model.architecture.reach(model)
    expected = {
        "name": model.architecture.title,
        "scale": str(model.scale),
        "license": "MIT",
        "sha256": weights_hash(model),
        "range": "[0, 1]",
        "reach": "global" if reach is None else str(reach),
    }
    assert {name: facts[name] for name in expected} == expected
    assert 64 <= int(facts["tile"]) <= 512


def test_torch_export_gives_the_same_without_cclnn(model, tmp_path):
    path = tmp_path / "model.pt2"
    export(model, path)
    with path.open("rb") as file:
        program = torch.export.load(file)
    assert not [node.target for node in program.graph.nodes if "cclnn" in str(node.target)]
    assert largest_difference(model, program.module(), CHECKED_DENSE) <= TOLERANCE
