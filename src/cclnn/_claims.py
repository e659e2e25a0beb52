"""Claims: of several processes that go through the same files, one works on each file."""

import hashlib
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from cclnn._files import hidden, runs, this_machine

NAME = "cclnn-claim"  # end of a claim's name
BEAT = 60  # seconds between two signs of life of a claim's holder
SILENCE = 600  # seconds without one, after which the holder counts as gone
WRITING = 10  # seconds that a claim may be empty: its holder writes it at once, unless it is killed
CONTENT = re.compile(r"([0-9a-f]{8})-(\d+)-[0-9a-f]{16}")  # machine, process, random

_mine: dict[str, dict[Path, str]] = {}  # by content: what to remove when this process releases a claim of its own


class Taken(Exception):  # noqa: N818  # no error: the file is in good hands
    """Another process works on the file."""


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold the claim of `path` while the block runs: a hidden file beside it, which one process alone can create.

    The holder touches its claim every minute. It counts as gone if its process has ended or, as on other machines, ten
    minutes pass without a touch; or, where the claim is empty, ten seconds. Its claim is not replaced then, since two
    processes might do so at once: the next holder is who creates the claim's successor, whose name follows from the
    content. Where no file can be created, the block runs without a claim.

    Raises:
        Taken: another process holds the claim.
    """
    content = f"{this_machine()}-{os.getpid()}-{secrets.token_hex(8)}"
    released = threading.Event()
    try:
        with suppress(OSError):
            own = _take(path, content)
            threading.Thread(target=_show_life, args=(own, released), daemon=True).start()
        yield
    finally:
        released.set()
        _release(content)


def release_claims() -> None:
    """Remove every claim of this process, also one that Ctrl-C interrupted while it was being taken or given back."""
    for content in list(_mine):
        _release(content)


def remove_dead_claims(path: Path) -> None:
    """Remove the claims of `path` if the holder of each is gone."""
    with suppress(OSError, Taken):
        former, _ = _former(path)
        _remove(former)


def _take(path: Path, content: str) -> Path:
    """Create the first claim that does not exist, and note it with those before it, whose holders are gone."""
    while True:
        former, own = _former(path)
        try:
            with _uninterrupted():
                handle = os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                _mine[content] = {**former, own: content}
                try:
                    os.write(handle, content.encode())
                except OSError:
                    own.unlink(missing_ok=True)
                    del _mine[content]
                    raise
                finally:
                    os.close(handle)
        except FileExistsError:
            continue  # another process was faster
        return own


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C, which Python handles in the main thread alone, to the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[tuple[int, FrameType | None]] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: late.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if late and callable(handler):
            handler(*late[0])


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
    if not content:  # created a moment ago, and written next
        return silence < WRITING
    match = CONTENT.fullmatch(content)
    if match and match[1] == this_machine():
        process = int(match[2])
        if process == os.getpid():  # or a process that is gone had the same number
            return content in _mine
        if not runs(process):
            return False
    return silence < SILENCE


def _release(content: str) -> None:
    """Remove a claim of this process, which then is no longer its own; nothing where it has none of this content."""
    _remove(_mine.get(content, {}))
    _mine.pop(content, None)


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
