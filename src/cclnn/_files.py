"""Files: writing so that a reader never sees half of one, and removing what a killed run left."""

import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

# An io.BytesIO has no "mode", which those who check annotations at run time ask of a BinaryIO.
BinaryFile: TypeAlias = BinaryIO | BytesIO

PARTIAL = ".part"  # end of a temporary file's name
LONGEST_NAME = 200  # bytes of a file's name that its temporary name repeats; file systems allow 255 in all
DAY = 86400  # seconds


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then rename: `path` is whole or untouched.

    Also in a power cut: the bytes are on the disk before the name is. The file has the permissions of a new file.

    Raises:
        OSError: `path` is a folder, a device, a pipe or the like, which is never replaced; the disk is full; ...
    """
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    temporary = path.with_name(f"{hidden(path.name)}{this_machine()}-{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the system applies the umask
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` whose process is gone, or that are older than a day."""
    pattern = re.compile(rf"{re.escape(hidden(path.name))}([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}{PARTIAL}(\.pixels)?")
    with suppress(OSError):  # a folder that may be written to but not listed
        for entry in path.parent.iterdir():
            match = pattern.fullmatch(entry.name)
            if match and (_old(entry) or (match[1] == this_machine() and not runs(int(match[2])))):
                entry.unlink(missing_ok=True)


def hidden(name: str) -> str:
    """The beginning of the names of the hidden files that belong to a file."""
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def this_machine() -> str:
    """Eight hexadecimal digits of this machine or container: folders may be shared, process numbers are not."""
    space = Path()
    with suppress(OSError):  # where the system has Linux's /proc
        space = Path("/proc/self/ns/pid").readlink()  # containers may share the name of their host
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > DAY
    except OSError:
        return False


def runs(process: int) -> bool:
    """Whether a process of this machine exists, where that can be found out without harm; otherwise True."""
    if os.name == "nt":
        return True  # there os.kill ends a process; the age decides
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def _flush_folder(folder: Path) -> None:
    """Put the folder's names on the disk, where the system can."""
    with suppress(OSError):  # not on Windows, nor on some network drives
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
