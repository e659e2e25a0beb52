"""The directories of TIFF and BigTIFF files: read the tags that are metadata, merge tags into a written file."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cclnn._files import BinaryFile
from cclnn.image.exif import EXIF_IFD, GPS_IFD, INTEROP_IFD, POINTERS, SIZES, Entry
from cclnn.image.exif_tree import Tree, lay_out, swapped

ORIENTATION, XMP, IPTC, PHOTOSHOP, PROFILE = 274, 700, 33723, 34377, 34675
DESCRIPTION = 270
PIXEL_SCALE, TIEPOINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735
GEO = (PIXEL_SCALE, 33920, TIEPOINTS, TRANSFORMATION, GEO_KEYS, 34736, 34737, 42112, 42113)
# How the old file stores its pixels, and what is kept apart from the tags.
LAYOUT = frozenset(
    (*(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, ORIENTATION, 277, 278, 279, 280, 281, 282, 283, 284),
     *(288, 289, 290, 291, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 328, 330, 332, 333, 334, 336),
     *(338, 339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, XMP, IPTC),
     *(PHOTOSHOP, PROFILE, 37724, 50838, 50839, *POINTERS))
)  # fmt: skip
LARGEST = 2**26  # bytes of a tag that is read
BIG_SIZES = {**SIZES, 16: 8, 17: 8, 18: 8}
ENTRY = struct.Struct("<HHII")  # tag, type, count, value or its position


class Reader:
    """Reads the directories of a TIFF: `order` is its byte order, `big` whether it is a BigTIFF."""

    def __init__(self, file: BinaryFile) -> None:
        self.file = file
        file.seek(0)
        head = file.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        form, start = ("Q", 8) if self.big else ("I", 4)
        (self.first,) = struct.unpack_from(self.order + form, head, start)

    def directory(self, position: int) -> tuple[list[Entry], list[int], int]:
        """(entries, tags that cannot be read, position of the next directory).

        Raises:
            struct.error: the directory lies outside the file.
        """
        count_form, entry_form, link_form = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        (count,) = self._unpack(count_form, position)
        at = position + struct.calcsize(self.order + count_form)
        size = struct.calcsize(self.order + entry_form)
        entries, bad = [], []
        for _ in range(min(count, 4096)):
            tag, kind, n, value = self._unpack(entry_form, at)
            data = self._value(kind, n, value)
            if data is None:
                bad.append(tag)
            else:
                entries.append(Entry(tag, kind, n, data))
            at += size
        try:
            (link,) = self._unpack(link_form, at)
        except struct.error:
            link = 0
        return entries, bad, link

    def _unpack(self, form: str, position: int) -> tuple[Any, ...]:
        self.file.seek(min(position, 2**62))
        form = self.order + form
        return struct.unpack(form, self.file.read(struct.calcsize(form)))

    def _value(self, kind: int, count: int, value: int | bytes) -> bytes | None:
        assert isinstance(value, bytes)  # by the format
        size = BIG_SIZES.get(kind, 0) * count
        if kind not in BIG_SIZES or size > LARGEST:
            return None
        if size <= len(value):
            return value[:size]
        (position,) = struct.unpack(self.order + ("Q" if self.big else "I"), value)
        self.file.seek(min(position, 2**62))
        data = self.file.read(size)
        return data if len(data) == size else None

    def numbers(self, entry: Entry) -> tuple[int, ...]:
        """The values of an entry of whole numbers; empty if it holds others."""
        letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(entry.kind)
        return struct.unpack(f"{self.order}{entry.count}{letter}", entry.data) if letter else ()


def is_tiff(file: BinaryFile) -> bool:
    """Whether a file begins as a TIFF or BigTIFF."""
    file.seek(0)
    return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def kind(file: BinaryFile) -> str | None:
    """What a TIFF holds, in words; None where the file is no TIFF or its first directory is damaged."""
    if not is_tiff(file):
        return None
    try:
        reader = Reader(file)
        entries, bad, _ = reader.directory(reader.first)
    except (struct.error, ValueError):
        return None
    if bad or not entries:
        return None
    tags = {x.tag: reader.numbers(x) for x in entries}
    bits, numbers = tags.get(258, (1,)), tags.get(339, (1,))
    sort = {2: "signed integers", 3: "floating point"}.get(max(numbers, default=1), "integers")
    colour = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}.get(
        next(iter(tags.get(262, ())), -1), "unknown colours"
    )
    return f"{colour}, {len(bits)} channels of {max(bits, default=1)}-bit {sort}"


def read_tags(file: BinaryFile, page: int) -> tuple[Tree, dict[int, Entry], list[str]]:
    """(the page's tags of EXIF's kind, its other tags, names of what cannot be read); values as the file holds them.

    Raises:
        struct.error: the page's directory lies outside the file.
    """
    reader = Reader(file)
    position = reader.first
    for _ in range(page):
        position = reader.directory(position)[2]
    entries, bad, _ = reader.directory(position)
    lost = [f"TIFF tag {tag}" for tag in bad if tag not in LAYOUT]
    own = {entry.tag: entry for entry in entries}
    below: dict[int, tuple[Entry, ...]] = {}
    seen = {position}

    def descend(tag: int, entry: Entry | None) -> None:
        for at in reader.numbers(entry)[:1] if entry else ():
            try:
                if at in seen:
                    raise struct.error
                found, wrong, _ = reader.directory(at)
            except struct.error:
                lost.append(f"EXIF directory {POINTERS[tag]}")
                return
            seen.add(at)
            lost.extend(f"EXIF tag {number:#06x}" for number in wrong)
            below[tag] = tuple(x for x in found if x.tag not in POINTERS and x.kind in SIZES)
            if tag == EXIF_IFD:
                descend(INTEROP_IFD, next((x for x in found if x.tag == INTEROP_IFD), None))

    for tag in (EXIF_IFD, GPS_IFD):
        descend(tag, own.get(tag))
    first = tuple(x for x in entries if x.tag not in LAYOUT and x.kind in SIZES)
    return Tree(reader.order, first, below), {tag: x for tag, x in own.items() if tag in LAYOUT}, lost


def add_tags(path: Path, tree: Tree, more: Iterable[Entry] = ()) -> None:
    """Append entries to a little-endian TIFF of one page, and a directory with its own and these.

    Where both have a tag, the file's own value is kept.
    """
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        end += file.write(b"\0" * (end % 2))  # directories start at even positions
        added = (*tree.first, *(Entry(x.tag, x.kind, x.count, swapped(x.data, x.kind, "<", tree.order)) for x in more))
        body, rows = lay_out(Tree(tree.order, added, tree.below), "<", end)
        file.write(body)
        file.seek(4)
        (position,) = struct.unpack("<I", file.read(4))
        file.seek(position)
        (count,) = struct.unpack("<H", file.read(2))
        own = [file.read(ENTRY.size) for _ in range(count)]
        merged = {struct.unpack_from("<H", row)[0]: row for row in (*rows, *own)}
        new = file.seek(0, 2)
        entries = b"".join(merged[tag] for tag in sorted(merged))
        file.write(struct.pack("<H", len(merged)) + entries + struct.pack("<I", 0))
        file.seek(4)
        file.write(struct.pack("<I", new))


def scaled(tree: Tree, across: float, down: float) -> Tree:
    """The tree with GeoTIFF tags for a picture that is `across` times as wide and `down` times as high."""
    keys = next((x for x in tree.first if x.tag == GEO_KEYS), None)
    shorts = struct.unpack(f"{tree.order}{len(keys.data) // 2}H", keys.data) if keys else ()
    kinds = dict(zip(shorts[4::4], shorts[7::4], strict=False))
    shift = 0.5 if kinds.get(1025) == 2 else 0.0  # positions are those of pixel centres

    def one(entry: Entry) -> Entry:
        if entry.tag not in (PIXEL_SCALE, TIEPOINTS, TRANSFORMATION) or entry.kind != 12:
            return entry
        form = f"{tree.order}{entry.count}d"
        values = list(struct.unpack(form, entry.data))
        if entry.tag == PIXEL_SCALE and len(values) >= 2:
            values[:2] = values[0] / across, values[1] / down
        if entry.tag == TIEPOINTS:
            for i in range(0, len(values) - 5, 6):
                values[i : i + 2] = ((values[i] + shift) * across - shift, (values[i + 1] + shift) * down - shift)
        if entry.tag == TRANSFORMATION and len(values) == 16:
            for row in range(0, 12, 4):
                a, b = values[row] / across, values[row + 1] / down
                offset = shift * (a + b - values[row] - values[row + 1])
                values[row : row + 4] = a, b, values[row + 2], values[row + 3] + offset
        return Entry(entry.tag, entry.kind, entry.count, struct.pack(form, *values))

    return Tree(tree.order, tuple(one(entry) for entry in tree.first), tree.below)
