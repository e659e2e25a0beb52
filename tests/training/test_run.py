"""examples/train/train.py as a user runs it: it learns; stopped, killed or split among processes it does the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cclnn_training.state import start_from
from forked import Program, ranks
from PIL import Image

import cclnn

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "examples" / "train" / "train.py"
SMALL = [
    "--model",
    "cclnn-t",
    "--optimizer",
    "adam",
    "--steps",
    "24",
    "--batch",
    "2",
    "--patch",
    "10",
    "--warmup",
    "4",
    "--seed",
    "3",
]
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


@pytest.fixture(scope="module")
def command(photos, cache):
    def make(out, *more):
        where = ["--data", str(photos), "--cache", str(cache), "--out", str(out)]
        return [str(TRAIN), *where, *SMALL, *OFTEN, *ONCE, *more]

    return make


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return lambda arguments, **options: Program(arguments, tmp_path_factory.mktemp("printed"), **options)


@pytest.fixture(scope="module")
def run(start):
    return lambda arguments, **options: start(arguments, **options).wait()


@pytest.fixture(scope="module")
def finished(command, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    done = run(command(out))
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
    assert "small.png': it has 19 x 50 pixels, 20 are needed" in said
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


def test_lumas_error_is_added_with_its_weight(command, run, tmp_path):
    added = []
    for weight in (1, 2):
        out = tmp_path / str(weight)
        done = run(command(out, "--luma-weight", str(weight), "--steps", "1", "--shrink", "1.5"))
        assert done.returncode == 0, done.stderr
        first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
        added.append(first["loss"] - first["l1"])  # the first step is before the contrastive loss
    assert added[1] == pytest.approx(2 * added[0], rel=1e-3)
    assert 0 < added[0] <= 1.1 * first["l1"]


def test_the_settings_it_saved_make_the_same_run(run, finished, tmp_path):
    whole, _ = finished
    done = run([str(TRAIN), "--preset", str(whole / "settings.toml"), "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_is_complete_only_writes_its_result(command, run, finished, tmp_path):
    whole, _ = finished
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()  # as after a kill between the last checkpoint and the result
    done = run(command(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stdout
    for name in ("model.safetensors", "log.jsonl", "last.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_ends_with_the_same_weights(command, start, run, finished, tmp_path, how):
    whole, _ = finished
    program = start(command(tmp_path))
    wait_for(tmp_path / "last.pt")
    os.killpg(program.pid, how)  # the workers, too, as Ctrl-C and a batch system do
    done = program.wait()
    if how != signal.SIGKILL:
        assert done.returncode == 1
        assert "the same command goes on from there" in done.stderr
    assert not (tmp_path / "model.safetensors").exists()
    assert 1 <= torch.load(tmp_path / "last.pt", weights_only=True)["step"] < 24

    done = run(command(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "best/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert not list(tmp_path.rglob(".*"))


def test_a_resumed_run_may_not_become_another(command, run, finished):
    out, _ = finished
    done = run(command(out, "--batch", "4", "--lr", "1e-3"))
    assert done.returncode == 1
    assert "is of a run with other settings: batch 2 -> 4, lr 0.002 -> 0.001; give it another --out" in done.stderr


def test_a_resumed_run_may_not_have_other_images(command, run, finished, photos, tmp_path):
    out, _ = finished
    shutil.copytree(out, tmp_path / "run")
    shutil.copytree(photos, tmp_path / "photos")
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    state["settings"]["data"] = (str(tmp_path / "photos"),)
    torch.save(state, tmp_path / "run" / "last.pt")
    (tmp_path / "photos" / "0.png").rename(tmp_path / "photos" / "9.png")
    done = run(command(tmp_path / "run", "--data", str(tmp_path / "photos")))
    assert done.returncode == 1
    assert "is of a run on other images: one was added, removed or changed; give it another --out" in done.stderr


@pytest.mark.parametrize("content", [b"", b"half a checkp"])
def test_a_damaged_checkpoint_is_told(command, run, tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    done = run(command(tmp_path))
    assert done.returncode == 1
    assert "last.pt cannot be read: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "last.pt").read_bytes() == content


def test_a_full_disk_leaves_the_checkpoint_before(command, run, tmp_path):
    done = run(command(tmp_path, "--steps", "2", "--schedule", "steps"))
    assert done.returncode == 0, done.stderr
    before = (tmp_path / "last.pt").read_bytes()

    done = run(command(tmp_path, "--steps", "4", "--schedule", "steps"), file_limit=2**20)
    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'last.pt'} at step 3: " in done.stderr
    assert "the checkpoint of step 2 is still there" in done.stderr
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_an_exploding_loss_names_the_last_good_checkpoint(command, run, tmp_path):
    """Step 1 is the last of a one-cycle, and harmless; step 2, in the midst of a longer one, destroys the weights."""
    harmful = ["--lr", "1e3", "--clip", "0", "--schedule", "one-cycle"]
    done = run(command(tmp_path, *harmful, "--steps", "1"))
    assert done.returncode == 0, done.stderr
    done = run(command(tmp_path, *harmful))
    assert done.returncode == 1
    assert "became" in done.stderr
    assert f"at step 3; the last good checkpoint is {tmp_path / 'last.pt'}" in done.stderr
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 1
    assert all(weights.abs().max() < 300 for weights in state["model"].values())  # the mean colour is of 255 levels


def test_validates_on_a_folder_of_its_own(command, run, photos, tmp_path):
    (tmp_path / "other").mkdir()
    with Image.open(photos / "0.png") as image:
        image.save(tmp_path / "other" / "0.png")
    done = run(command(tmp_path / "run", "--steps", "1", "--validation-data", str(tmp_path / "other")))
    assert done.returncode == 0, done.stderr
    assert "3 training images, 1 for validation" in done.stdout + done.stderr


def test_a_bad_validation_image_is_named_before_training(command, run, photos, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(photos / "0.png", tmp_path / "other" / "0.png")
    (tmp_path / "other" / "1.png").write_bytes(b"")
    Image.new("RGB", (15, 40)).save(tmp_path / "other" / "2.png")
    arguments = ["--steps", "1", "--ema", "0", "--validation-data"]
    done = run(command(tmp_path / "run", *arguments, str(tmp_path / "other")))
    assert done.returncode == 0, done.stderr
    assert "1.png': it is empty" in done.stderr
    assert "2.png has 14 pixels on a side, 16 are needed" in done.stderr
    assert "3 training images, 1 for validation" in done.stdout + done.stderr
    assert cclnn.load(tmp_path / "run").scale == 2  # without an average, the weights themselves

    done = run(command(tmp_path / "none", *arguments, str(tmp_path / "nowhere")))
    assert done.returncode == 1
    assert "--validation-data: no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_starts_another_scale_from_the_trunk(command, run, finished, tmp_path):
    trained, _ = finished
    done = run(command(tmp_path, "--init-from", str(trained), "--scale", "3", "--steps", "1", "--lr", "0"))
    assert done.returncode == 0, done.stderr
    kept = f"not started from {trained}: tail.0.0.weight (576, 64, 3, 3), it has shape (256, 64, 3, 3) there"
    assert kept in done.stdout
    assert f"not started from {trained}: tail.1.weight (3, 64, 3, 3), the scale is another" in done.stdout
    ours, theirs = cclnn.load(tmp_path).state_dict(), cclnn.load(trained).state_dict()
    fresh = {name for name in ours if not torch.equal(ours[name], theirs[name][: len(ours[name])])}
    assert fresh == {"tail.0.0.weight", "tail.0.0.bias", "tail.1.weight", "tail.1.bias"}


def test_says_what_it_cannot_start_from_or_use(trained_edsr):
    """From x2 into x4 and into another width; a tensor that only the other has is named."""
    wider = cclnn.EDSR(4, channels=8, n_resblocks=1)
    before = {name: tensor.clone() for name, tensor in wider.state_dict().items()}
    lines = start_from(str(trained_edsr), wider)
    assert any("not used of" in line and "body.2.bias, there is no such tensor here" in line for line in lines)
    after = wider.state_dict()
    assert not torch.equal(after["head.weight"], before["head.weight"])
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("tail."))
    for other, message in (
        (cclnn.NLSN(2, channels=8, n_resblocks=1), "it is of class EDSR, not NLSN"),
        (cclnn.EDSR(2, channels=4, n_resblocks=3), "nothing in it fits EDSR"),
    ):
        with pytest.raises(SystemExit, match=message):
            start_from(str(trained_edsr), other)
    with pytest.raises(SystemExit, match=r"--init-from: .*neither a published name"):
        start_from("cclnn-s-x22", wider)


@pytest.fixture
def trained_edsr(tmp_path):
    cclnn.EDSR(2, channels=8, n_resblocks=2).save_pretrained(tmp_path / "edsr")
    return tmp_path / "edsr"


def test_a_network_that_muon_cannot_train_is_told(command, run, tmp_path):
    narrow = ["--model", "edsr", "--arguments", "channels=4", "n_resblocks=1", "--optimizer", "muon"]
    done = run(command(tmp_path, *narrow))
    assert done.returncode == 1
    message = "EDSR has no convolution of 8 channels or more before its upscaling; --optimizer adam takes every network"
    assert f"--optimizer muon: {message}" in done.stderr


@pytest.mark.parametrize("name", ["edsr-baseline", "nlsn"])
def test_trains_other_networks(command, run, tmp_path, name):
    small = ["--model", name, "--arguments", "channels=16", "n_resblocks=2", "--steps", "2", "--lr-from", "image"]
    done = run(command(tmp_path, *small))
    assert done.returncode == 0, done.stderr
    assert cclnn.load(tmp_path).config["channels"] == 16


@pytest.mark.parametrize(
    "way",
    [
        ["--precision", "fp16"],
        ["--compile"],
        ["--lr-from", "image", "--ema", "0"],
        ["--degrade", "photo", "--reject"],
        ["--optimizer", "muon"],
    ],
)
def test_other_ways_resume_to_the_same_bytes(command, run, tmp_path, way):
    small = ["--model", "edsr", "--arguments", "channels=8", "n_resblocks=1", "--schedule", "steps", *way]
    for out, steps in (("whole", "4"), ("parts", "2"), ("parts", "4")):
        done = run(command(tmp_path / out, *small, "--steps", steps))
        assert done.returncode == 0, done.stderr
    ends = [torch.load(tmp_path / out / "last.pt", weights_only=True) for out in ("whole", "parts")]
    assert ends[0]["scaler"] == ends[1]["scaler"]
    weights = [(tmp_path / out / "model.safetensors").read_bytes() for out in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_two_processes_do_what_one_does(command, start, run, tmp_path):
    """Losses and scores of every step; that the gradients are the same to rounding, test_gradients.py shows."""
    same = ["--batch", "4", "--steps", "6", "--log-every", "1", "--precision", "fp32", "--lr", "1e-4"]
    if torch.accelerator.is_available():
        same.append("--cpu")
    one = run(command(tmp_path / "one", *same))
    assert one.returncode == 0, one.stderr
    split = command(tmp_path / "two", *same, "--accumulate", "2")
    two = [program.wait() for program in [start(split, environment=environment) for environment in ranks(2)]]
    assert [done.returncode for done in two] == [0, 0], two
    assert sum(done.stdout.count("training images") for done in two) == 1
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for a, b in zip(*logs, strict=True):
        for name in a.keys() - {"images_per_second"}:
            assert a[name] == pytest.approx(b[name], rel=1e-3), name


LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_signal_to_all_processes_and_their_launcher_saves_too(command, tmp_path):
    """Each process is told twice, by the signal and by the launcher that passes its own on."""
    arguments = [*LAUNCH, *command(tmp_path, "--cpu", "--steps", "2000")]
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True, env=ONE_THREAD
    )
    wait_for(tmp_path / "last.pt")
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    found = errors.partition("stopped after step ")[2].partition(";")[0]
    assert found, errors
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == int(found)
