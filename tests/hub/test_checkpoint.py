"""Files of weights: strict when read, whole when written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import cclnn
from cclnn.hub import checkpoint


@pytest.fixture
def model():
    return cclnn.EDSR(2, channels=8, n_resblocks=1)


def rewrite(path, *, header=None, **changes):
    """Store the file again with tensors replaced (or removed: None)."""
    tensors = {**load_file(path), **changes}
    ours = {"cclnn": json.dumps(checkpoint.describe(cclnn.EDSR(2, channels=8, n_resblocks=1)))}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata=header or ours)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_stores_in_the_dtype_asked_for_and_loads_float32(tmp_path, model, dtype):
    checkpoint.write_file(model, tmp_path / "m.safetensors", dtype=dtype)
    assert {tensor.dtype for tensor in load_file(tmp_path / "m.safetensors").values()} == {dtype}
    again = checkpoint.read_file(tmp_path / "m.safetensors")
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].to(dtype).float())


def test_the_same_weights_are_the_same_bytes(tmp_path, model):
    for name in ("a", "b"):
        checkpoint.write_file(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_key_and_shape_must_match(tmp_path, model):
    path = tmp_path / "m.safetensors"
    checkpoint.write_file(model, path)
    rewrite(path, **{"head.bias": None, "extra": torch.zeros(1), "tail.1.bias": torch.zeros(4)})
    with pytest.raises(
        ValueError, match=r"missing head.bias; tail.1.bias has shape \(4,\), needs \(3,\); unexpected ex"
    ):
        checkpoint.read_file(path)


def test_refuses_files_that_are_not_ours(tmp_path, model):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        checkpoint.read_file(path)
    checkpoint.write_file(model, path)
    rewrite(path, header={"format": "pt"})
    with pytest.raises(ValueError, match="holds no cclnn configuration"):
        checkpoint.read_file(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 1, "architecture": "os.system", "arguments": {}})})
    with pytest.raises(ValueError, match=r"architecture` must be one of 'CCLNN', 'EDSR', 'NLSN', got 'os.system'"):
        checkpoint.read_file(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 9, "architecture": "EDSR", "arguments": {}})})
    with pytest.raises(ValueError, match="schema must be 1, got 9"):
        checkpoint.read_file(path)
    rewrite(path, header={"cclnn": json.dumps({"schema": 1, "architecture": "EDSR", "arguments": {"wings": 2}})})
    with pytest.raises(ValueError, match=r"`arguments` do not fit EDSR.*wings"):
        checkpoint.read_file(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, model, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def fail(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_file(model, path)
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["m.safetensors"]
