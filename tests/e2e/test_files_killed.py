"""A folder run is killed without warning, and the same command finishes it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked import Program
from image import zoo
from PIL import Image

import cclnn
from cclnn._files import this_machine
from cclnn.upscaler import Upscaler

CCLNN = Path(sys.executable).with_name("cclnn")
NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture
def model(tmp_path):
    cclnn.EDSR(2, channels=32, n_resblocks=4).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def command(tmp_path, model):
    (tmp_path / "in").mkdir()
    for i, name in enumerate(NAMES):
        Image.fromarray(zoo.pixels(3, height=150 + i, width=200)).save(tmp_path / "in" / name)
    return [CCLNN, "upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--precision", "fp32"]


def whole_files(folder):
    """Names of results; reading each to its end, so that half a file is an error."""
    found = []
    for path in folder.glob("[!.]*"):
        with Image.open(path) as image:
            image.load()
        found.append(path.name)
    return sorted(found)


def start_and_stop(command, out, how):
    """Stop the command once it has written an image and is in the middle of the rest."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("[!.]*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_kill_9_then_resume(tmp_path, command, model):
    out = tmp_path / "out"
    code, _ = start_and_stop(command, out, signal.SIGKILL)
    assert code == -signal.SIGKILL
    before = whole_files(out)
    assert 1 <= len(before) < len(NAMES)
    half = out / f".{NAMES[-1]}.{this_machine()}-{2**30}-0123abcd.part"
    half.write_bytes(b"what a kill in the middle of writing leaves")
    times = {name: (out / name).stat().st_mtime_ns for name in before}

    done = Program([str(part) for part in command], tmp_path).wait()
    assert done.returncode == 0, done.stderr
    assert f"{len(NAMES) - len(before)} done, {len(before)} skipped (done before), 0 failed" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == NAMES == whole_files(out)
    assert all((out / name).stat().st_mtime_ns == times[name] for name in before)
    upscaler = Upscaler(model, precision="fp32")
    for i, name in enumerate(NAMES):
        with Image.open(out / name) as image:
            assert np.array_equal(np.asarray(image), upscaler(zoo.pixels(3, height=150 + i, width=200)))


def test_ctrl_c_stops_cleanly(tmp_path, command):
    out = tmp_path / "out"
    code, errors = start_and_stop(command, out, signal.SIGINT)
    assert code == 130
    assert errors.splitlines()[-1] == "Interrupted. The same command resumes the run."
    assert sorted(path.name for path in out.iterdir()) == whole_files(out)
    assert len(whole_files(out)) < len(NAMES)
