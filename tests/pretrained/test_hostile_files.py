"""Files made to do harm: every one is refused with a reason, before memory is taken and before a number is used."""

import io
import json
import math
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hub.client import Client
from safetensors.torch import load_file, save_file

import cclnn
from cclnn.hub import read_state_dict
from cclnn.models._files import write_model

CONFIG = {"scale": 2, "channels": 8, "n_resblocks": 1, "res_scale": 0.1, "rgb_range": 1.0}


@pytest.fixture
def path(tmp_path):
    """A good file."""
    path = tmp_path / "model.safetensors"
    write_model(cclnn.EDSR(**CONFIG), path)
    return path


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path, header, body, *, length=None):
    """A safetensors file with a header of our own; `length` lies about it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def reject(path, match):
    with pytest.raises(ValueError, match=match):
        cclnn.load(path)


# --- safetensors: what the library of that name refuses, shown


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9, 3])
def test_a_header_length_that_lies(path, length):
    header, body = header_of(path)
    write(path, header, body, length=length)
    reject(path, "is not a readable safetensors file")


def test_overlapping_tensors(path):
    header, body = header_of(path)
    header["head.weight"]["data_offsets"] = header["tail.1.weight"]["data_offsets"]
    write(path, header, body)
    reject(path, "is not a readable safetensors file")


def test_a_hole_or_a_tail_that_no_tensor_names(path):
    header, body = header_of(path)
    write(path, header, body + b"more")
    reject(path, "is not a readable safetensors file")
    del header["tail.1.weight"]
    write(path, header, body)
    reject(path, "is not a readable safetensors file")


@pytest.mark.parametrize("shape", [[10**9, 10**9], [2**32, 2**32], [2**63], [-1, 8, 3, 3], [8, 3, 3, 4]])
def test_dimensions_that_do_not_fit_the_bytes(path, shape):
    header, body = header_of(path)
    header["head.weight"]["shape"] = shape
    write(path, header, body)
    reject(path, "is not a readable safetensors file")


def test_a_file_cut_short_at_any_place(path):
    data = path.read_bytes()
    for length in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        reject(path, "is not a readable safetensors file")


# --- safetensors: what we refuse


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(path, value):
    tensors = load_file(path)
    tensors["tail.1.weight"][1, 2, 0, 1] = value
    header = header_of(path)[0]["__metadata__"]
    save_file(tensors, path, metadata=header)
    reject(path, r"holds numbers that are not finite, in tail\.1\.weight\.")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\..\\x", "__class__", "head.weight\x00", ""])
def test_tensor_names_are_names_and_nothing_else(path, name):
    tensors = {**load_file(path), name: torch.zeros(1)}
    save_file(tensors, path, metadata=header_of(path)[0]["__metadata__"])
    reject(path, "does not fit EDSR: unexpected ")


def test_tensors_of_other_types(path):
    tensors = {**load_file(path), "head.bias": torch.zeros(8, dtype=torch.int64)}
    save_file(tensors, path, metadata=header_of(path)[0]["__metadata__"])
    reject(path, r"does not fit EDSR: head\.bias is stored as I64, not as a float\.")


def configured(path, text):
    """The good file with another configuration in its header."""
    save_file(load_file(path), path, metadata={"cclnn": text})


def described(**arguments):
    return json.dumps({"schema": 1, "architecture": "EDSR", "arguments": {**CONFIG, **arguments}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 10**9}, r"channels must lie in \[1, 1024\], got 1000000000"),
        ({"channels": 10**999}, r"channels must lie in \[1, 1024\], got an integer of \d+ bits"),
        ({"n_resblocks": 10**9}, r"n_resblocks must lie in \[1, 256\], got 1000000000"),
        ({"scale": 2**30}, r"scale must lie in \[1, 16\]"),
        ({"scale": 0}, r"scale must lie in \[1, 16\], got 0"),
        ({"channels": -8}, r"channels must lie in \[1, 1024\], got -8"),
        ({"channels": 8.0}, r"channels must be int, got 8\.0"),
        ({"channels": True}, "channels must be int, got True"),
        ({"channels": "8"}, "channels must be int, got '8'"),
        ({"channels": None}, "channels must be int, got None"),
        ({"channels": [8]}, r"channels must be int, got \[8\]"),
        ({"channels": "x" * 9999}, r"channels must be int, got 'x{39}\.\.\."),
        ({"res_scale": math.nan}, r"res_scale must lie in \[-100, 100\], got nan"),
        ({"res_scale": math.inf}, r"res_scale must lie in \[-100, 100\], got inf"),
        ({"res_scale": True}, "res_scale must be float, got True"),
        ({"rgb_range": 0}, r"rgb_range must lie in \[0\.001, 65535\], got 0"),
        ({"__class__": "os.system"}, "unexpected __class__"),
        ({"backend": "reference"}, "unexpected backend"),
        ({"scale": 5}, "scale. must be 2, 3, 4, 8 or another power of two, got 5"),
        ({"scale": 4}, r"missing tail\.0\.2\.bias"),
        ({"channels": 512}, r"head\.bias has shape \(8,\), needs \(512,\)"),
        ({"n_resblocks": 256}, r"and \d+ more\.$"),
    ],
)
def test_arguments_out_of_type_range_or_place(path, arguments, message):
    configured(path, described(**arguments))
    reject(path, message)


def test_a_missing_argument_is_not_made_up(path):
    arguments = {name: value for name, value in CONFIG.items() if name != "res_scale"}
    configured(path, json.dumps({"schema": 1, "architecture": "EDSR", "arguments": arguments}))
    reject(path, "`arguments` do not fit EDSR: missing res_scale")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 60_000, "the configuration is not JSON"),
        ("{", "the configuration is not JSON"),
        ('{"schema": 1' + " " * 70_000 + "}", "a configuration has at most 65536 characters, got 70013"),
        ("[1]", "the configuration must be a JSON object, got list"),
        ('{"schema": 1, "architecture": ["EDSR"]}', r"`architecture` must be the name of a class, got \['EDSR'\]"),
        ('{"schema": 1, "architecture": "SRModel", "arguments": {}}', "architecture` must be one of .*, got 'SRModel'"),
        ('{"schema": 1, "architecture": "EDSR", "arguments": [1]}', "`arguments` must be a JSON object, got list"),
        ('{"schema": true, "architecture": "EDSR"}', "schema must be 1, got True"),
        (described()[:-1] + ', "auto_map": "x.py"}', "unexpected auto_map"),
    ],
    ids=["deep", "cut", "long", "list", "name", "base", "arguments", "schema", "extra"],
)
def test_configurations_that_are_none(path, text, message):
    configured(path, text)
    reject(path, message)


LIMITED = """
import resource
cclnn.load("cclnn-s-x2")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
result = []
for path in paths:
    try:
        cclnn.load(path)
    except ValueError:
        result.append("refused")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc tells how much memory a process has")
def test_a_configuration_of_gigabytes_takes_no_memory(path, tmp_path):
    """The largest that the limits let pass would hold 19 GB: it fails against the shapes in the header, in 0.3 GB."""
    paths = []
    for arguments in ({"channels": 1024, "n_resblocks": 256}, {"channels": 10**9}, {"scale": 16, "channels": 1024}):
        paths.append(tmp_path / f"{len(paths)}.safetensors")
        paths[-1].write_bytes(path.read_bytes())
        configured(paths[-1], described(**arguments))
    client = Client(tmp_path)
    assert client.run(LIMITED, paths=paths) == ["refused"] * 3
    client.close()


def test_a_huge_config_file_is_not_read(tmp_path):
    cclnn.EDSR(**CONFIG).save_pretrained(tmp_path)
    with (tmp_path / "config.json").open("r+b") as file:
        file.truncate(10**12)  # sparse
    reject(tmp_path, "a configuration has at most 65536 bytes, got 1000000000000")


# --- pickles


class Payload:
    """Writes a file when unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "code ran"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_payload_does_not_run(tmp_path, legacy):
    target, path = tmp_path / "ran", tmp_path / "model.pt"
    state = {"weight": torch.zeros(2), "extra": Payload(target)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        ValueError, match=r"model\.pt' is refused: it holds more than tensors .* could run code"
    ) as refused:
        read_state_dict(path)
    assert "(UnpicklingError: GLOBAL " in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch would say how to run it
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists()  # the payload was alive


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.bin", "model.ckpt", "MODEL.PT"])
def test_load_refuses_pickles_by_name_and_says_what_to_do(tmp_path, name):
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ValueError, match=r"is a pickle, which can run code when read.*cclnn convert .* -o FOLDER"):
        cclnn.load(tmp_path / name)


def test_a_pickle_named_safetensors_is_not_unpickled(tmp_path):
    target, path = tmp_path / "ran", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Payload(target)))
    reject(path, "is not a readable safetensors file")
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        read_state_dict(path)
    assert not target.exists()


def test_garbage_and_nothing(tmp_path):
    path = tmp_path / "model.pt"
    for data in (b"", b"\x80\x02.", b"no pickle", pickle.dumps([1, 2]), pickle.dumps({"a": 1})[:-1]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"model\.pt' is refused"):
            read_state_dict(path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*absent\.pt"):
        read_state_dict(tmp_path / "absent.pt")
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match=r"model\.pt' must hold a state dict, got list"):
        read_state_dict(path)
    torch.save({}, path)
    with pytest.raises(ValueError, match=r"model\.pt' holds no tensors"):
        read_state_dict(path)


def repacked(source, target, **options):
    """The zip that torch.save wrote, written again by Python."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))


def test_a_zip_bomb_is_refused_before_it_grows(tmp_path):
    """100 MB of zeros in 100 kB. torch.load would unpack it."""
    torch.save({"weight": torch.zeros(25_000_000)}, tmp_path / "plain.pt")
    repacked(tmp_path / "plain.pt", tmp_path / "bomb.pt", compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "plain.pt").unlink()
    assert (tmp_path / "bomb.pt").stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"bomb\.pt' is refused: torch\.save never compresses, but .* is compressed"):
        read_state_dict(tmp_path / "bomb.pt")


def test_zip_parts_that_claim_more_than_the_file_holds(tmp_path):
    """Many entries of the directory that share one part's bytes: a bomb without compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", b"\0" * 10_000)
        (part,) = archive.filelist
        archive.filelist = [part] * 50
    path = tmp_path / "overlap.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"its parts claim 500000 bytes, the file has 1\d{4}\."):
        read_state_dict(path)
    path.write_bytes(buffer.getvalue()[:-30])
    with pytest.raises(ValueError, match=r"overlap\.pt' is refused"):
        read_state_dict(path)


def test_a_small_storage_seen_as_a_huge_tensor(tmp_path):
    """4 bytes on disk that claim to be 4 TB: stride 0 is legal in a pickle."""
    torch.save({"head.0.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "wide.pt")
    state = read_state_dict(tmp_path / "wide.pt")
    with pytest.raises(ValueError, match=r"'head\.0\.weight' of shape \(1000000, 1000000\) is larger than the numbers"):
        cclnn.convert_official("edsr", state)
