"""EXIF blocks change in place; what moves into a TIFF moves as bytes. Blocks here are written by hand or by Pillow."""

import struct

import pytest
from PIL import Image

from cclnn.image import exif
from cclnn.image.exif_tree import build, movable, read_tree

TEXT = b"found at the stated position\0"


def block(order, *, orientation=6, note=True):
    """IFD0 with Make, orientation and EXIF; there a MakerNote of one entry whose value lies elsewhere in the block."""

    def row(tag, kind, count, value):
        return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")

    def long(value):
        return struct.pack(order + "I", value)

    start = 8 + 2 + 3 * 12 + 4
    inner = 2 + 2 * 12 + 4
    held = start + inner
    maker = struct.pack(order + "H", 1) + row(1, 2, len(TEXT), long(held + 18)) + bytes(4) + TEXT
    first = [row(0x010F, 2, 3, b"ab\0"), row(0x0112, 3, 1, struct.pack(order + "H", orientation))]
    first.append(row(exif.EXIF_IFD, 4, 1, long(start)))
    details = [row(exif.MAKER_NOTE, 7, len(maker), long(held)), row(exif.WIDTH, 3, 1, struct.pack(order + "H", 9))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + long(8)
    ifd0 = struct.pack(order + "H", 3) + b"".join(first) + long(0)
    ifd1 = struct.pack(order + "H", 2) + b"".join(details) + long(0)
    return head + ifd0 + ifd1 + maker


@pytest.mark.parametrize("order", "<>")
def test_a_note_stays_readable_when_the_orientation_goes(order):
    old = block(order)
    assert exif.orientation(old) == 6
    new, lost = exif.neutral(old)
    assert lost == []
    assert exif.orientation(new) == 1
    new = exif.with_size(new, 70_000, 12)
    note = exif.find(new, exif.EXIF_IFD, exif.MAKER_NOTE)
    (at,) = struct.unpack_from(order + "I", note.data, 2 + 8)
    assert new[at : at + len(TEXT)] == TEXT
    assert exif.find(new, 0x010F).data == b"ab\0"
    assert exif.number(new, exif.find(new, exif.EXIF_IFD, exif.WIDTH)) == 70_000
    assert len(new) == len(old)


@pytest.mark.parametrize("order", "<>")
def test_entries_are_added_without_moving_any(order):
    old = block(order)
    new = exif.with_entries(old, exif.resolution_entries((300.0, 240.5), order))
    assert new[8 : len(old)] == old[8:]
    assert exif.resolution(new) == (300.0, 240.5)
    parsed = Image.Exif()
    parsed.load(new)
    assert (parsed[0x010F], parsed[282], parsed[0x0112]) == ("ab", 300.0, 6)


@pytest.mark.parametrize("order", "<>")
def test_a_rebuilt_block_holds_the_same_entries(order):
    tree = read_tree(block(order))
    assert build(tree) != b""
    again = read_tree(build(tree))
    assert [(x.tag, x.kind, x.data) for x in again.first] == [(x.tag, x.kind, x.data) for x in tree.first]
    without, lost = movable(tree)
    assert lost == ["MakerNote"]
    assert [x.tag for x in without.below[exif.EXIF_IFD]] == [exif.WIDTH]


@pytest.mark.parametrize("start", [b"Nikon\0\2\x10", b"Apple iOS\0\0\1", b"FUJIFILM"])
def test_notes_that_count_from_their_own_start_may_move(start):
    old = bytearray(block("<"))
    note = exif.find(old, exif.EXIF_IFD, exif.MAKER_NOTE)
    old[note.start : note.start + len(start)] = start
    assert movable(read_tree(bytes(old)))[1] == []


@pytest.mark.parametrize("damage", [b"", b"x" * 40, b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_what_is_no_block_is_dropped_and_named(damage):
    new, lost = exif.neutral(damage)
    assert new is None
    assert lost == [] if not damage else lost[0].startswith("EXIF (")


def test_entries_that_point_outside_go_and_are_named():
    old = bytearray(block("<"))
    entry = exif.find(old, exif.EXIF_IFD, exif.MAKER_NOTE)
    struct.pack_into("<I", old, entry.at + 8, 10**6)
    new, lost = exif.neutral(bytes(old))
    assert lost == ["EXIF tag 0x927c"]
    assert exif.find(new, exif.EXIF_IFD, exif.WIDTH) is not None
