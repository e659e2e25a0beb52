"""Files appear whole or not at all, with the permissions of new files, and nobody else's are touched."""

import os
import stat
import threading
import time

import pytest

from cclnn._files import remove_leftovers, this_machine, write_atomically


def put(path):
    path.write_bytes(b"whole")


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_permissions_are_those_of_a_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", put)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_the_umask_of_the_process_never_changes(tmp_path):
    """Files that other threads create meanwhile would get other permissions."""
    stop, modes = threading.Event(), set()

    def others():
        number = 0
        while not stop.is_set():
            handle = os.open(tmp_path / f"other{number}", os.O_CREAT | os.O_WRONLY, 0o666)
            modes.add(stat.S_IMODE(os.fstat(handle).st_mode))
            os.close(handle)
            number += 1

    before = os.umask(0o077)
    thread = threading.Thread(target=others)
    thread.start()
    try:
        for number in range(200):
            write_atomically(tmp_path / f"ours{number}", put)
    finally:
        stop.set()
        thread.join()
        os.umask(before)
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("ours*")} == {0o600}


def test_no_chmod_is_needed(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise OSError(95, "Operation not supported")

    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, refuse)
    write_atomically(tmp_path / "a", put)
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.parametrize("length", [1, 200, 242, 255])
def test_names_up_to_the_longest(tmp_path, length):
    path = tmp_path / ("a" * length)
    write_atomically(path, put)
    assert [x.name for x in tmp_path.iterdir()] == [path.name]


def test_a_name_of_244_bytes_in_japanese(tmp_path):
    path = tmp_path / ("画" * 80 + ".png")
    assert len(os.fsencode(path.name)) == 244
    write_atomically(path, put)
    assert path.read_bytes() == b"whole"


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "folder", "null"):
        with pytest.raises(OSError, match="it is not a regular file"):
            write_atomically(tmp_path / name, put)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "null", "pipe"]


def test_leftovers_are_removed_by_exact_name_and_only_if_nobody_needs_them(tmp_path):
    gone, ours, elsewhere = 2**30, os.getpid(), "0" * 8
    day_old = tmp_path / f".a.png.{elsewhere}-{ours}-00000001.part"
    leftovers = {
        tmp_path / f".a.png.{this_machine()}-{gone}-0123abcd.part",
        tmp_path / f".a.png.{this_machine()}-{gone}-0123abcd.part.pixels",
        day_old,
    }
    stay = {
        tmp_path / f".a.png.{this_machine()}-{ours}-0123abcd.part",  # of a run that goes on
        tmp_path / f".a.png.{elsewhere}-{gone}-0123abcd.part",  # of another machine
        tmp_path / f".b.png.{this_machine()}-{gone}-0123abcd.part",  # of another target
        tmp_path / ".a.png.parts-list",
        tmp_path / ".a.png.part",
        tmp_path / "a.png",
    }
    for path in leftovers | stay:
        path.touch()
    os.utime(day_old, (time.time() - 90000,) * 2)
    remove_leftovers(tmp_path / "a.png")
    assert set(tmp_path.iterdir()) == stay
