"""Merge an EXIF block into a TIFF file: both are directories of tags, with positions counted from their start."""

import struct
from pathlib import Path

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes, by type
DIRECTORIES = (0x8769, 0x8825, 0xA005)  # tags whose value is the position of another directory: EXIF, GPS, interop
ENTRY = struct.Struct("<HHII")  # tag, type, count, value or its position


def add_exif(path: Path, exif: bytes) -> None:
    """Append a little-endian EXIF block to a little-endian TIFF, and a directory with the tags of both.

    Where both have a tag, the TIFF's own value is kept.
    """
    block = bytearray(exif.removeprefix(b"Exif\0\0"))
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        end += file.write(b"\0" * (end % 2))  # directories start at even positions
        (first,) = struct.unpack_from("<I", block, 4)
        added = _moved(block, first, end)
        file.write(block + b"\0" * (len(block) % 2))
        file.seek(4)
        (position,) = struct.unpack("<I", file.read(4))
        file.seek(position)
        (count,) = struct.unpack("<H", file.read(2))
        own = [ENTRY.unpack(file.read(ENTRY.size)) for _ in range(count)]
        merged = {entry[0]: entry for entry in (*added, *own)}
        new = file.seek(0, 2)
        entries = b"".join(ENTRY.pack(*merged[tag]) for tag in sorted(merged))
        file.write(struct.pack("<H", len(merged)) + entries + struct.pack("<I", 0))
        file.seek(4)
        file.write(struct.pack("<I", new))


def _moved(block: bytearray, position: int, by: int) -> list[tuple[int, ...]]:
    """The entries of a directory of `block` with every position moved by `by`; `block` is changed, too."""
    (count,) = struct.unpack_from("<H", block, position)
    entries: list[tuple[int, ...]] = []
    for at in range(position + 2, position + 2 + count * ENTRY.size, ENTRY.size):
        tag, kind, n, value = ENTRY.unpack_from(block, at)
        if tag in DIRECTORIES:
            _moved(block, value, by)
            value += by
        elif SIZES.get(kind, 1) * n > 4:
            value += by
        ENTRY.pack_into(block, at, tag, kind, n, value)
        entries.append((tag, kind, n, value))
    return entries
