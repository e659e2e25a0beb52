"""Images on a local Ray: two workers, of which one is killed in the middle; nothing is lost and nothing done twice."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "integrations" / "ray" / "upscale.py"
CHELSEA = ROOT / "examples" / "images" / "chelsea.png"
ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
PATIENCE = 540  # seconds, on a busy machine
N = 16


@pytest.fixture
def photos(tmp_path):
    """Photographs in two folders, and what cannot be done: a broken file, and two images with one result."""
    with Image.open(CHELSEA) as image:
        photo = image.convert("RGB")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for i in range(N):
        part = photo.crop((100 + i, 80, 196 + i, 144))
        part.save(tmp_path / "in" / ("sub" if i % 2 else ".") / f"p{i}.jpg", dpi=(300, 300))
    part.save(tmp_path / "in" / "p0.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    (tmp_path / "in" / "notes.txt").write_text("no image either")
    return tmp_path / "in"


def start(photos, *options):
    return subprocess.Popen(
        [sys.executable, SCRIPT, photos, photos.parent / "out", "--workers", "2", *options],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(photos):
    """Name -> (inode, time of the last change) of every result so far."""
    found = (photos.parent / "out").rglob("*.png") if (photos.parent / "out").exists() else ()
    return {
        str(path.relative_to(photos.parent / "out")): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in found
        if not path.name.startswith(".")
    }


def workers(run):
    """The processes of the run that hold the model."""
    return [
        process
        for process in psutil.Process(run.pid).children(recursive=True)
        if "ray::" in (title := " ".join(process.cmdline())) and "Upscale" in title
    ]


def test_one_of_two_workers_is_killed(photos):
    run = start(photos)
    seen, killed, end = {}, None, time.monotonic() + PATIENCE
    try:
        while run.poll() is None and time.monotonic() < end:
            now = results(photos)
            assert seen.items() <= now.items(), "a result was written again"
            seen = now
            if killed is None and len(seen) >= 3:
                killed = workers(run)[0]
                os.kill(killed.pid, signal.SIGKILL)
            time.sleep(0.05)
        told, _ = run.communicate(timeout=60)
    finally:
        for process in [*psutil.Process(run.pid).children(recursive=True), run] if run.poll() is None else []:
            process.kill()
    assert killed is not None, told
    assert run.returncode == 1, told
    assert f"{N} done, 2 failed" in told
    assert len(results(photos)) == N
    for i in range(N):
        with Image.open(photos.parent / "out" / ("sub" if i % 2 else ".") / f"p{i}.png") as result:
            assert result.size == (192, 128)
            assert result.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert not list((photos.parent / "out").rglob(".*"))
    failures = [json.loads(line) for line in (photos.parent / "out" / "failures.jsonl").read_text().splitlines()]
    assert {Path(failure["path"]).name: failure["error"] for failure in failures} == {
        "broken.png": "cannot read 'broken.png': it is not an image in a known format.",
        "p0.png": "its result would replace that of 'p0.jpg'",
    }
    after, again = results(photos), start(photos)
    told, _ = again.communicate(timeout=PATIENCE)
    assert "0 done, 2 failed" in told  # the others are skipped
    assert results(photos) == after


def test_an_option_out_of_range_ends_the_run_before_it_begins(photos):
    run = start(photos, "--scale", "9")
    told, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode
    assert "`scale` must lie between 1 and 8, got 9" in told
    assert not results(photos)


# The program as a module, with another `Upscale.upscale`, which each of the two below defines.
ALTERED = """
import os, sys, time
exec(compile(open(sys.argv[1]).read().replace('if __name__ == "__main__":', "if False:"), sys.argv[1], "exec"))
whole, output = Upscale.upscale, sys.argv[3]
%s
Upscale.upscale = altered
upscale(sys.argv[2], output, workers=2)
"""
FATAL = """
def altered(self, name, content):
    if name.endswith("p3.jpg"):
        os._exit(1)
    return whole(self, name, content)
"""
TOGETHER = """
def altered(self, name, content):
    meeting, end = output + "-workers", time.monotonic() + 60
    os.makedirs(meeting, exist_ok=True)
    open(f"{meeting}/{os.getpid()}", "w").close()
    while len(os.listdir(meeting)) < 2:
        if time.monotonic() > end:
            return "no other worker came"
        time.sleep(0.1)
    return whole(self, name, content)
"""


def run_altered(photos, alteration, *, images):
    """Run with `alteration` on so many of the photographs; the failures, by their path."""
    for i in range(images, N):
        (photos / ("sub" if i % 2 else ".") / f"p{i}.jpg").unlink()
    command = [sys.executable, "-c", ALTERED % alteration, SCRIPT, photos, photos.parent / "out"]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    lines = (photos.parent / "out" / "failures.jsonl").read_text().splitlines()
    return {(failure := json.loads(line))["path"]: failure["error"] for line in lines}


def test_both_workers_take_a_share_of_a_small_folder(photos):
    """Each waits at its first image for the other."""
    assert run_altered(photos, TOGETHER, images=4).keys() == {"broken.png", "p0.png"}
    assert len(results(photos)) == 4


def test_a_file_that_ends_every_worker_is_given_up_and_the_others_are_done(photos):
    """As a picture does that takes more memory than the machine has."""
    failures = run_altered(photos, FATAL, images=6)
    assert sorted(results(photos)) == ["p0.png", "p2.png", "p4.png", "sub/p1.png", "sub/p5.png"]
    assert failures["sub/p3.jpg"] == "it cannot be read, or ends its worker"
    assert len(failures) == 3
