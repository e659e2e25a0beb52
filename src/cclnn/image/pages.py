"""The pages of TIFF files: counted, and joined from files of one page."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from cclnn._files import BinaryFile, write_atomically
from cclnn.image.exif import LONG, POINTERS, SIZES
from cclnn.image.formats import ImageFileError
from cclnn.image.tiff import ENTRY, Reader, is_tiff

NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255  # tags that say what a page is
POSITIONS = (273, 324)  # tags that hold positions of pixels: strips, tiles
MOST = 65536  # pages; a longer chain is damage
LARGEST = 2**32 - 1  # bytes of a TIFF, whose positions have 32 bits


def own_pages(source: str | os.PathLike[str] | BinaryFile) -> list[int]:
    """The numbers, from 1, of a TIFF's pages without those that it marks as smaller copies of others.

    Empty where the source is no TIFF; where it is damaged, those that can be read. A file is left at its beginning.
    """
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            return own_pages(file)
    found: list[int] = []
    if is_tiff(source):
        try:
            reader = Reader(source)
            position, seen = reader.first, set[int]()
            while position and position not in seen and len(seen) < MOST:
                seen.add(position)
                entries, _, position = reader.directory(position)
                tags = {x.tag: reader.numbers(x)[:1] for x in entries if x.tag in (NEW_SUBFILE_TYPE, SUBFILE_TYPE)}
                reduced = any(value & 1 for value in tags.get(NEW_SUBFILE_TYPE, ())) or tags.get(SUBFILE_TYPE) == (2,)
                if not reduced:
                    found.append(len(seen))
        except (struct.error, ValueError):
            pass
    source.seek(0)
    return found


def join(pages: Sequence[bytes]) -> bytes:
    """One TIFF of little-endian TIFFs of one page each, as `cclnn.image.encode` gives them.

    Raises:
        ImageFileError: it would be larger than the 4 GB that a TIFF can hold.
    """
    whole, link = bytearray(b"II*\0" + bytes(4)), 4
    for page in pages:
        whole += bytes(len(whole) % 2)
        if len(whole) + len(page) > LARGEST:
            raise ImageFileError("a TIFF holds 4 GB, and these pages are larger together: write PNG files.")
        first, end = _shift(moved := bytearray(page), len(whole))
        struct.pack_into("<I", whole, link, first)
        link = len(whole) + end
        whole += moved
    return bytes(whole)


def save_pages(pages: Sequence[bytes], path: Path) -> None:
    """Write one TIFF of several (`join`). If that fails, what was at `path` before is untouched.

    Raises:
        ImageFileError: the disk cannot hold the file, or it is too large for a TIFF.
    """
    content = join(pages)
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def _shift(page: bytearray, by: int) -> tuple[int, int]:
    """Add `by` to every position in a file. Gives its directory's, and where the link behind that lies in `page`."""
    (first,) = struct.unpack_from("<I", page, 4)

    def add(at: int) -> int:
        (position,) = struct.unpack_from("<I", page, at)
        struct.pack_into("<I", page, at, position + by)
        return int(position)

    def directory(position: int) -> int:
        count: int = struct.unpack_from("<H", page, position)[0]
        end = position + 2 + count * ENTRY.size
        for at in range(position + 2, end, ENTRY.size):
            tag, kind, n, value = ENTRY.unpack_from(page, at)
            outside = SIZES[kind] * n > 4
            if tag in POINTERS:
                directory(add(at + 8))
            elif tag in POSITIONS:
                assert kind == LONG  # as libtiff writes them
                start = value if outside else at + 8
                for i in range(n):
                    add(start + 4 * i)
            if outside:
                add(at + 8)
        return end

    return first + by, directory(first)
