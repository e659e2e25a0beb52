"""Every architecture as a file: the model's own result at any size, in float32 and float16, and facts about itself."""

import onnx
import pytest
import torch
from conftest import annotations_are_checked
from few_layers import few_layers

from cclnn.export import export, exporting, largest_difference
from cclnn.export.exporting import CHECKED_DENSE, HALF_TOLERANCE, TOLERANCE, weights_hash
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained import OnnxModel

exporter_warns = pytest.mark.filterwarnings("ignore")
pytestmark = [exporter_warns, pytest.mark.usefixtures("cached_translations")]

NOT_IN_HALF = {"RNAN"}


@pytest.fixture(autouse=True, scope="module")
def traceable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def model(request):
    torch.manual_seed(0)
    model = few_layers(ARCHITECTURES[request.param])
    for parameter in model.parameters():
        if not parameter.any():  # RNAN's attention begins at zero, which would hide it
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture(scope="module", autouse=True)
def traced_once(traceable, model):
    """Both formats are written from one program: to trace a network takes longer than to write it."""
    trace, programs = exporting._program, {}

    def traced(portable):
        if portable.dtype not in programs:
            programs[portable.dtype] = trace(portable)
        return programs[portable.dtype]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_program", traced)
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


def test_float16_comes_near(model, tmp_path, rejects):
    if type(model).__name__ in NOT_IN_HALF:
        with rejects(f"`half`=True: {model.architecture.title} does not work in float16"):
            export(model, tmp_path / "model.onnx", half=True)
    else:
        export(model, tmp_path / "model.onnx", half=True)
        assert largest_difference(model, OnnxModel(tmp_path / "model.onnx"), CHECKED_DENSE) <= HALF_TOLERANCE


def test_torch_export_gives_the_same_without_cclnn(model, tmp_path):
    path = tmp_path / "model.pt2"
    export(model, path)
    with path.open("rb") as file:
        program = torch.export.load(file)
    assert not [node.target for node in program.graph.nodes if "cclnn" in str(node.target)]
    assert largest_difference(model, program.module(), CHECKED_DENSE) <= TOLERANCE
