"""The chunks of PNG files: metadata apart from the picture, and a picture with other metadata."""

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cclnn._files import BinaryFile

Chunk: TypeAlias = tuple[bytes, bytes]  # name, content

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
COLOUR = (b"cHRM", b"cICP", b"cLLI", b"gAMA", b"mDCV", b"sRGB")
TEXT = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEY = b"XML:com.adobe.xmp"
RAW = b"Raw profile type "  # ImageMagick's way to put EXIF, XMP, IPTC and profiles into text
GREY, GREY_ALPHA = 0, 4  # colour types
CHANNELS = {GREY: 1, 2: 3, 3: 1, GREY_ALPHA: 2, 6: 4}  # by colour type
# First column, first row, and steps to the next, of each pass of an interlaced picture.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
LARGEST = 2**26  # bytes of a compressed chunk's content
LONGEST_TEXT = 2**20  # bytes of a text that Pillow reads
PER_METRE = 0.0254  # inches


@dataclass
class Parts:
    """What a PNG holds. `bare` is the file with the picture's chunks alone; `chunks` are of text and colour space."""

    bare: bytes = b""
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[int, int, int] | None = None  # across, down, unit of pHYs
    chunks: list[Chunk] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def read_header(file: BinaryFile) -> tuple[int, int]:
    """(bits per channel, colour type) of a PNG."""
    file.seek(0)
    start = file.read(26)
    return start[24], start[25]


def read_parts(data: bytes) -> Parts:
    """Take a PNG apart. Damage within the picture stays in `bare`, damaged metadata are named in `lost`."""
    parts, kept, position = Parts(), [data[: len(SIGNATURE)]], len(SIGNATURE)
    raw: dict[bytes, bytes] = {}
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        content, end = data[position + 8 : position + 8 + length], position + 12 + length
        if name in PICTURE:
            kept.append(data[position:end])
        elif end > len(data) or zlib.crc32(name + content) != struct.unpack_from(">I", data, end - 4)[0]:
            parts.lost.append(f"PNG chunk {name.decode('latin-1')!r}")
        else:
            try:
                _metadata(parts, raw, name, content)
            except (ValueError, zlib.error, struct.error):
                parts.lost.append(f"PNG chunk {name.decode('latin-1')!r}")
        position = end
        if name == b"IEND":
            break
    parts.bare = b"".join(kept)
    parts.icc = parts.icc or raw.get(b"icc") or raw.get(b"icm")
    parts.exif = parts.exif or raw.get(b"exif") or raw.get(b"APP1")
    parts.xmp = parts.xmp or raw.get(b"xmp")
    parts.iptc = raw.get(b"iptc")
    return parts


def mended(data: bytes, most: int) -> bytes | None:
    """A PNG with as much of its first picture as can be decompressed, the rest zeros; None where nothing is missing.

    None, too, where the header is damaged or states more than `most` pixels.
    """
    header, pieces, kept, sound, position = b"", [], [], False, len(SIGNATURE)
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        content, end = data[position + 8 : position + 8 + length], position + 12 + length
        whole = end <= len(data) and zlib.crc32(name + content) == struct.unpack_from(">I", data, end - 4)[0]
        if name == b"IHDR" and whole and length == 13:
            header = content
        elif name == b"IDAT":
            pieces.append((content, whole))
        elif name in (b"PLTE", b"tRNS") and whole:
            kept.append((name, content))
        elif name == b"IEND":
            sound = all(fine for _, fine in pieces)
            break
        position = end
    size = _raw_size(header, most)
    if not size:
        return None
    raw, ended = _inflated(b"".join(content for content, _ in pieces), size)
    if sound and ended and len(raw) == size:
        return None
    chunks = [(b"IHDR", header), *kept, (b"IDAT", zlib.compress(raw.ljust(size, b"\0"), 1)), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def _raw_size(header: bytes, most: int) -> int:
    """Bytes of the rows with their filters, before compression; 0 for a damaged header or more than `most` pixels."""
    if not header:
        return 0
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if width * height > most or colour not in CHANNELS:
        return 0
    size = 0
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits * CHANNELS[colour] // 8))
    return size


def _inflated(data: bytes, size: int) -> tuple[bytes, bool]:
    """(up to `size` bytes of compressed content, whether its end is sound)."""
    machine, found = zlib.decompressobj(), bytearray()
    try:
        for at in range(0, len(data), 256):  # of what an error follows in the same call, nothing is given
            found += machine.decompress(data[at : at + 256])
            if len(found) > size + LARGEST:
                break
    except zlib.error:
        pass
    return bytes(found[:size]), machine.eof


def _metadata(parts: Parts, raw: dict[bytes, bytes], name: bytes, content: bytes) -> None:
    if name == b"iCCP":
        parts.icc = inflate(content[content.index(b"\0") + 2 :])
    elif name == b"eXIf":
        parts.exif = content
    elif name == b"pHYs":
        parts.density = struct.unpack(">IIB", content)
    elif name in TEXT and content.startswith(XMP_KEY + b"\0"):
        parts.xmp = _text(name, content)
    elif name in TEXT and content.startswith(RAW):
        kind = content[len(RAW) : content.index(b"\0")]
        raw[kind] = _raw_profile(_text(name, content))
    elif name in (*COLOUR, *TEXT):
        if name in TEXT and len(_text(name, content)) > LONGEST_TEXT:
            raise ValueError("it is too long")
        parts.chunks.append((name, content))


def inflate(data: bytes) -> bytes:
    """Compressed content.

    Raises:
        ValueError: it is damaged or absurdly large.
    """
    machine = zlib.decompressobj()
    content = machine.decompress(data, LARGEST)
    if machine.unconsumed_tail or not machine.eof:
        raise ValueError("it is damaged or too large")
    return content


def _text(name: bytes, content: bytes) -> bytes:
    """The text of a tEXt, zTXt or iTXt chunk."""
    _, _, rest = content.partition(b"\0")
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return inflate(rest[1:])
    compressed, (_, _, text) = rest[:1] == b"\1", rest[2:].partition(b"\0")
    _, _, text = text.partition(b"\0")  # behind language and translated keyword
    return inflate(text) if compressed else text


def _raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick wrote as a name, a length and hexadecimal digits."""
    match = re.fullmatch(rb"\s*\S+\s+(\d+)\s+([0-9a-fA-F\s]*)", text)
    if match is None:
        raise ValueError("it is no raw profile")
    content = bytes.fromhex(match[2].decode())
    if len(content) != int(match[1]):
        raise ValueError("it is cut")
    return content


def profile_chunk(profile: bytes) -> Chunk:
    """iCCP."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)


def resolution_chunk(dpi: tuple[float, float]) -> Chunk:
    """pHYs, in pixels per metre."""
    return b"pHYs", struct.pack(">IIB", *(round(x / PER_METRE) for x in dpi), 1)


def aspect_chunk(aspect: tuple[int, int]) -> Chunk:
    """pHYs without a unit."""
    return b"pHYs", struct.pack(">IIB", *aspect, 0)


def comment_chunk(comment: bytes) -> Chunk:
    """iTXt with the keyword Comment."""
    try:
        text = comment.decode()
    except UnicodeDecodeError:
        text = comment.decode("latin-1")
    return b"iTXt", b"Comment\0\0\0\0\0" + text.replace("\0", "").encode()


def xmp_chunk(xmp: bytes) -> Chunk:
    """iTXt with the keyword that the XMP specification requires."""
    return b"iTXt", XMP_KEY + b"\0\0\0\0\0" + xmp


def keyword(chunk: Chunk) -> str:
    """The keyword of a text chunk."""
    return chunk[1].partition(b"\0")[0].decode("latin-1")


def rewrite(source: Path, target: Path, chunks: Iterable[Chunk]) -> None:
    """Copy the picture of a PNG without palette, with `chunks` before its pixels and no other metadata."""
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(len(SIGNATURE) + 25))
        for name, content in chunks:
            new.write(struct.pack(">I", len(content)) + name + content)
            new.write(struct.pack(">I", zlib.crc32(name + content)))
        while len(head := old.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            rest = old.read(length + 4)
            if name in PICTURE:
                new.write(head + rest)
