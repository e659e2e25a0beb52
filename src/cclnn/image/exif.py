"""EXIF blocks as bytes. What must change is changed in place, so that nothing else moves or changes its type.

A block is a TIFF header and directories; positions count from its start. A MakerNote may hold such positions, too,
which is why a block is not taken apart and put together again wherever that can be avoided.
"""

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # type -> bytes
SHORT, LONG, RATIONAL = 3, 4, 5  # types
ENTRY = 12  # bytes: tag, type, count, value or its position
ORIENTATION, WIDTH, HEIGHT, MAKER_NOTE = 0x0112, 0xA002, 0xA003, 0x927C
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005  # tags that hold the position of another directory
POINTERS = {EXIF_IFD: "EXIF", GPS_IFD: "GPS", INTEROP_IFD: "interoperability"}
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
PER_INCH = {2: 1.0, 3: 2.54}  # EXIF's unit of resolution -> units per inch
# MakerNotes whose positions count from their own start, so that they may move.
MOVABLE = (b"Nikon\0\2", b"OLYMPUS\0", b"OM SYSTEM\0", b"FUJIFILM", b"Apple iOS\0", b"PENTAX \0")


@dataclass(frozen=True)
class Entry:
    """A tag with its type, count and value; `at` is the position of the entry, `start` that of the value."""

    tag: int
    kind: int
    count: int
    data: bytes
    at: int = 0
    start: int = 0


def byte_order(block: bytes | bytearray) -> str:
    """The block's byte order as `struct` writes it.

    Raises:
        ValueError: the block has no TIFF header.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None or len(block) < 8:
        raise ValueError("it has no TIFF header")
    return order


def root(block: bytes | bytearray) -> int:
    """The position of the first directory."""
    (position,) = struct.unpack_from(byte_order(block) + "I", block, 4)
    return int(position)


def directory(block: bytes | bytearray, position: int) -> tuple[list[Entry], list[int]]:
    """(entries, tags of entries whose value lies outside the block) of the directory at `position`.

    Raises:
        ValueError: the directory does not lie within the block.
    """
    order = byte_order(block)
    if not 8 <= position <= len(block) - 2:
        raise ValueError("a directory lies outside it")
    (count,) = struct.unpack_from(order + "H", block, position)
    if position + 2 + count * ENTRY > len(block):
        raise ValueError("a directory is longer than it")
    entries, bad = [], []
    for at in range(position + 2, position + 2 + count * ENTRY, ENTRY):
        tag, kind, n, value = struct.unpack_from(order + "HHII", block, at)
        size = SIZES.get(kind, 0) * n
        start = at + 8 if size <= 4 else value
        if kind not in SIZES or start + size > len(block):
            bad.append(tag)
        else:
            entries.append(Entry(tag, kind, n, bytes(block[start : start + size]), at, start))
    return entries, bad


def find(block: bytes | bytearray, *path: int) -> Entry | None:
    """The entry with the last tag of `path`, in the directory that the tags before it point to."""
    try:
        entries, _ = directory(block, root(block))
        for pointer in path[:-1]:
            entries, _ = directory(block, number(block, next(x for x in entries if x.tag == pointer)))
        return next(x for x in entries if x.tag == path[-1])
    except (ValueError, StopIteration):
        return None


def number(block: bytes | bytearray, entry: Entry) -> int:
    """The first value of an entry of whole numbers.

    Raises:
        ValueError: it holds none.
    """
    letter = {1: "B", SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I"}.get(entry.kind)
    if letter is None or not entry.data:
        raise ValueError("it is no whole number")
    return int(struct.unpack_from(byte_order(block) + letter, entry.data)[0])


def orientation(block: bytes) -> int:
    """The EXIF orientation, 1 where there is none or none of 1 to 8."""
    entry = find(block, ORIENTATION)
    try:
        value = number(block, entry) if entry else 1
    except ValueError:
        return 1
    return value if 1 <= value <= 8 else 1


def resolution(block: bytes) -> tuple[float, float] | None:
    """Pixels per inch, horizontally and vertically."""
    values = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = find(block, tag)
        if entry is None or entry.kind != RATIONAL or len(entry.data) < 8:
            return None
        over, under = struct.unpack_from(byte_order(block) + "II", entry.data)
        values.append(over / under if under else 0.0)
    entry = find(block, RESOLUTION_UNIT)
    try:
        unit = number(block, entry) if entry else 2
    except ValueError:
        return None
    return (values[0] * PER_INCH[unit], values[1] * PER_INCH[unit]) if unit in PER_INCH else None


def neutral(block: bytes) -> tuple[bytes | None, list[str]]:
    """(the block without orientation, thumbnail and damaged entries; names of what was damaged).

    None in place of a block that holds nothing or cannot be read.
    """
    try:
        new, lost = bytearray(block), []
        _drop_thumbnail(new)
        seen: set[int] = set()
        lost += _clean(new, root(block), seen, POINTERS)
        remove(new, root(block), {ORIENTATION})
        entries, _ = directory(new, root(block))
    except (ValueError, struct.error) as error:
        return None, [f"EXIF ({error})"] if block.strip(b"\0") else []
    says = [x for x in entries if x.tag not in POINTERS or directory(new, number(new, x))[0]]
    return (bytes(new) if says else None), lost


def _clean(block: bytearray, position: int, seen: set[int], pointers: Collection[int]) -> list[str]:
    """Remove entries that point outside the block or back; name them."""
    seen.add(position)
    entries, bad = directory(block, position)
    lost = [f"EXIF tag {tag:#06x}" for tag in bad]
    for entry in entries:
        if entry.tag in pointers:
            try:
                target = number(block, entry)
                if target in seen:
                    raise ValueError("it points back")
                lost += _clean(block, target, seen, pointers)
            except ValueError:
                bad.append(entry.tag)
                lost.append(f"EXIF directory {POINTERS[entry.tag]}")
    remove(block, position, set(bad))
    return lost


def _drop_thumbnail(block: bytearray) -> None:
    """End the chain of directories after the first; the thumbnail's bytes go where they end the block, or become 0."""
    order, position = byte_order(block), root(block)
    directory(block, position)  # within the block
    (count,) = struct.unpack_from(order + "H", block, position)
    link = position + 2 + count * ENTRY
    if link + 4 > len(block):
        return
    (second,) = struct.unpack_from(order + "I", block, link)
    struct.pack_into(order + "I", block, link, 0)
    try:
        entries = {x.tag: x for x in directory(block, second)[0]}
        start, length = (number(block, entries[tag]) for tag in (0x0201, 0x0202))
    except (ValueError, KeyError):
        return
    if start < 8 or start + length > len(block):
        return
    block[start : start + length] = bytes(length)
    if start + length == len(block):
        del block[start:]


def remove(block: bytearray, position: int, tags: Collection[int]) -> None:
    """Remove entries from a directory: those behind them and the link move up, nothing else does."""
    order = byte_order(block)
    (count,) = struct.unpack_from(order + "H", block, position)
    end = position + 2 + count * ENTRY
    rest = bytes(block[end : end + 4])
    spans = [bytes(block[at : at + ENTRY]) for at in range(position + 2, end, ENTRY)]
    kept = [span for span in spans if struct.unpack_from(order + "H", span)[0] not in tags]
    if len(kept) == count:
        return
    new = struct.pack(order + "H", len(kept)) + b"".join(kept) + rest
    block[position : end + len(rest)] = new.ljust(end + len(rest) - position, b"\0")


def without(block: bytes, tags: Collection[int]) -> bytes:
    """The block without these tags of the first directory."""
    new = bytearray(block)
    remove(new, root(block), tags)
    return bytes(new)


def with_size(block: bytes, width: int, height: int) -> bytes:
    """The block with another size of the picture, where it states one."""
    new, order = bytearray(block), byte_order(block)
    for tag, value in ((WIDTH, width), (HEIGHT, height)):
        entry = find(block, EXIF_IFD, tag)
        if entry is not None:
            struct.pack_into(order + "HII", new, entry.at + 2, LONG, 1, value)
    return bytes(new)


def with_entries(block: bytes, added: Iterable[Entry]) -> bytes:
    """The block with entries (values in its byte order) in a new first directory at its end, so that nothing moves."""
    order = byte_order(block)
    old, _ = directory(block, root(block))
    new = bytearray(block) + bytes(len(block) % 2)
    raw = {x.tag: bytes(block[x.at : x.at + ENTRY]) for x in old}
    for entry in added:
        value = entry.data.ljust(4, b"\0")
        if len(entry.data) > 4:
            value = struct.pack(order + "I", len(new))
            new += entry.data + bytes(len(entry.data) % 2)
        raw[entry.tag] = struct.pack(order + "HHI", entry.tag, entry.kind, entry.count) + value
    struct.pack_into(order + "I", new, 4, len(new))
    new += struct.pack(order + "H", len(raw)) + b"".join(raw[tag] for tag in sorted(raw)) + bytes(4)
    return bytes(new)


def resolution_entries(dpi: tuple[float, float], order: str) -> list[Entry]:
    """Entries that state the resolution."""
    rationals = [struct.pack(order + "II", round(x * 1000), 1000) for x in dpi]
    return [
        Entry(X_RESOLUTION, RATIONAL, 1, rationals[0]),
        Entry(Y_RESOLUTION, RATIONAL, 1, rationals[1]),
        Entry(RESOLUTION_UNIT, SHORT, 1, struct.pack(order + "H", 2)),
    ]
