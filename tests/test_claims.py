"""A claim has one holder, whatever the others do and however the former holder ended."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cclnn import _claims
from cclnn._claims import Taken, claimed, remove_dead_claims
from cclnn._files import this_machine

GONE = 2**30  # a process number above all


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def leave_claim(folder, *, machine=None, process=GONE, token="0123456789abcdef", age=0.0):
    path = folder / ".a.png.cclnn-claim"
    path.write_text(f"{machine or this_machine()}-{process}-{token}")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_one_holder_at_a_time(tmp_path):
    with claimed(tmp_path / "a.png"):
        assert names(tmp_path) == [".a.png.cclnn-claim"]
        with pytest.raises(Taken), claimed(tmp_path / "a.png"):
            pass
        with claimed(tmp_path / "b.png"):
            assert len(names(tmp_path)) == 2
    assert names(tmp_path) == []


def test_released_after_a_failure(tmp_path):
    with pytest.raises(ValueError, match="broken"), claimed(tmp_path / "a.png"):
        raise ValueError("broken")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "left",
    [
        {},
        {"process": os.getpid()},  # of an earlier process with our number, as in containers
        {"machine": "0" * 8, "age": 601},
        {"process": os.getppid(), "age": 601},  # it sleeps, or another process has its number
    ],
)
def test_a_dead_claim_is_succeeded_and_removed(tmp_path, left):
    leave_claim(tmp_path, **left)
    with claimed(tmp_path / "a.png"):
        assert len(names(tmp_path)) == 2
        with pytest.raises(Taken), claimed(tmp_path / "a.png"):
            pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("left", [{"process": os.getppid()}, {"machine": "0" * 8}, {"machine": "0" * 8, "age": 590}])
def test_a_living_claim_stays(tmp_path, left):
    path = leave_claim(tmp_path, **left)
    before = path.read_text()
    with pytest.raises(Taken), claimed(tmp_path / "a.png"):
        pass
    remove_dead_claims(tmp_path / "a.png")
    assert path.read_text() == before


def test_dead_claims_are_removed_alone(tmp_path):
    leave_claim(tmp_path)
    (tmp_path / ".a.png.cclnn-claims").touch()
    remove_dead_claims(tmp_path / "a.png")
    assert names(tmp_path) == [".a.png.cclnn-claims"]


def test_a_claim_that_is_being_written_lives(tmp_path):
    (tmp_path / ".a.png.cclnn-claim").touch()
    with pytest.raises(Taken), claimed(tmp_path / "a.png"):
        pass


def test_a_claim_whose_holder_was_killed_before_it_wrote_is_succeeded(tmp_path):
    path = tmp_path / ".a.png.cclnn-claim"
    path.touch()
    os.utime(path, (time.time() - 11,) * 2)
    with claimed(tmp_path / "a.png"), pytest.raises(Taken), claimed(tmp_path / "a.png"):
        pass
    assert names(tmp_path) == []


def test_what_is_no_claim_survives(tmp_path):
    """A user's file of that very name."""
    path = tmp_path / ".a.png.cclnn-claim"
    path.write_text("a user's")
    os.utime(path, (0, 0))
    with claimed(tmp_path / "a.png"):
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "a user's"


def test_a_holder_shows_life(tmp_path, monkeypatch):
    monkeypatch.setattr(_claims, "BEAT", 0.01)
    with claimed(tmp_path / "a.png"):
        path = tmp_path / ".a.png.cclnn-claim"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_where_no_file_can_be_created_work_goes_on(tmp_path):
    with claimed(tmp_path / "missing" / "a.png"):
        done = True
    assert done


@pytest.mark.parametrize("length", [242, 255])
def test_names_up_to_the_longest(tmp_path, length):
    with claimed(tmp_path / ("a" * length)):
        assert len(names(tmp_path)) == 1
        with pytest.raises(Taken), claimed(tmp_path / ("a" * length)):
            pass


def test_many_at_once_after_a_death(tmp_path):
    """Threads that all see a dead claim: one gets its succession at a time, until a result is there."""
    start, at_work, results = threading.Barrier(8), [], []

    def work():
        start.wait()
        while not results:
            try:
                with claimed(tmp_path / "a.png"):
                    at_work.append(1)
                    assert len(at_work) == 1
                    if not results:
                        time.sleep(0.02)
                        results.append(threading.get_ident())
                    at_work.pop()
            except Taken:
                time.sleep(0.001)

    for _ in range(10):
        results.clear()
        leave_claim(tmp_path)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 1
        assert names(tmp_path) == []


CLAIM_AND_WAIT = "import sys, time; from pathlib import Path; from cclnn._claims import claimed\n"
CLAIM_AND_WAIT += "with claimed(Path(sys.argv[1])):\n    print('holds', flush=True)\n    time.sleep(300)"


def test_a_killed_process(tmp_path):
    path = tmp_path / "a.png"
    command = [sys.executable, "-c", CLAIM_AND_WAIT, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "holds\n"
        with pytest.raises(Taken), claimed(path):
            pass
        holder.kill()
    with claimed(path):
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == []


def test_ctrl_c_at_any_line_leaves_no_claim(tmp_path):
    """Ctrl-C comes at the first line that runs, at the second, and so on, until it would come after the last."""
    for lines in itertools.count():
        interrupted = _claim_and_interrupt(tmp_path / "picture.png", lines)
        assert list(tmp_path.iterdir()) == []
        if not interrupted:
            break
    assert lines > 30


def _claim_and_interrupt(path: Path, lines: int) -> bool:
    """Claim a path, and raise SIGINT after this many lines of the module; whether it came to that."""
    left = lines

    def count(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename == _claims.__file__:
            if event == "line":
                left -= 1
                if left == -1:
                    signal.raise_signal(signal.SIGINT)
            return count
        return None

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    former = sys.gettrace()
    try:
        sys.settrace(count)
        with _claims.claimed(path):
            pass
    except KeyboardInterrupt:
        sys.settrace(former)
        _claims.release_claims()
        return True
    finally:
        sys.settrace(former)
        signal.signal(signal.SIGINT, handler)
    return False
