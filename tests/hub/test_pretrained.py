"""What `cclnn.load` finds, verifies and refuses."""

import hashlib
import json
from importlib import resources

import pytest
import torch

import cclnn
from cclnn.hub import pretrained as module

NAMES = cclnn.list_pretrained()


@pytest.mark.parametrize("name", NAMES)
def test_bundled_weights_are_what_the_manifest_says(name):
    entry = module.manifest()[name]
    path = resources.files("cclnn.weights").joinpath(entry["file"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert len(path.read_bytes()) <= 2_500_000
    model = cclnn.load(name)
    assert not model.training
    assert model.config == entry["config"] == cclnn.create_model(entry["model"], scale=model.scale).config
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_first_model_is_there():
    assert "cclnn-t-x2" in NAMES


def test_a_folder_and_a_file_load_as_saved(tmp_path):
    model = cclnn.EDSR(3, channels=8, n_resblocks=1).eval()
    model.save_pretrained(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["architecture"] == "EDSR"
    x = torch.rand(1, 3, 5, 7)
    for source in (tmp_path / "mine", str(tmp_path / "mine" / "model.safetensors")):
        again = cclnn.load(source)
        assert again.config == model.config
        assert torch.equal(again(x), model(x))


def test_from_pretrained_checks_the_class(tmp_path):
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(tmp_path)
    assert isinstance(cclnn.EDSR.from_pretrained(tmp_path), cclnn.EDSR)
    with pytest.raises(ValueError, match="holds a model of class EDSR, not CCLNN"):
        cclnn.CCLNN.from_pretrained(tmp_path)


def test_a_damaged_bundled_file_is_refused(monkeypatch):
    entry = {**module.manifest()["cclnn-t-x2"], "sha256": "0" * 64}
    monkeypatch.setattr(module, "manifest", lambda: {"cclnn-t-x2": entry})
    with pytest.raises(ValueError, match=r"the weights of 'cclnn-t-x2' are damaged: .* the manifest says 0000"):
        cclnn.load("cclnn-t-x2")


def test_unknown_sources_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"neither a published name .*Did you mean 'cclnn-t-x2'\?"):
        cclnn.load("cclnn-t-x22")
    with pytest.raises(FileNotFoundError, match="no weights file"):
        cclnn.load(tmp_path)
