"""Claims: of several processes that go through the same files, one works on each file."""

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cclnn._files import hidden, runs, this_machine

NAME = "cclnn-claim"  # end of a claim's name
BEAT = 60  # seconds between two signs of life of a claim's holder
SILENCE = 600  # seconds without one, after which the holder counts as gone
CONTENT = re.compile(r"([0-9a-f]{8})-(\d+)-[0-9a-f]{16}")  # machine, process, random

_mine: set[str] = set()  # contents of the claims that this process holds


class Taken(Exception):  # noqa: N818  # no error: the file is in good hands
    """Another process works on the file."""


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold the claim of `path` while the block runs: a hidden file beside it, which one process alone can create.

    The holder touches its claim every minute. It counts as gone if its process has ended or, as on other machines, ten
    minutes pass without a touch. Its claim is not replaced then, since two processes might do so at once: the next
    holder is who creates the claim's successor, whose name follows from the content. Where no file can be created, the
    block runs without a claim.

    Raises:
        Taken: another process holds the claim.
    """
    content = f"{this_machine()}-{os.getpid()}-{secrets.token_hex(8)}"
    _mine.add(content)
    try:
        former, own = _take(path, content)
    except OSError:
        yield
        return
    released = threading.Event()
    threading.Thread(target=_show_life, args=(own, released), daemon=True).start()
    try:
        yield
    finally:
        released.set()
        _remove({**former, own: content})
        _mine.discard(content)


def remove_dead_claims(path: Path) -> None:
    """Remove the claims of `path` if the holder of each is gone."""
    with suppress(OSError, Taken):
        former, _ = _former(path)
        _remove(former)


def _take(path: Path, content: str) -> tuple[dict[Path, str], Path]:
    """Create the first claim that does not exist. Gives the claims before it, whose holders are gone, and its path."""
    while True:
        former, own = _former(path)
        try:
            handle = os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            continue  # another process was faster
        try:
            os.write(handle, content.encode())
        except OSError:
            own.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return former, own


def _former(path: Path) -> tuple[dict[Path, str], Path]:
    """The claims of `path`, from the first to the last, and the path of the next one.

    Raises:
        Taken: the holder of one of them lives.
    """
    first = own = path.with_name(hidden(path.name) + NAME)
    found: dict[Path, str] = {}
    while True:
        try:
            content = own.read_bytes().decode("latin-1")
            silence = time.time() - own.stat().st_mtime
        except FileNotFoundError:
            return found, own
        if _lives(content, silence):
            raise Taken
        found[own] = content
        own = first.with_name(f"{first.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}")


def _lives(content: str, silence: float) -> bool:
    """Whether the holder of a claim is at work."""
    match = CONTENT.fullmatch(content)  # none: it was created a moment ago, and is written next
    if match and match[1] == this_machine():
        process = int(match[2])
        if process == os.getpid():  # or a process that is gone had the same number
            return content in _mine
        if not runs(process):
            return False
    return silence < SILENCE


def _remove(claims: dict[Path, str]) -> None:
    """Remove these claims, the last one last, unless somebody else has made a new one of the same name."""
    for path, content in claims.items():
        with suppress(OSError):
            if (not content or CONTENT.fullmatch(content)) and path.read_bytes().decode("latin-1") == content:
                path.unlink()


def _show_life(claim: Path, released: threading.Event) -> None:
    while not released.wait(BEAT):
        with suppress(OSError):
            os.utime(claim)
