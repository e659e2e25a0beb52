"""How a file's pixels were compressed: with or without loss, and how strongly, read from the file's header."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cclnn._files import BinaryFile
from cclnn.image.formats import HEIC, known_format, unread_kind

HEAD = 2**20  # bytes in which tables and chunks are looked for; metadata may stand before them
# The luminance table of the JPEG standard (ITU-T T.81, table K.1), which libjpeg scales by the quality.
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29),
    *(51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121),
    *(120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
TIFF_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # Pillow's names of compressions


@dataclass(frozen=True)
class Compression:
    """How pixels were compressed.

    format:  "JPEG", "WebP", ...
    lossy:   whether it changed them
    quality: 1 to 100 on libjpeg's scale; None where it is not known
    """

    format: str
    lossy: bool
    quality: int | None = None

    def __str__(self) -> str:
        if self.quality is not None:
            return f"{self.format} of quality {self.quality}"
        return f"{self.format}, {'lossy' if self.lossy else 'lossless'}"


def read_compression(source: str | os.PathLike[str] | BinaryFile) -> Compression | None:
    """How the pixels of a file were compressed; None where it is no image of a known format.

    AVIF and HEIC count as lossy: whether they are lossless shows in no header.

    Args:
        source: a path, or an open binary file that can seek, which is left at its beginning.
    """
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            return read_compression(file)
    source.seek(0)
    head = source.read(HEAD)
    source.seek(0)
    if head.startswith(b"\xff\xd8"):
        return of_tables(_quantisation_tables(head))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Compression("WebP", lossy=not any(name == b"VP8L" for name in _webp_chunks(head)))
    if known_format(head) == "avif" or unread_kind(head) == HEIC:
        return Compression("AVIF" if known_format(head) else HEIC, lossy=True)
    for magic, name in ((b"\x89PNG", "PNG"), (b"GIF8", "GIF"), (b"BM", "BMP")):
        if head.startswith(magic):
            return Compression(name, lossy=False)
    if head[:4] in (b"II*\0", b"MM\0*"):
        return Compression("TIFF", lossy=_tiff_is_lossy(source))
    return None


def compression_of(image: Any) -> Compression | None:
    """How the file of a PIL image was compressed, as far as Pillow keeps it; None where it tells nothing.

    Pillow does not keep whether a WebP was lossless.
    """
    tables = getattr(image, "quantization", None)
    if tables:
        return of_tables(tables)
    if image.format in (None, "WEBP"):
        return None
    return Compression(
        image.format, lossy=image.format in ("AVIF", "HEIF") or image.info.get("compression") in TIFF_LOSSY
    )


def of_tables(tables: Mapping[int, Sequence[int]]) -> Compression:
    """A JPEG by its quantisation tables: the quality whose luminance table of libjpeg has the nearest sum.

    Tables of ones (quality 100) keep the pixels but for rounding, and count as lossless.
    """
    if not tables:
        return Compression("JPEG", lossy=True)
    luminance = tables[min(tables)]
    total = sum(luminance)
    quality = min(range(1, 101), key=lambda q: (abs(_libjpeg_sum(q) - total), -q))
    return Compression("JPEG", lossy=max(max(table) for table in tables.values()) > 1, quality=quality)


def _libjpeg_sum(quality: int) -> int:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((value * percent + 50) // 100, 1), 255) for value in LUMINANCE)


def _quantisation_tables(head: bytes) -> dict[int, list[int]]:
    """Number -> 64 values of each table before the first scan of a JPEG."""
    tables: dict[int, list[int]] = {}
    place = 2
    while place + 4 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        if marker == 0xDA:
            break
        if marker == 0xDB:
            body, at = head[place + 4 : place + 2 + length], 0
            while at < len(body):
                width = 2 if body[at] >> 4 else 1
                values = body[at + 1 : at + 1 + 64 * width]
                if len(values) == 64 * width:
                    tables[body[at] & 15] = [
                        int.from_bytes(values[i : i + width], "big") for i in range(0, 64 * width, width)
                    ]
                at += 1 + 64 * width
        place += 2 + length
    return tables


def _webp_chunks(head: bytes) -> Iterator[bytes]:
    """The names of a WebP's chunks, with those of its frames where it is animated."""
    place = 12
    while place + 8 <= len(head):
        name, length = head[place : place + 4], int.from_bytes(head[place + 4 : place + 8], "little")
        yield name
        place += 8 + (16 if name == b"ANMF" else length + length % 2)  # a frame has a header, then chunks of its own


def _tiff_is_lossy(file: BinaryFile) -> bool:
    try:
        from PIL import Image

        with Image.open(file, formats=["TIFF"]) as image:
            return image.info.get("compression") in TIFF_LOSSY
    except (ImportError, OSError, SyntaxError, ValueError, TypeError, KeyError):  # `read_picture` says what is wrong
        return False
    finally:
        file.seek(0)
