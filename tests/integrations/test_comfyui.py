"""The folder for ComfyUI, imported as ComfyUI does, beside a stand-in for ComfyUI's documented modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

import cclnn

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"


class CancelledError(Exception):
    """As `comfy.model_management.InterruptProcessingException`."""


class ComfyUI:
    """What the folder uses: comfy.utils.ProgressBar, comfy.model_management, folder_paths."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.progress: list[tuple[int, int]] = []
        self.cancelled_after: float = float("inf")

    def modules(self):
        comfy = self

        class ProgressBar:
            def __init__(self, total):
                self.total = total

            def update_absolute(self, value, total=None, preview=None):
                self.total = self.total if total is None else total
                comfy.progress.append((value, self.total))

        def throw_exception_if_processing_interrupted():
            if len(self.progress) >= self.cancelled_after:
                raise CancelledError

        utils = SimpleNamespace(ProgressBar=ProgressBar)
        management = SimpleNamespace(
            get_torch_device=lambda: torch.device("cpu"),
            throw_exception_if_processing_interrupted=throw_exception_if_processing_interrupted,
        )
        package = ModuleType("comfy")
        package.utils, package.model_management = utils, management
        paths = SimpleNamespace(
            get_filename_list=lambda folder: sorted(path.name for path in (self.models / folder).iterdir()),
            get_full_path_or_raise=lambda folder, name: str(self.models / folder / name),
        )
        return {
            "comfy": package,
            "comfy.utils": utils,
            "comfy.model_management": management,
            "folder_paths": paths,
        }


@pytest.fixture
def comfy(tmp_path, monkeypatch, spandrel):
    for name in ("_architectures", "_ordered", "_by_id"):  # the folder registers ours
        monkeypatch.setattr(spandrel.MAIN_REGISTRY, name, getattr(spandrel.MAIN_REGISTRY, name))
    comfy = ComfyUI(tmp_path)
    (tmp_path / "upscale_models").mkdir()
    for name, module in comfy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return comfy


@pytest.fixture
def node(comfy):
    """As ComfyUI's loader: the folder's __init__.py as a module, then the classes that it maps."""
    spec = importlib.util.spec_from_file_location("custom_nodes.cclnn", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NODE_DISPLAY_NAME_MAPPINGS.keys() == module.NODE_CLASS_MAPPINGS.keys()
    (kind,) = module.NODE_CLASS_MAPPINGS.values()
    return kind


def run(node, image, **given):
    """Call the node with every input's default, or the first choice, but for those given."""
    arguments = {}
    for name, (kind, *options) in node.INPUT_TYPES()["required"].items():
        if name == "image":
            continue
        default = kind[0] if isinstance(kind, list) else options[0]["default"]
        value = given.pop(name, default)
        if isinstance(kind, list):
            assert value in kind
        elif kind in ("INT", "FLOAT"):
            assert options[0]["min"] <= value <= options[0]["max"]
        arguments[name] = value
    assert not given
    outputs = getattr(node(), node.FUNCTION)(image=image, **arguments)
    assert len(outputs) == len(node.RETURN_TYPES) == 1
    return outputs[0]


def test_defaults_upscale_a_batch_of_images(node, comfy):
    image = torch.rand(2, 21, 17, 3)
    result = run(node, image)
    assert (result.shape, result.dtype, result.device.type) == ((2, 42, 34, 3), torch.float32, "cpu")
    expected = cclnn.upscale(image.movedim(-1, 1), scale=2).clamp(0, 1).movedim(1, -1)
    assert_close(result, expected, rtol=0, atol=1e-5)
    assert comfy.progress == [(0, 2), (1, 2), (1, 2), (2, 2)]


def test_numbers_just_outside_the_range_are_taken(node):
    image = torch.rand(1, 12, 12, 3) * 1.2 - 0.1
    result = run(node, image, scale=1.5)
    assert result.shape == (1, 18, 18, 3)
    assert result.min() >= 0
    assert result.max() <= 1


def test_opacity_is_kept(node):
    assert run(node, torch.rand(1, 12, 10, 4), model="cclnn-s-x3", scale=3.0).shape == (1, 36, 30, 4)


def test_tiles_are_counted_and_a_run_can_be_cancelled(node, comfy):
    image = torch.rand(1, 96, 40, 3)
    run(node, image, tile=64)
    assert comfy.progress == [(done, 3) for done in range(4)]
    comfy.cancelled_after = len(comfy.progress) + 2
    with pytest.raises(CancelledError):
        run(node, image, tile=64)


def test_files_of_ours_are_offered_and_run(node, comfy, spandrel):
    """By this node and, since the folder registers our architectures, by ComfyUI's own loader."""
    model = cclnn.create_model("edsr-baseline", scale=3, channels=8, n_resblocks=1).eval()
    model.save_pretrained(comfy.models / "saved")
    (comfy.models / "saved" / "model.safetensors").rename(comfy.models / "upscale_models" / "mine.safetensors")
    choices = node.INPUT_TYPES()["required"]["model"][0]
    assert choices == ["auto", *cclnn.list_pretrained(), "mine.safetensors"]
    image = torch.rand(1, 9, 11, 3)
    result = run(node, image, model="mine.safetensors", scale=3.0, precision="fp32")
    expected = cclnn.upscale(image.movedim(-1, 1), model, precision="fp32").clamp(0, 1).movedim(1, -1)
    assert_close(result, expected, rtol=0, atol=1e-5)
    loaded = spandrel.ModelLoader().load_from_file(comfy.models / "upscale_models" / "mine.safetensors")
    assert (loaded.architecture.id, loaded.scale) == ("EDSR", 3)


def test_strength_reaches_the_weights_for_photographs(node, monkeypatch):
    seen = {}
    monkeypatch.setattr(cclnn, "upscale", lambda image, model, **given: seen.update(given) or image)
    run(node, torch.rand(1, 5, 5, 3), photo=True, strength=0.25)
    assert (seen["photo"], seen["strength"], seen["tile"], seen["device"]) == (True, 0.25, "auto", "cpu")
