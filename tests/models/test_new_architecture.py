"""One record is all that a new architecture takes: everything works with one that is nothing like EDSR."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Annotated

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import cclnn
from cclnn._arguments import Length, Range
from cclnn.cli.commands import cli
from cclnn.evaluation import cost, evaluate
from cclnn.evaluation.complexity import count_parameters
from cclnn.models import Architecture, Released, SRModel, registry

MULTIPLE = 4


class Wavy(SRModel):
    """sr = nearest(x) + gamma * deep(luma): no `channels`, a list, a bare parameter, padding to a multiple inside."""

    def __init__(
        self,
        scale: Annotated[int, Range(2, 4)] = 2,
        *,
        widths: Annotated[list[int], Range(1, 64), Length(1, 4)] = (6, 5),
        slope: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(scale)
        made = {"device": device, "dtype": dtype}
        sizes = [1, *widths, scale**2]
        self.steps = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1, **made) for a, b in pairwise(sizes)])
        self.gamma = nn.Parameter(torch.full((3,), 0.5, **made))
        self.slope = slope

    def super_resolve(self, x):
        height, width = x.shape[2:]
        deep = F.pad(x.mean(dim=1, keepdim=True), (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        for step in self.steps:
            deep = F.leaky_relu(step(deep), self.slope)
        deep = F.pixel_shuffle(deep, self.scale)[:, :, : height * self.scale, : width * self.scale]
        return F.interpolate(x, scale_factor=self.scale) + self.gamma[:, None, None] * deep, None


def infer_wavy(tensors, given):
    """The widths, from as many convolutions as there are."""
    widths = [tensors[f"steps.{i}.weight"].shape[0] for i in range(sum(name.endswith(".weight") for name in tensors))]
    return {"scale": round(widths[-1] ** 0.5), "widths": widths[:-1]}


Wavy.architecture = Architecture(
    title="Wavy",
    paper="Doe 2099, Waves",
    year=2099,
    url="https://example.org/waves",
    summary="A network for this test.",
    variants={"wavy": {}, "wavy-l": {"widths": [9, 7, 5], "slope": 0.3}},
    scales=(2, 4),
    receptive_radius=lambda model: len(model.steps),
    size_multiple=MULTIPLE,
    low_precision=("bf16",),
    input_channels="y",
    infer=infer_wavy,
    unseen=("slope",),
    released=Released(
        source="https://example.org/waves.git",
        license="mit",
        signature="net.wave_0.scale",
        renames=(("net.wave_{i}.*", "steps.{i}.*"), ("net.gain", "gamma")),
        unpack=lambda official: {
            key.replace(".scale", ".weight").replace(".shift", ".bias"): tensor for key, tensor in official.items()
        },
        restore=lambda _, official: {
            key.replace(".weight", ".scale").replace(".bias", ".shift"): tensor for key, tensor in official.items()
        },
    ),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What one import in registry.py does."""
    monkeypatch.setitem(registry.ARCHITECTURES, "Wavy", Wavy)


@pytest.fixture
def model():
    return cclnn.create_model("wavy-l", scale=4).eval()


def run(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_is_listed_and_made_by_name(model):
    assert {"wavy", "wavy-l"} <= set(cclnn.list_models())
    assert model.config == {"scale": 4, "widths": [9, 7, 5], "slope": 0.3}
    assert cclnn.create_model("wavy").config == {"scale": 2, "widths": [6, 5], "slope": 0.1}
    with pytest.raises(ValueError, match="`scale` must be one of 2, 4, got 3"):
        cclnn.create_model("wavy", scale=3)
    rows = {row["model"]: row for row in json.loads(run("list", "--models", "--json"))}
    assert rows["wavy"]["parameters x2"] == 3 + 60 + 275 + 184
    assert rows["wavy"]["parameters x3"] is None
    assert rows["wavy-l"]["released code"] == "mit"


def test_is_saved_and_loaded(model, tmp_path):
    model.save_pretrained(tmp_path)
    x = torch.rand(2, 3, 5, 7)
    for again in (cclnn.load(tmp_path), Wavy.from_pretrained(tmp_path)):
        assert again.config == model.config
        assert torch.equal(again(x), model(x))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "arguments": {**model.config, "widths": [65]}}))
    with pytest.raises(ValueError, match="differ: widths is"):
        cclnn.load(tmp_path)


def test_is_converted_both_ways_and_disturbs_no_other_architecture(model, tmp_path):
    official = cclnn.pretrained.to_official(model)
    assert {"net.wave_0.scale", "net.wave_3.shift", "net.gain"} <= official.keys()
    again = cclnn.convert_official("auto", official)
    assert again.config == model.config  # the widths tell the variant, and so the slope
    assert torch.equal(again(torch.rand(1, 3, 3, 5)).isfinite().all(), torch.tensor(True))
    with pytest.raises(ValueError, match=r"holds 'net\.loss', which no rule for Wavy renames"):
        cclnn.convert_official("wavy", {**official, "net.loss": torch.zeros(1)})
    edsr = cclnn.create_model("edsr", channels=8, n_resblocks=1)
    assert cclnn.convert_official("edsr", cclnn.pretrained.to_official(edsr)).config == edsr.config
    torch.save(official, tmp_path / "wavy.pt")
    told = run("convert", tmp_path / "wavy.pt", "-o", tmp_path / "ours")
    assert "Wavy with" in told
    assert "slope 0.3" in told.splitlines()[1]


def test_keeps_the_contract(model):
    for b, h, w in ((1, 1, 1), (2, 5, 7)):
        x = torch.rand(b, 3, h, w)
        sr, loss = model(x, return_loss=True)
        assert sr.shape == (b, 3, 4 * h, 4 * w)
        assert torch.equal(sr, model(x))
        assert loss.shape == ()
        assert loss.item() == 0
    assert "widths=[9, 7, 5]" in repr(model)


def test_upscales_whole_and_in_tiles(model):
    """With the record's radius as overlap, tiles equal the whole; both are multiples of what the network pads to."""
    x = torch.rand(1, 3, 40, 36)
    whole = cclnn.Upscaler(model, tile="none", precision="fp32")(x)
    tiled = cclnn.Upscaler(model, tile=20, overlap=Wavy.architecture.reach(model), precision="fp32")(x)
    assert_close(tiled, whole, rtol=0, atol=1e-5)
    assert Wavy.architecture.reach(model) == 4


def test_is_counted_described_and_evaluated(model, tmp_path):
    counted = cost(model, (8, 12), repeats=0, memory=False)
    assert counted.macs == 96 * 9 * (1 * 9 + 9 * 7 + 7 * 5 + 5 * 16)
    model.save_pretrained(tmp_path / "model")
    lines = run("info", tmp_path / "model", "--size", "8,12").splitlines()
    assert "an output pixel depends on at most 4 input pixels to each side" in lines
    (tmp_path / "Set").mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "Set" / "a.png")
    evaluation = evaluate({"wavy": model}, [tmp_path / "Set"], scale=4, device="cpu", memory=False)
    assert 0 < evaluation.result("wavy", "Set").psnr < 60


def guide():
    """The class of docs/guide/new-model.md with its record, as they stand there."""
    path = Path(__file__).parents[2] / "docs" / "guide" / "new-model.md"
    code = [dedent(block) for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)]
    assert len(code) == 2
    names = {}
    for block in code:
        exec(compile(block, path.name, "exec"), names)
    return names["SRCNNish"]


def test_the_guide_is_true(monkeypatch):
    kind = guide()
    monkeypatch.setitem(registry.ARCHITECTURES, "SRCNNish", kind)
    model = cclnn.create_model("srcnnish", scale=2)
    assert count_parameters(model) == kind.architecture.parameters["srcnnish"][2]
    assert model(torch.rand(1, 3, 5, 7)).shape == (1, 3, 10, 14)
    official = cclnn.pretrained.to_official(model)
    assert official.keys() == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}
    assert cclnn.convert_official("auto", official).config == model.config


def test_the_tests_over_every_model_pass_with_the_guides_record(tmp_path):
    """In a process that registers it before pytest collects them."""
    tests = Path(__file__).parents[1]
    plugin = "from test_new_architecture import guide, registry\nregistry.ARCHITECTURES['SRCNNish'] = guide()\n"
    (tmp_path / "registers.py").write_text(plugin)
    files = ("models/test_every_model.py", "models/test_registry.py", "pretrained/test_state_dicts.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "registers", "-k", "SRCNNish"]
    path = os.pathsep.join(map(str, (tmp_path, tests, Path(__file__).parent)))
    done = subprocess.run(
        [*command, *(tests / file for file in (*files, "pretrained/test_released.py"))],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 40
