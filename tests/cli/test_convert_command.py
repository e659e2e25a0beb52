"""`cclnn convert`: released weights in a pickle in, a folder that reproduces the released output out."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from golden.reader import assert_golden, read

import cclnn
from cclnn.cli.commands import cli
from cclnn.hub import read_state_dict
from cclnn.layers import NonLocalSparseAttention
from cclnn.models.registry import ARCHITECTURES
from cclnn.pretrained import to_official


def run(*arguments):
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny released EDSR, as its trainer saves it."""
    path = tmp_path / "model_best.pt"
    torch.save(read("edsr_x2_r255.f32").under("state."), path)
    return path


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("edsr_x2_r255.f32", "edsr"), ("edsr_x3_r1.f32", "edsr"), ("nlsn_x2.f32", "nlsn"), ("nlsn_x3.f32", "nlsn")],
)
@pytest.mark.parametrize("suffix", [".pt", ".bin"])
def test_the_released_output_is_reproduced(tmp_path, name, architecture, suffix):
    case = read(name)
    file, folder = tmp_path / f"released{suffix}", tmp_path / "ours"
    torch.save({"params": {f"module.{key}": x for key, x in case.under("state.").items()}}, file)
    known = [key for key in ("res_scale", "n_hashes", "chunk_size") if key in case.params]
    settings = [part for key in known for part in ("--set", f"{key}={case.params[key]}")]
    done = run(file, "--arch", architecture, "-o", folder, *settings)
    assert done.exit_code == 0, done.output
    model = cclnn.load(folder)
    attentions = [module for module in model.modules() if isinstance(module, NonLocalSparseAttention)]
    for i, layer in enumerate(attentions):
        layer.rotations = case.rotations(i)
    white = case.params["rgb_range"]
    expected = case["output.y"]
    assert_golden(model(case["input.x"] / white) * white, expected, float32=1e-4, scale=expected.std().item())


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES.values() if kind.architecture.released])
@pytest.mark.parametrize(("container", "suffix"), [("params_ema", ".pt"), ("state_dict", ".safetensors")])
def test_auto_converts_every_architecture_there_and_back(kind, container, suffix, tmp_path):
    """As trainers save it, in a container and from several GPUs: no tensor changes."""
    official = to_official(kind(**kind.architecture.small))
    torch.save({container: {f"module.{key}": tensor for key, tensor in official.items()}}, tmp_path / "in.pt")
    hidden = [name for name in kind.architecture.small if name in kind.architecture.unseen]
    settings = [part for name in hidden for part in ("--set", f"{name}={kind.architecture.small[name]}")]
    done = run(tmp_path / "in.pt", "--arch", "auto", "-o", tmp_path / "ours", *settings)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"wrote {tmp_path / 'ours'}: {kind.__name__} with ")
    file = tmp_path / f"back{suffix}"
    done = run(tmp_path / "ours", "--to-released", "-o", file)
    assert done.output == f"wrote {file}: {len(official)} tensors under the names of the released code\n"
    back = read_state_dict(file)
    assert back.keys() == official.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in official.items())


def test_says_what_it_found(checkpoint, tmp_path):
    done = run(checkpoint, "--arch", "edsr", "-o", tmp_path / "out", "--dtype", "fp16", "--set", "res_scale=1")
    model = cclnn.load(tmp_path / "out")
    size = sum(tensor.numel() for tensor in model.state_dict().values())
    assert done.output.startswith(f"wrote {tmp_path / 'out'}: EDSR with {size:,} parameters; scale 2, channels 8, ")
    assert done.output.endswith("res_scale 1, rgb_range 255.0\n")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < 4 * size


def test_says_what_it_assumed(checkpoint, tmp_path):
    done = run(checkpoint, "-o", tmp_path / "edsr")
    assert done.output.splitlines()[1:] == [
        "assumed, since the checkpoint cannot reveal it (--set changes it): res_scale 0.1"
    ]
    torch.save(read("nlsn_x2.f32").under("state."), tmp_path / "nlsn.pt")
    done = run(tmp_path / "nlsn.pt", "-o", tmp_path / "nlsn", "--set", "n_hashes=2")
    assert done.output.endswith("(--set changes it): res_scale 0.1, chunk_size 144\n")


def test_reads_the_format_before_torch_1_6_and_safetensors(checkpoint, tmp_path):
    """EDSR's published files are in the old format."""
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    from safetensors.torch import save_file

    save_file(state, tmp_path / "new.safetensors")
    outputs = []
    for name in ("old.pt", "new.safetensors", checkpoint.name):
        done = run(tmp_path / name, "--arch", "edsr", "-o", tmp_path / f"from-{name}")
        assert done.exit_code == 0, done.output
        outputs.append((tmp_path / f"from-{name}" / "model.safetensors").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_auto_takes_the_published_sizes(tmp_path):
    model = cclnn.create_model("edsr-baseline", scale=4, rgb_range=255.0)
    rules = [("head.", "head.0."), ("conv1", "body.0"), ("conv2", "body.2")]
    state = {}
    for key, tensor in model.state_dict().items():
        for ours, official in rules:
            key = key.replace(ours, official)
        state[key] = tensor
    torch.save(state, tmp_path / "edsr_baseline_x4.pt")
    done = run(tmp_path / "edsr_baseline_x4.pt", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert cclnn.load(tmp_path / "out").config == model.config


def test_mistakes_are_one_line_and_write_nothing(checkpoint, tmp_path):
    def message(*arguments, code=1):
        done = run(*arguments, "-o", tmp_path / "out")
        assert done.exit_code == code, done.output
        assert done.output.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return done.output

    assert "Error: no checkpoint 'absent.pt'." in message("absent.pt")
    assert "Error: unknown model 'edsx'. Did you mean 'edsr'?" in message(checkpoint, "--arch", "edsx")
    assert "--set must be NAME=VALUE, got 'res_scale'." in message(checkpoint, "--set", "res_scale")
    assert "--set does not fit edsr: " in message(checkpoint, "--arch", "edsr", "--set", "n_hashes=3")
    assert "res_scale must lie in [-100, 100], got 1000" in message(
        checkpoint, "--arch", "edsr", "--set", "res_scale=1000"
    )
    assert "--to-released takes neither --arch nor --set." in message("cclnn-s-x2", "--to-released", "--arch", "edsr")
    assert "--output must end in .pt, .pth, .safetensors with --to-released, got" in message(
        "cclnn-s-x2", "--to-released"
    )
    torch.save({"state_dict": {}, "hook": Path}, checkpoint)
    assert "is refused: it holds more than tensors and plain containers" in message(checkpoint)


def test_replaces_a_model_only_when_told_to(checkpoint, tmp_path):
    arguments = (checkpoint, "--arch", "edsr", "-o", tmp_path / "out")
    assert run(*arguments).exit_code == 0
    before = (tmp_path / "out" / "config.json").read_bytes()
    done = run(*arguments, "--set", "res_scale=0.5")
    assert done.exit_code == 1
    assert "holds a model already; --overwrite replaces it." in done.output
    assert (tmp_path / "out" / "config.json").read_bytes() == before
    assert run(*arguments, "--set", "res_scale=0.5", "--overwrite").exit_code == 0
    assert cclnn.load(tmp_path / "out").config["res_scale"] == 0.5
