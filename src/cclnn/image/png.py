"""The chunks of PNG files: read those that are kept, insert chunks into a file."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from cclnn._files import BinaryFile

Chunk: TypeAlias = tuple[bytes, bytes]  # name, content

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = (b"cHRM", b"cICP", b"gAMA", b"sRGB")
TEXT = (b"tEXt", b"zTXt", b"iTXt")
GREY, GREY_ALPHA = 0, 4  # colour types


def read_header(file: BinaryFile) -> tuple[int, int]:
    """(bits per channel, colour type) of a PNG."""
    file.seek(0)
    start = file.read(26)
    return start[24], start[25]


def read_chunks(file: BinaryFile) -> Iterator[Chunk]:
    """The text and colour-space chunks, unchanged and in order."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (*COLOUR, *TEXT):
            yield name, file.read(length)
            file.seek(4, 1)  # the checksum
        else:
            file.seek(length + 4, 1)


def profile_chunk(profile: bytes) -> Chunk:
    """iCCP."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)


def resolution_chunk(dpi: tuple[float, float]) -> Chunk:
    """pHYs, in pixels per metre."""
    return b"pHYs", struct.pack(">IIB", *(round(x / 0.0254) for x in dpi), 1)


def comment_chunk(comment: bytes) -> Chunk:
    """iTXt with the keyword Comment."""
    text = comment.decode("utf-8", errors="replace").encode()
    return b"iTXt", b"Comment\0\0\0\0\0" + text


def xmp_chunk(xmp: bytes) -> Chunk:
    """iTXt with the keyword that the XMP specification requires."""
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp


def rewrite(source: Path, target: Path, chunks: Iterable[Chunk]) -> None:
    """Copy the header and the pixels of a PNG without palette, and put `chunks` between them; drop all other chunks."""
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(len(SIGNATURE) + 25))
        for name, content in chunks:
            new.write(struct.pack(">I", len(content)) + name + content)
            new.write(struct.pack(">I", zlib.crc32(name + content)))
        while len(head := old.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            rest = old.read(length + 4)
            if name in (b"IDAT", b"IEND"):
                new.write(head + rest)
