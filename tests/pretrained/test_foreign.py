"""Networks of other projects: what spandrel builds from a file goes through the upscaler like our own."""

import importlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import cclnn
from cclnn.cli.commands import cli
from cclnn.pretrained import load_foreign
from cclnn.pretrained.foreign import is_foreign

pytestmark = pytest.mark.usefixtures("spandrel")


def compact(**options):
    """The network of Real-ESRGAN's small models."""
    network = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG").SRVGGNetCompact
    torch.manual_seed(0)
    return network(num_feat=8, num_conv=2, upscale=2, **options).eval()


def swinir():
    """Windows of 8 pixels, to a multiple of which the input is padded."""
    network = importlib.import_module("spandrel.architectures.SwinIR.__arch.SwinIR").SwinIR
    torch.manual_seed(0)
    sizes = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2}
    return network(img_size=64, upscale=3, upsampler="pixelshuffledirect", **sizes).eval()


@pytest.fixture
def checkpoint(tmp_path):
    torch.save({"params_ema": compact().state_dict()}, tmp_path / "compact.pth")
    return tmp_path / "compact.pth"


def pixels(height=37, width=29):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_gives_what_the_network_itself_gives(tmp_path, suffix):
    network, path = compact(), tmp_path / f"compact{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    image = pixels()
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255).clamp(0, 1)
    expected = (expected * 255).round()[0].permute(1, 2, 0).numpy()
    upscaler = cclnn.Upscaler(path, precision="fp32", tile="none", edges="network")
    assert np.abs(upscaler(image) - expected).max() <= 1
    tiled = cclnn.Upscaler(path, precision="fp32", tile=24, overlap=8, edges="network")
    assert np.abs(tiled(image) - expected).max() <= 1
    assert repr(upscaler.model).startswith("ForeignModel(\n  RealESRGAN Compact, scale=2")


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # in the network's own code, when this test builds it
@pytest.mark.parametrize(("height", "width"), [(1, 1), (13, 19), (37, 29)])
def test_pads_to_the_sizes_that_the_network_takes(tmp_path, height, width):
    network = swinir()
    torch.save(network.state_dict(), tmp_path / "swinir.pth")
    result = cclnn.upscale(pixels(height, width), tmp_path / "swinir.pth", precision="fp32")
    assert result.shape == (3 * height, 3 * width, 3)


def test_every_kind_of_image_goes_through(checkpoint):
    grey = cclnn.upscale(Image.fromarray(pixels()).convert("LA"), checkpoint)
    assert (grey.mode, grey.size) == ("LA", (58, 74))
    deep = cclnn.upscale(pixels().astype(np.uint16) * 257, checkpoint)
    assert (deep.dtype, deep.shape) == (np.uint16, (74, 58, 3))


def test_a_loaded_network_is_taken_as_a_model(checkpoint):
    model = load_foreign(checkpoint)
    assert np.array_equal(cclnn.upscale(pixels(), model), cclnn.upscale(pixels(), checkpoint))


def test_the_precision_that_spandrel_rules_out_is_not_chosen(checkpoint, monkeypatch):
    monkeypatch.setattr("cclnn.precision.has_fast_bf16", lambda device: True)
    model = load_foreign(checkpoint)
    assert model.architecture.low_precision == ("bf16", "fp16")
    assert cclnn.Upscaler(model).network.dtype == torch.bfloat16
    model._descriptor.supports_bfloat16 = False
    restricted = cclnn.pretrained.ForeignModel(model._descriptor)
    assert cclnn.Upscaler(restricted).network.dtype == torch.float32
    assert cclnn.Upscaler(restricted, precision="bf16").network.dtype == torch.bfloat16


def test_the_command_takes_the_file_and_keeps_metadata(checkpoint, tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "photo.png", dpi=(300, 300))
    done = CliRunner().invoke(cli, ["upscale", str(tmp_path / "photo.png"), "--model", str(checkpoint), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "done"
    with Image.open(tmp_path / "photo_x2.png") as result:
        assert result.size == (58, 74)
        assert result.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_our_own_files_are_not_foreign(tmp_path):
    model = cclnn.EDSR(2, channels=8, n_resblocks=1)
    model.save_pretrained(tmp_path)
    assert not is_foreign(tmp_path / "model.safetensors")
    assert not is_foreign("cclnn-s-x2")
    assert not is_foreign(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    assert not is_foreign(tmp_path / "broken.safetensors")
    assert np.array_equal(cclnn.upscale(pixels(), tmp_path / "model.safetensors"), cclnn.upscale(pixels(), model))


def test_without_spandrel_one_line_names_the_extra(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    Image.fromarray(pixels()).save(tmp_path / "photo.png")
    done = CliRunner().invoke(cli, ["upscale", str(tmp_path / "photo.png"), "--model", str(checkpoint)])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "holds no model of cclnn, and cclnn runs networks of other projects through spandrel: pip install" in line
    assert '"cclnn[spandrel]"' in line


class Payload:
    def __reduce__(self):
        return (print, ("code of whoever wrote the file",))


def test_code_in_a_pickle_is_refused(tmp_path, capsys, rejects):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"conv.weight": Payload()}, protocol=2))
    with rejects("is refused: it holds more than tensors and plain containers, or is damaged"):
        load_foreign(tmp_path / "evil.pth")
    assert "code of whoever" not in capsys.readouterr().out


def test_a_network_that_is_unknown_is_told(tmp_path, rejects):
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "odd.pth")
    with rejects("holds a network that neither cclnn nor spandrel knows"):
        load_foreign(tmp_path / "odd.pth")


def test_a_network_from_grey_to_grey_is_refused(tmp_path, rejects):
    torch.save(compact(num_in_ch=1, num_out_ch=1).state_dict(), tmp_path / "grey.pth")
    with rejects("holds a RealESRGAN Compact from 1 channels to 1; RGB to RGB is needed"):
        load_foreign(tmp_path / "grey.pth")
