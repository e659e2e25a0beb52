"""benchmarks/publish_weights.py: what it writes, and that it writes nothing where a check fails."""

import hashlib
import json

import publish_weights
import pytest
import torch
from golden_output import golden_output
from PIL import Image

import cclnn
from cclnn.evaluation import evaluate


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Publish the checkpoint of a run, with two tiny images in place of the benchmarks."""
    for name in ("Set5", "B100"):
        (tmp_path / name).mkdir()
        Image.effect_noise((40, 36), 30).save(tmp_path / name / "a.png")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "manifest.json").write_text('{"other-x2": {"file": "other-x2.safetensors"}}')
    monkeypatch.setattr("golden_output.APART", 150)  # few places
    monkeypatch.setattr(publish_weights, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(publish_weights, "MANIFEST", tmp_path / "package" / "manifest.json")

    def run(model, *more, averaged, name="edsr-baseline"):
        state = {
            "config": model.config,
            "model": model.state_dict(),
            "ema": {f"module.{key}": value for key, value in model.state_dict().items()} if averaged else None,
            "step": 7, "seconds": 1800.0, "settings": {"seed": 3}, "made_with": {"device": "a CPU", "commit": "abc"},
        }  # fmt: skip
        if averaged:
            state["ema"]["n_averaged"] = torch.tensor(7)
            state["model"] = {key: value + 1 for key, value in state["model"].items()}
        torch.save(state, tmp_path / "last.pt")
        sets = ["--set5", str(tmp_path / "Set5"), "--b100", str(tmp_path / "B100")]
        arguments = [str(tmp_path), "--name", "mine-x2", "--model", name, "--recipe", "train.py", *sets, *more]
        monkeypatch.setattr("sys.argv", ["publish_weights.py", *arguments])
        publish_weights.main()
        return json.loads((tmp_path / "package" / "manifest.json").read_text())

    return run


@pytest.mark.parametrize("averaged", [True, False])
def test_into_the_repository(publish, tmp_path, averaged):
    torch.manual_seed(0)
    model = cclnn.create_model("edsr-baseline", scale=2).eval()
    manifest = publish(model, "--into", str(tmp_path / "weights"), "--for", "photo", averaged=averaged)
    assert [*manifest] == ["mine-x2", "other-x2"]
    entry, path = manifest["mine-x2"], tmp_path / "weights" / "mine-x2.safetensors"
    assert entry["path"] == path.as_posix()
    assert entry["bytes"] == path.stat().st_size
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"steps": 7, "hours": 0.5, "seed": 3, "commit": "abc"}.items() <= entry["training"].items()
    stored = cclnn.load(tmp_path / "weights" / "mine-x2")
    weight = model.body[0].conv1.weight
    assert (stored.body[0].conv1.weight - weight).abs().max() < 1e-3 * weight.abs().max()
    assert entry["for"] == "photo"
    degraded = evaluate(
        {"mine": stored, "bicubic": "bicubic"},
        [tmp_path / "B100"],
        scale=2,
        degrade="noise5",
        memory=False,
        device="cpu",
    )
    mine, bicubic = (degraded.result(name, "B100").psnr for name in ("mine", "bicubic"))
    found = entry["gains"]["B100 noise5"]
    assert found["mean"] == pytest.approx(mine - bicubic, abs=1e-3)
    assert (found["below"], found["images"]) == (int(mine < bicubic), 1)
    assert entry["golden"] == golden_output(stored, tuple(entry["golden"]["place"]))


def test_nothing_is_written_where_a_check_fails(publish, tmp_path):
    model = cclnn.create_model("edsr-baseline", scale=2)
    with pytest.raises(AssertionError, match="2500000 are allowed in the package"):
        publish(model, averaged=True)
    assert [path.name for path in (tmp_path / "package").iterdir()] == ["manifest.json"]
    assert "mine-x2" not in (tmp_path / "package" / "manifest.json").read_text()
