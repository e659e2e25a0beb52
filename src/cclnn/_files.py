"""Files: what is taken for one, and writing so that a reader never sees half of one."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

# An io.BytesIO has no "mode", which those who check annotations at run time ask of a BinaryIO.
BinaryFile: TypeAlias = BinaryIO | BytesIO

PARTIAL = ".part"  # end of a temporary file's name


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then rename: `path` is whole or untouched.

    Also in a power cut: the bytes are on the disk before the name is.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Put the folder's names on the disk, where the system can."""
    with suppress(OSError):  # not on Windows, nor on some network drives
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
