"""What `cclnn.load` finds, verifies and refuses."""

import hashlib
import json
import re
from importlib import resources

import pytest
import torch

import cclnn
from cclnn import weights as module
from cclnn.models._files import write_model

NAMES = cclnn.list_pretrained()


@pytest.mark.parametrize("name", NAMES)
def test_bundled_weights_are_what_the_manifest_says(name):
    entry = module.manifest()[name]
    path = resources.files("cclnn.weights").joinpath(entry["file"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert len(path.read_bytes()) <= 2_500_000
    model = cclnn.load(name)
    assert not model.training
    assert model.config == cclnn.create_model(entry["model"], scale=model.scale).config
    assert model.config.items() >= entry["config"].items()  # arguments added later have their defaults
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_first_model_is_there():
    assert "cclnn-s-x2" in NAMES


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
    entry = {**module.manifest()["cclnn-s-x2"], "sha256": "0" * 64}
    monkeypatch.setattr(module, "manifest", lambda: {"cclnn-s-x2": entry})
    with pytest.raises(ValueError, match=r"the weights of 'cclnn-s-x2' are damaged: .* the manifest says 0000"):
        cclnn.load("cclnn-s-x2")


def test_unknown_sources_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"neither a published name .*Did you mean 'cclnn-s-x2'\?"):
        cclnn.load("cclnn-s-x22")
    with pytest.raises(FileNotFoundError, match="no weights file"):
        cclnn.load(tmp_path)
    with pytest.raises(ValueError, match="For the repository of that name on the Hub write 'hf-hub:someone/model'"):
        cclnn.load("someone/model")


def test_every_entry_of_the_manifest_is_complete():
    """Bundled or pinned to a commit, with a checksum, and what it reaches."""
    for name, entry in module.manifest().items():
        assert re.fullmatch(r"[a-z0-9-]+-x[2348]", name)
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"])
        assert entry["model"] in cclnn.list_models()
        assert entry.keys() & {"file", "hub", "path"}
        if "hub" in entry:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry["hub"]["repo"])
            assert re.fullmatch("[0-9a-f]{40}", entry["hub"]["revision"])
        assert {"data", "steps", "seed", "recipe", "commit"} <= entry["training"].keys()
        assert all({"images", "psnr", "ssim"} <= values.keys() for values in entry["measured"].values())


def test_a_published_model_that_is_neither_bundled_nor_on_the_hub_is_told(monkeypatch):
    entry = {**module.manifest()["cclnn-s-x2"], "file": "cclnn-s-x9.safetensors"}
    monkeypatch.setattr(module, "manifest", lambda: {"cclnn-s-x2": entry})
    with pytest.raises(FileNotFoundError, match="the weights of 'cclnn-s-x2' are not in this installation"):
        cclnn.load("cclnn-s-x2")


def test_weights_that_only_the_repository_holds_are_listed_and_say_where_they_are(monkeypatch):
    entry = {**module.manifest()["cclnn-s-x2"], "path": "weights/cclnn-l-x2.safetensors"}
    del entry["file"]
    monkeypatch.setattr(module, "manifest", lambda: {"cclnn-l-x2": entry})
    assert cclnn.list_pretrained() == []
    with pytest.raises(FileNotFoundError, match=r"in a checkout of cclnn, load 'weights/cclnn-l-x2\.safetensors'"):
        cclnn.load("cclnn-l-x2")


def test_device_and_dtype(device):
    model = cclnn.load("cclnn-s-x2", device=device, dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {(device, torch.bfloat16)}
    assert cclnn.load("cclnn-s-x2", dtype=torch.float64).head.weight.dtype == torch.float64
    with pytest.raises(ValueError, match=r"`dtype` must be one of torch\.float32, .*, got torch.int8"):
        cclnn.load("cclnn-s-x2", dtype=torch.int8)


def test_a_device_that_cannot_be_used_is_told(rejects):
    absent = "cuda:99" if torch.cuda.is_available() else "cuda"
    for name in (absent, "abacus"):
        with rejects(f"`device`='{name}' cannot be used here: "):
            cclnn.load("cclnn-s-x2", device=name)


def test_a_path_may_lack_its_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    model = cclnn.EDSR(2, channels=8, n_resblocks=1)
    write_model(model, tmp_path / "weights" / "edsr-x2.5.safetensors")
    for source in ("weights/edsr-x2.5", "weights/edsr-x2.5.safetensors"):
        assert torch.equal(cclnn.load(source).head.weight, model.head.weight)


def test_local_files_load_without_the_client_and_without_the_compiler(after_torch):
    """Neither huggingface_hub nor torch._dynamo, which initialising on "meta" would import, for a bundled name."""
    code = "import sys, cclnn; cclnn.load('cclnn-s-x2'); print({'huggingface_hub', 'torch._dynamo'} & set(sys.modules))"
    done = after_torch.run(code)
    assert done.stdout == "set()\n", done.stderr


def test_an_architecture_is_not_a_published_name(rejects):
    with rejects(r"'cclnn-l' is an architecture: cclnn\.create_model\('cclnn-l'\) makes one with random weights"):
        cclnn.load("cclnn-l")


def test_a_dtype_as_text_suggests_torch_s_own(rejects):
    with rejects(r"got 'float16'\. Did you mean torch\.float16\?"):
        cclnn.load("cclnn-s-x2", dtype="float16")


@pytest.mark.parametrize("backend", ["reference", "portable"])
def test_backend(backend, tmp_path):
    x = torch.rand(1, 3, 9, 11)
    model, chosen = cclnn.load("cclnn-s-x2"), cclnn.load("cclnn-s-x2", backend=backend)
    backends = [module.backend for module in chosen.modules() if hasattr(module, "backend")]
    assert backends == [backend]
    with torch.no_grad():
        torch.testing.assert_close(chosen(x), model(x), rtol=0, atol=1e-5)
    chosen.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path, backend=backend).config == model.config


def test_backend_of_a_network_without_sparse_attention(tmp_path, rejects):
    cclnn.create_model("edsr-baseline", channels=4, n_resblocks=1).save_pretrained(tmp_path)
    assert cclnn.load(tmp_path, backend="auto")
    with rejects("`backend`='chunked': this EDSR has no sparse attention. Use 'auto'"):
        cclnn.load(tmp_path, backend="chunked")
    with rejects("`backend` must be one of .*, got 'chunky'. Did you mean 'chunked'?"):
        cclnn.load(tmp_path, backend="chunky")
