"""examples/train/train.py as a user runs it: it learns; stopped, killed or split among processes it does the same."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import cclnn

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "examples" / "train" / "train.py"
SMALL = ["--model", "cclnn-t", "--steps", "24", "--batch", "2", "--patch", "10", "--warmup", "4", "--seed", "3"]
OFTEN = ["--save-every", "1", "--validate-every", "12", "--log-every", "6", "--validation", "1", "--lr", "2e-3"]
ONCE = ["--contrastive-after", "3", "--candidates", "2"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(ROOT / "examples" / "images" / "chelsea.png") as image:
        for i, box in enumerate([(100, 60, 170, 120), (200, 90, 260, 160), (20, 200, 90, 260)]):
            image.crop(box).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"not a photograph")
    Image.new("RGB", (19, 50)).save(folder / "small.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(photos, cache):
    def make(out, *more, program=(sys.executable,)):
        where = ["--data", str(photos), "--cache", str(cache), "--out", str(out)]
        return [*program, str(TRAIN), *where, *SMALL, *OFTEN, *ONCE, *more]

    return make


def run(arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600, **options)


@pytest.fixture(scope="module")
def finished(photos, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    where = ["--data", str(photos), "--cache", str(cache), "--out", str(out)]
    done = run([sys.executable, str(TRAIN), *where, *SMALL, *OFTEN, *ONCE])
    assert done.returncode == 0, done.stderr
    return out, done


def test_learns_and_leaves_weights_that_load(finished):
    out, _ = finished
    model = cclnn.load(out)
    untrained = cclnn.create_model("cclnn-t", scale=2)
    assert model.config == untrained.config
    x, target = torch.full((1, 3, 24, 24), 0.6), torch.full((1, 3, 48, 48), 0.6)
    with torch.no_grad():
        assert (model(x) - target).abs().mean() < 0.5 * (untrained(x) - target).abs().mean()


def test_tells_what_it_did(finished):
    out, done = finished
    said = done.stdout + done.stderr
    assert "broken.jpg': it is not an image in a known format" in said
    assert "small.png' has 19 x 50 pixels, 20 are needed" in said
    assert "2 training images, 1 for validation" in said
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [6, 12, 18, 24]
    scores = {line["step"]: line["psnr"] for line in lines if "psnr" in line}
    assert list(scores) == [12, 24]
    assert f"best        {max(scores.values()):.3f} dB at step {max(scores, key=scores.get)}" in said
    for line in lines:
        if "loss" in line:
            weight = (
                4e-3 if line["step"] > 6 else 4e-3 * 3 / 6
            )  # of the first six steps, three are before the warm-up's end
            assert line["loss"] == pytest.approx(line["l1"] + weight * line["contrastive"], abs=1e-4)
    assert list((out / "tensorboard").glob("events.*"))
    assert cclnn.load(out / "best").config == cclnn.load(out).config


def test_the_settings_it_saved_make_the_same_run(finished, tmp_path):
    whole, _ = finished
    done = run([sys.executable, str(TRAIN), "--preset", str(whole / "settings.toml"), "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_is_complete_only_writes_its_result(command, finished, tmp_path):
    whole, _ = finished
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()  # as after a kill between the last checkpoint and the result
    done = run(command(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stdout
    for name in ("model.safetensors", "log.jsonl", "last.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_ends_with_the_same_weights(command, finished, tmp_path, how):
    whole, _ = finished
    process = subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, how)  # the workers, too, as Ctrl-C and a batch system do
    _, errors = process.communicate(timeout=120)
    if how != signal.SIGKILL:
        assert process.returncode == 1
        assert "the same command goes on from there" in errors
    assert not (tmp_path / "model.safetensors").exists()
    assert 1 <= torch.load(tmp_path / "last.pt", weights_only=True)["step"] < 24

    done = run(command(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "best/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert not list(tmp_path.rglob(".*"))


def test_a_resumed_run_may_not_become_another(command, finished):
    out, _ = finished
    done = run(command(out, "--batch", "4", "--lr", "1e-3"))
    assert done.returncode == 1
    assert "is of a run with other settings: batch 2 -> 4, lr 0.002 -> 0.001; give it another --out" in done.stderr


def test_a_full_disk_leaves_the_checkpoint_before(command, tmp_path):
    done = run(command(tmp_path, "--steps", "2", "--schedule", "steps"))
    assert done.returncode == 0, done.stderr
    before = (tmp_path / "last.pt").read_bytes()

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    done = run(command(tmp_path, "--steps", "4", "--schedule", "steps"), preexec_fn=full)
    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'last.pt'} at step 3: " in done.stderr
    assert "the checkpoint of step 2 is still there" in done.stderr
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_an_exploding_loss_names_the_last_good_checkpoint(command, tmp_path):
    done = run(command(tmp_path, "--lr", "1e30", "--clip", "0", "--warmup", "0", "--save-every", "1"))
    assert done.returncode == 1
    assert "became" in done.stderr
    assert "the last good checkpoint is" in done.stderr
    weights = torch.load(tmp_path / "last.pt", weights_only=True)["ema"]
    assert all(x.isfinite().all() for x in weights.values())


def test_validates_on_a_folder_of_its_own(command, photos, tmp_path):
    (tmp_path / "other").mkdir()
    with Image.open(photos / "0.png") as image:
        image.save(tmp_path / "other" / "0.png")
    done = run(command(tmp_path / "run", "--steps", "1", "--validation-data", str(tmp_path / "other")))
    assert done.returncode == 0, done.stderr
    assert "3 training images, 1 for validation" in done.stdout + done.stderr


def test_starts_another_scale_from_the_trunk(command, finished, tmp_path):
    trained, _ = finished
    done = run(command(tmp_path, "--init-from", str(trained), "--scale", "3", "--steps", "1", "--lr", "0"))
    assert done.returncode == 0, done.stderr
    kept = f"not started from {trained}: tail.0.0.weight (576, 64, 3, 3), it has shape (256, 64, 3, 3) there"
    assert kept in done.stdout
    ours, theirs = cclnn.load(tmp_path).state_dict(), cclnn.load(trained).state_dict()
    fresh = {name for name in ours if not torch.equal(ours[name], theirs[name][: len(ours[name])])}
    assert fresh == {"tail.0.0.weight", "tail.0.0.bias"}


@pytest.mark.parametrize("name", ["edsr-baseline", "nlsn"])
def test_trains_other_networks(command, tmp_path, name):
    small = ["--model", name, "--arguments", "channels=16", "n_resblocks=2", "--steps", "2", "--lr-from", "image"]
    done = run(command(tmp_path, *small))
    assert done.returncode == 0, done.stderr
    assert cclnn.load(tmp_path).config["channels"] == 16


def test_two_processes_do_what_one_does(command, tmp_path):
    """Losses and scores of every step; that the gradients are the same to rounding, test_gradients.py shows."""
    same = ["--batch", "4", "--steps", "6", "--log-every", "1", "--precision", "fp32", "--cpu", "--lr", "1e-4"]
    one = run(command(tmp_path / "one", *same))
    assert one.returncode == 0, one.stderr
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    two = run(command(tmp_path / "two", *same, "--accumulate", "2", program=launch), env=environment)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("training images") == 1
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for a, b in zip(*logs, strict=True):
        for name in a.keys() - {"images_per_second"}:
            assert a[name] == pytest.approx(b[name], rel=1e-3), name
