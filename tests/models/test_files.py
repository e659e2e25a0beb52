"""Files of weights: strict when read, whole when written."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import cclnn
from cclnn.hub import container
from cclnn.models._files import describe, write_model


@pytest.fixture
def model():
    return cclnn.EDSR(2, channels=8, n_resblocks=1)


def rewrite(path, *, header=None, **changes):
    """Store the file again with tensors replaced (or removed: None)."""
    tensors = {**load_file(path), **changes}
    ours = {"cclnn": json.dumps(describe(cclnn.EDSR(2, channels=8, n_resblocks=1)).as_json())}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata=header or ours)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_stores_in_the_dtype_asked_for_and_loads_float32(tmp_path, model, dtype):
    write_model(model, tmp_path / "m.safetensors", dtype=dtype)
    assert {tensor.dtype for tensor in load_file(tmp_path / "m.safetensors").values()} == {dtype}
    again = cclnn.load(tmp_path / "m.safetensors")
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].to(dtype).float())


def test_the_same_weights_are_the_same_bytes(tmp_path, model):
    for name in ("a", "b"):
        write_model(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_key_and_shape_must_match(tmp_path, model):
    path = tmp_path / "m.safetensors"
    write_model(model, path)
    rewrite(path, **{"head.bias": None, "extra": torch.zeros(1), "tail.1.bias": torch.zeros(4)})
    with pytest.raises(
        ValueError, match=r"missing head.bias; tail.1.bias has shape \(4,\), needs \(3,\); unexpected ex"
    ):
        cclnn.load(path)


def test_refuses_files_that_are_not_ours(tmp_path, model):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        cclnn.load(path)
    write_model(model, path)
    rewrite(path, header={"format": "pt"})
    with pytest.raises(ValueError, match="holds no cclnn configuration"):
        cclnn.load(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 1, "architecture": "os.system", "arguments": {}})})
    with pytest.raises(ValueError, match=r"architecture` must be one of .*'CCLNN', .*'EDSR', .*, got 'os.system'"):
        cclnn.load(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 9, "architecture": "EDSR", "arguments": {}})})
    with pytest.raises(ValueError, match="schema must be 1, got 9"):
        cclnn.load(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 1, "architecture": "EDSR", "arguments": {"wings": 2}})})
    with pytest.raises(ValueError, match=r"`arguments` do not fit EDSR.*wings"):
        cclnn.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, model, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def fail(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        write_model(model, path)
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["m.safetensors"]


# --- what is written


def state_equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize("name", ["cclnn-t", "edsr-baseline", "nlsn-l"])
def test_a_round_trip_is_bit_identical_and_leaves_the_random_state(tmp_path, name):
    model = cclnn.create_model(name, scale=3).eval()
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    again = cclnn.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.config == model.config
    assert state_equal(again.state_dict(), model.state_dict())
    assert [(k, p.requires_grad) for k, p in again.named_parameters()] == [
        (k, p.requires_grad) for k, p in model.named_parameters()
    ]
    x = torch.rand(1, 3, 11, 7)
    assert torch.equal(again(x), model(x))


def test_a_folder_holds_three_files_and_no_traces(tmp_path, model):
    model.save_pretrained(tmp_path / "new" / "folder")
    model.save_pretrained(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert config == {"schema": 1, "architecture": "EDSR", "arguments": model.config}
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["cclnn"])
    assert header == {"version": cclnn.__version__, **config}


def test_shared_tensors_are_stored_under_each_name(tmp_path, model):
    model.body[0].conv2 = model.body[0].conv1
    model.save_pretrained(tmp_path)
    again = cclnn.load(tmp_path)
    assert state_equal(again.state_dict(), model.state_dict())
    assert again.body[0].conv1.weight.data_ptr() != again.body[0].conv2.weight.data_ptr()


def test_views_and_strides_are_stored_as_they_read(tmp_path, model):
    model.to(memory_format=torch.channels_last)
    model.head.weight = torch.nn.Parameter(torch.randn(3, 3, 3, 8).permute(3, 0, 1, 2))
    model.save_pretrained(tmp_path)
    assert state_equal(cclnn.load(tmp_path).state_dict(), model.state_dict())


def test_compiled_parts_are_saved_under_plain_names(tmp_path, model):
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.body[0] = torch.compile(model.body[0], backend="eager")
    assert any("_orig_mod" in name for name in model.state_dict())
    model.save_pretrained(tmp_path)
    assert state_equal(cclnn.load(tmp_path).state_dict(), plain)
    torch.compile(model, backend="eager").save_pretrained(tmp_path / "whole")
    assert state_equal(cclnn.load(tmp_path / "whole").state_dict(), plain)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module."])
def test_wrapped_names_are_read(tmp_path, model, prefix):
    path = tmp_path / "m.safetensors"
    header = {"cclnn": json.dumps(describe(model).as_json())}
    save_file({prefix + name: x for name, x in model.state_dict().items()}, path, metadata=header)
    assert state_equal(cclnn.load(path).state_dict(), model.state_dict())


def test_names_that_meet_without_their_wrappers_are_an_error(tmp_path, model):
    path = tmp_path / "m.safetensors"
    write_model(model, path)
    rewrite(path, **{"head._orig_mod.bias": torch.zeros(8)})
    with pytest.raises(ValueError, match=r"holds several tensors for head\.bias once wrappers' prefixes are dropped"):
        cclnn.load(path)


def test_numbers_that_cannot_be_stored_are_an_error_and_write_nothing(tmp_path, model):
    with torch.no_grad():
        model.head.bias[3] = 1e6
    model.save_pretrained(tmp_path / "wide", dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"EDSR as float16 holds numbers that are not finite, in head\.bias\."):
        write_model(model, tmp_path / "m.safetensors", dtype=torch.float16)
    assert [path.name for path in tmp_path.iterdir()] == ["wide"]


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    class Edited(cclnn.EDSR):
        """Its configuration does not say what it holds."""

    edited = Edited(2, channels=8, n_resblocks=1)
    edited.body.append(torch.nn.Conv2d(8, 8, 1))
    with pytest.raises(ValueError, match=r"this Edited does not fit Edited: unexpected body\.2\.bias; unexpected body"):
        edited.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"n_hashes must lie in \[1, 16\], got 17"):
        cclnn.NLSN(2, channels=8, n_resblocks=1, n_hashes=17).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(tmp_path, dtype=torch.int8)
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_ones_own_is_loaded_by_that_class_alone(tmp_path):
    class Mine(cclnn.EDSR):
        """The library does not know it."""

    model = Mine(2, channels=8, n_resblocks=1)
    model.save_pretrained(tmp_path)
    assert state_equal(Mine.from_pretrained(tmp_path).state_dict(), model.state_dict())
    with pytest.raises(ValueError, match=r"architecture` must be one of .*, got 'Mine'"):
        cclnn.load(tmp_path)
    with pytest.raises(ValueError, match="holds a model of class Mine, not EDSR"):
        cclnn.EDSR.from_pretrained(tmp_path)


# --- folders


def test_config_and_weights_of_different_models_are_an_error(tmp_path, model):
    model.save_pretrained(tmp_path)
    other = {**describe(model).as_json(), "arguments": {**model.config, "res_scale": 0.5}}
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(
        ValueError, match=r"its header and the config\.json beside it differ: res_scale is 0\.1 and 0\.5"
    ):
        cclnn.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(describe(cclnn.CCLNN(2, channels=16, n_resblocks=1)).as_json()))
    with pytest.raises(ValueError, match="differ: architecture is 'EDSR' and 'CCLNN'"):
        cclnn.load(tmp_path)
    (tmp_path / "config.json").unlink()
    assert state_equal(cclnn.load(tmp_path).state_dict(), model.state_dict())  # the header says it all


def test_foreign_weights_load_beside_a_config(tmp_path, model):
    """A file without our header needs the config.json; neither is made up."""
    model.save_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    assert state_equal(cclnn.load(tmp_path).state_dict(), model.state_dict())
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="holds no cclnn configuration in its header; was it written by cclnn"):
        cclnn.load(tmp_path)


def test_long_lists_of_problems_are_cut(tmp_path, model):
    path = tmp_path / "m.safetensors"
    write_model(model, path)
    rewrite(path, **{f"extra.{i}": torch.zeros(1) for i in range(60)})
    with pytest.raises(ValueError, match=r"unexpected extra\.0; .*; and 10 more\.$"):
        cclnn.load(path)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "change", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm]
)
def test_parametrised_weights_are_refused_as_load_would(change, tmp_path, rejects):
    model = cclnn.models.EDSR(2, channels=4, n_resblocks=1)
    change(model.body[0].conv1)
    with rejects("this EDSR has parametrised weights, which `load` could not read, in body.0.conv1. Fold them first"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
