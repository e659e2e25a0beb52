"""EXIF entries apart from a block, for TIFF, which holds them among its own tags: copied as bytes, with their types."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cclnn.image.exif import (
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    LONG,
    MAKER_NOTE,
    MOVABLE,
    POINTERS,
    RATIONAL,
    SHORT,
    Entry,
    byte_order,
    directory,
    find,
    number,
    root,
)


@dataclass(frozen=True)
class Tree:
    """The entries of an EXIF block by directory, each value as bytes of the byte order."""

    order: str
    first: tuple[Entry, ...]
    below: dict[int, tuple[Entry, ...]]  # tag of the pointer -> entries; INTEROP_IFD hangs below EXIF_IFD


def read_tree(block: bytes) -> Tree:
    """The block's entries; `neutral` has removed those that cannot be read."""
    below = {}
    first, _ = directory(block, root(block))
    for tag, path in ((EXIF_IFD, ()), (GPS_IFD, ()), (INTEROP_IFD, (EXIF_IFD,))):
        pointer = find(block, *path, tag)
        if pointer is not None:
            below[tag] = tuple(x for x in directory(block, number(block, pointer))[0] if x.tag not in POINTERS)
    return Tree(byte_order(block), tuple(x for x in first if x.tag not in POINTERS), below)


def swapped(data: bytes, kind: int, order: str, new: str) -> bytes:
    """A value in another byte order; text and UNDEFINED stay as they are."""
    width = {SHORT: 2, 8: 2, LONG: 4, RATIONAL: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8}.get(kind, 1)
    if order == new or width == 1:
        return data
    return b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))


def movable(tree: Tree) -> tuple[Tree, list[str]]:
    """The tree without a MakerNote whose positions would be wrong elsewhere; names of what was lost."""
    details = tree.below.get(EXIF_IFD, ())
    note = next((x for x in details if x.tag == MAKER_NOTE), None)
    if note is None or note.data.startswith(MOVABLE):
        return tree, []
    kept = tuple(x for x in details if x is not note)
    return Tree(tree.order, tree.first, {**tree.below, EXIF_IFD: kept}), ["MakerNote"]


def lay_out(tree: Tree, order: str, start: int) -> tuple[bytes, list[bytes]]:
    """(values and directories below the first, the first directory's entries) where these bytes begin at `start`."""
    body = bytearray()

    def packed(entries: Iterable[Entry], pointers: dict[int, int]) -> list[bytes]:
        rows = {}
        for entry in entries:
            value = swapped(entry.data, entry.kind, tree.order, order)
            if len(value) > 4:
                at = start + len(body)
                body.extend(value + bytes(len(value) % 2))
                value = struct.pack(order + "I", at)
            rows[entry.tag] = struct.pack(order + "HHI", entry.tag, entry.kind, entry.count) + value.ljust(4, b"\0")
        for tag, position in pointers.items():
            rows[tag] = struct.pack(order + "HHII", tag, LONG, 1, position)
        return [rows[tag] for tag in sorted(rows)]

    def place(tag: int, pointers: dict[int, int]) -> dict[int, int]:
        if not tree.below.get(tag) and not pointers:
            return {}
        rows = packed(tree.below.get(tag, ()), pointers)
        at = start + len(body)
        body.extend(struct.pack(order + "H", len(rows)) + b"".join(rows) + bytes(4))
        return {tag: at}

    pointers = {**place(EXIF_IFD, place(INTEROP_IFD, {})), **place(GPS_IFD, {})}
    first = packed(tree.first, pointers)
    return bytes(body), first


def build(tree: Tree) -> bytes:
    """A new block of these entries."""
    body, rows = lay_out(tree, tree.order, 8)
    header = (b"II*\0" if tree.order == "<" else b"MM\0*") + struct.pack(tree.order + "I", 8 + len(body))
    return header + body + struct.pack(tree.order + "H", len(rows)) + b"".join(rows) + bytes(4)
