"""Exported files compute what the models do, at any size, and say what they are."""

import math
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import annotations_are_checked
from few_layers import few_layers
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn.cli.commands import cli
from cclnn.export import export, largest_difference
from cclnn.export.exporting import CHECKED, CHECKED_DENSE
from cclnn.models import EDSR, RNAN
from cclnn.ops import hash_codes
from cclnn.pretrained import OnnxModel

exporter_warns = pytest.mark.filterwarnings("ignore")
pytestmark = [exporter_warns, pytest.mark.usefixtures("cached_translations")]


@pytest.fixture(autouse=True, scope="module")
def traceable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A narrow CCLNN and its ONNX file."""
    torch.manual_seed(0)
    model = cclnn.models.CCLNN(2, channels=16, n_resblocks=8, n_hashes=2, chunk_size=36).eval()
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    difference = export(model, path, check=True, facts={"name": "small", "license": "MIT"})
    return model, path, difference


@pytest.fixture
def convolutions():
    """A network without attention, which takes seconds to export where one with it takes half a minute."""
    return EDSR(2, channels=8, n_resblocks=1).eval()


def test_ten_sizes_agree(small):
    model, path, difference = small
    assert len(CHECKED) == 10
    assert {(1, 1, 1), (1, 130, 200)} < set(CHECKED)
    assert difference <= 1e-5
    assert largest_difference(model, OnnxModel(path)) == difference


def test_the_file_says_what_it_is(small):
    """Facts that the caller gives stand before the model's own, which test_every_model.py has."""
    _, path, _ = small
    facts = OnnxModel(path).facts
    assert (facts["name"], facts["license"], facts["version"]) == ("small", "MIT", cclnn.__version__)


def test_the_upscaler_runs_it_in_tiles(small):
    model, path, _ = small
    image = torch.rand(1, 3, 40, 50)
    by_file = cclnn.upscale(image, model=path, tile=24, overlap=4)
    assert_close(by_file, cclnn.upscale(image, model=model, tile=24, overlap=4, precision="fp32"), rtol=0, atol=1e-5)
    assert cclnn.Upscaler(OnnxModel(path)).model.scale == 2


def test_options_of_the_attention_agree_at_ten_sizes(tmp_path):
    options = {"stride": 2, "local_round": True, "similarity": "cosine", "centre": True}
    torch.manual_seed(0)
    model = cclnn.models.CCLNN(2, channels=16, n_resblocks=1, n_hashes=2, chunk_size=36, **options).eval()
    assert export(model, tmp_path / "model.onnx", check=True) <= 1e-5


def test_half_precision_comes_near_and_is_stored(convolutions, tmp_path):
    """integrations/test_half_exports.py shows for every architecture that its half-precision file comes near."""
    import onnx

    half = tmp_path / "half.onnx"
    assert 0 < export(convolutions, half, half=True, check=True) <= 2e-2
    parameters = sum(parameter.numel() for parameter in convolutions.parameters())
    stored = [x for x in onnx.load(half).graph.initializer if x.data_type == onnx.TensorProto.FLOAT16]
    assert sum(math.prod(x.dims) for x in stored) >= parameters


def test_half_precision_is_refused_where_the_record_lacks_it(tmp_path, rejects):
    with rejects("`half`=True: RNAN does not work in float16, as its record says."):
        export(few_layers(RNAN), tmp_path / "half.onnx", half=True)
    assert not list(tmp_path.iterdir())


class Hashed(EDSR):
    """A network that uses an operator of ours in a way that has no other form."""

    def super_resolve(self, x):
        sr, loss = super().super_resolve(x)
        return sr + 0 * hash_codes(x.flatten(2).mT, torch.ones(3, 1, 1)).sum(), loss


def test_an_operator_of_ours_has_no_form_in_onnx(tmp_path):
    model = Hashed(2, channels=8, n_resblocks=1).eval()
    with pytest.raises(ValueError, match=r"Hashed cannot be written as ONNX: it uses cclnn.hash_codes.*format='pt2'"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Particular(EDSR):
    """A network that treats an image of one row in a way that the traced image does not show."""

    def super_resolve(self, x):
        sr, loss = super().super_resolve(x)
        return (sr + 1 if x.shape[2] * x.shape[3] == 7 else sr), loss


def test_what_torch_export_assumes_of_sizes_is_checked(tmp_path):
    with pytest.raises(RuntimeError, match="the exported file differs from the model by 1"):
        export(Particular(2, channels=8, n_resblocks=1).eval(), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(convolutions, tmp_path, monkeypatch):
    monkeypatch.setattr("cclnn.export.exporting.TOLERANCE", 0.0)
    with pytest.raises(RuntimeError, match=r"differs from the model by .*, more than 0e\+00"):
        export(convolutions, tmp_path / "model.onnx", check=True)
    assert not list(tmp_path.iterdir())


def test_commands_write_the_file_and_upscale_by_it(convolutions, tmp_path):
    model = convolutions
    folder, file, image, enlarged = (tmp_path / name for name in ("mine", "mine.onnx", "in.png", "out.png"))
    model.save_pretrained(folder)
    run = CliRunner().invoke(cli, ["export", str(folder), "-o", str(file), "--check"])
    assert run.exit_code == 0, run.output
    assert run.output.startswith(f"wrote {file}: mine, x2, ")
    assert "largest difference from the model at ten sizes: " in run.output
    again = CliRunner().invoke(cli, ["export", str(folder), "-o", str(file)])
    assert again.exit_code == 1
    assert "exists already; --overwrite replaces it" in again.output
    Image.effect_noise((31, 17), 50).convert("RGB").save(image, dpi=(144, 144))
    run = CliRunner().invoke(cli, ["upscale", str(image), "-o", str(enlarged), "--model", str(file)])
    assert run.exit_code == 0, run.output
    expected = cclnn.upscale(Image.open(image), model=model, precision="fp32")
    with Image.open(enlarged) as found:
        assert found.size == (62, 34)
        assert found.info["dpi"] == pytest.approx((144, 144), abs=0.1)
        difference = np.asarray(found).astype(int) - np.asarray(expected).astype(int)
    assert abs(difference).max() <= 1  # a value near the middle between two levels may tip


def test_command_gives_the_licence_of_a_published_model(tmp_path, monkeypatch):
    told = {}

    def record(model, path, *, facts, **settings):
        told.update(facts, scale=model.scale, **settings)
        path.touch()

    monkeypatch.setattr("cclnn.export.export", record)
    run = CliRunner().invoke(cli, ["export", "cclnn-s-x3", "-o", str(tmp_path / "x3.pt2"), "--half"])
    assert run.exit_code == 0, run.output
    licence = cclnn.pretrained.published_facts("cclnn-s-x3")["license"]
    expected = {"name": "cclnn-s-x3", "license": licence, "scale": 3, "format": None, "half": True, "check": False}
    assert told == expected


def test_openvino_attends_as_the_model_does(small):
    import openvino

    model, path, _ = small
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert largest_difference(model, lambda x: torch.from_numpy(compiled(x.numpy())[0]), CHECKED_DENSE) <= 1e-5


def test_messages(small, tmp_path, monkeypatch, rejects):
    model = small[0]
    with rejects(r"`path`='model.bin' must end in \.onnx or \.pt2"):
        export(model, "model.bin")
    with rejects("`format` must be one of 'onnx', 'pt2', got 'tflite'"):
        export(model, "model.bin", format="tflite")
    (tmp_path / "text.onnx").write_text("no network")
    with rejects("is no ONNX file that onnxruntime can run"):
        OnnxModel(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        OnnxModel(tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install \"cclnn\[export\]\""):
        export(model, tmp_path / "model.onnx")
    with pytest.raises(ImportError, match=r"pip install \"cclnn\[export\]\""):
        OnnxModel(small[1])
