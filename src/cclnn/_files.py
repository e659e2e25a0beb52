"""Files: what is taken for one, and writing so that a reader never sees half of one."""

import os
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

# An io.BytesIO has no "mode", which those who check annotations at run time ask of a BinaryIO.
BinaryFile: TypeAlias = BinaryIO | BytesIO

PARTIAL = ".part"  # end of a temporary file's name


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then rename: `path` is whole or untouched."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
