"""The file formats: what each can hold and which names its files have. Standard library only, so that it loads fast."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

FormatName: TypeAlias = Literal["png", "jpeg", "webp", "tiff", "avif"]
Mode: TypeAlias = Literal["L", "LA", "RGB", "RGBA", "CMYK"]

CHANNELS: dict[Mode, int] = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
UNCONVERTED: tuple[Mode, ...] = ("L", "LA", "RGB", "RGBA")  # modes whose pixels every format but JPEG holds


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    pillow:   Pillow's name of the format
    suffixes: of file names, the usual one first
    modes:    of pictures
    deep:     whether it holds 16 bits per channel
    quality:  the default quality of a lossy format, None for a lossless one
    longest:  the largest number of pixels per side that its readers open
    """

    pillow: str
    suffixes: tuple[str, ...]
    modes: tuple[Mode, ...]
    deep: bool = False
    quality: int | None = None
    longest: int = 2**31 - 1


_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
FORMATS: dict[FormatName, Format] = {
    "png": Format("PNG", (".png", ".apng"), UNCONVERTED, deep=True),
    "jpeg": Format("JPEG", _JPEG_SUFFIXES, ("L", "RGB", "CMYK"), quality=95, longest=65500),
    "webp": Format("WEBP", (".webp",), UNCONVERTED, quality=90, longest=16383),
    "tiff": Format("TIFF", (".tif", ".tiff"), (*UNCONVERTED, "CMYK"), deep=True),
    "avif": Format("AVIF", (".avif", ".avifs"), UNCONVERTED, quality=80, longest=32768),
}
BY_SUFFIX: dict[str, FormatName] = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}
# Pillow's name of each format that is read -> suffixes of its files; MPO is a JPEG with more pictures behind the first.
READABLE: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": _JPEG_SUFFIXES,
    "MPO": (*_JPEG_SUFFIXES, ".mpo"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
}
HEIC, HEIC_SUFFIXES = "HEIC", (".heic", ".heif", ".hif")
SUFFIXES_OF = {**READABLE, HEIC: HEIC_SUFFIXES}
RAW = "a camera's raw format"
UNREAD = {  # suffix of a kind that is not read, HEIC without its extra -> its name
    **dict.fromkeys(HEIC_SUFFIXES, HEIC),
    ".jxl": "JPEG XL",
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".j2c"), "JPEG 2000"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"), RAW),
    ".psd": "Photoshop's format",
}
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # position, bytes there, kind that is not read
    (4, b"ftyphei", HEIC),
    (4, b"ftyphev", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypmsf1", HEIC),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n", "JPEG XL"),
    (4, b"jP  \r\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop's format"),
    (0, b"\x28\0\0\0", "a bitmap without a file header"),
    (0, b"%PDF", "PDF"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
)
WRITTEN: tuple[tuple[int, bytes, FormatName], ...] = (  # the same for formats that are read and written
    (0, b"\x89PNG\r\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (8, b"WEBP", "webp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (4, b"ftypavi", "avif"),
)
GIF_FRAME = b"\x21\xf9\x04"  # begins the control of a frame
AVIF_BRANDS = (b"avif", b"avis")
HEAD = 64  # bytes that tell the kind of a file
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
WRITABLE_SUFFIXES = ", ".join(sorted(BY_SUFFIX))  # for messages


class ImageFileWarning(UserWarning):
    """Something about a file that its user should know, though it was read or written."""


class ImageFileError(ValueError):
    """A file that cannot be read as an image or written as one. The message is one line that a user understands."""


class MetadataWarning(ImageFileWarning):
    """Metadata that were not carried over; the message names them."""


def check_pixels(width: int, height: int, most: int | None, name: str) -> None:
    """Raise ImageFileError for a picture of more than `most` pixels; None is no limit."""
    if most is not None and width * height > most:
        raise ImageFileError(
            f"cannot read {name}: it has {width} x {height} pixels; at most {most / 1e6:g} megapixels are taken."
        )


def format_of(path: str | os.PathLike[str]) -> FormatName:
    """The format that a file's suffix names.

    Raises:
        ImageFileError: the suffix is not that of a format that can be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in BY_SUFFIX:
        raise ImageFileError(
            f"cannot write {str(path)!r}: its name must end in {WRITABLE_SUFFIXES}, or give the format."
        )
    return BY_SUFFIX[suffix]


def unread_kind(head: bytes) -> str | None:
    """The name of the kind of image that a file with these first bytes is, of those that are not read, and HEIC."""
    if known_format(head):
        return None
    return next((kind for at, magic, kind in SIGNATURES if head[at:].startswith(magic)), None)


def known_format(head: bytes) -> FormatName | None:
    """The format of a file with these first bytes, of those that can be written."""
    if head[4:12] in (b"ftypmif1", b"ftypmsf1") and any(brand in _brands(head) for brand in AVIF_BRANDS):
        return "avif"
    return next((name for at, magic, name in WRITTEN if head[at:].startswith(magic)), None)


def _brands(head: bytes) -> list[bytes]:
    """The brands that a file of the family of MP4 lists."""
    return [head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4)]


def reads_heic() -> bool:
    """Whether pillow-heif, which reads HEIC, is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def way_out(kind: str) -> str:
    """What is to be done about a file of a kind that is not read, as the end of a sentence about the kind."""
    if kind == HEIC:
        return 'needs pillow-heif: pip install "cclnn[heif]"'
    return "is not supported: convert it to PNG"


def content_format(path: Path) -> FormatName | None:
    """The format that a file's content tells; None where it cannot be written or the file cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return known_format(file.read(HEAD))
    except OSError:
        return None


def animated_suffix(path: Path) -> str | None:
    """The suffix of the kind of animation in a file (".gif", ".png" or ".webp"), None where there is none."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(2**16)
            if head.startswith(b"GIF8"):
                return ".gif" if (head + file.read()).count(GIF_FRAME) > 1 else None
    except OSError:
        return None
    if head.startswith(b"\x89PNG"):
        return ".png" if b"acTL" in head.partition(b"IDAT")[0] else None
    return ".webp" if head[8:16] == b"WEBPVP8X" and len(head) > 20 and head[20] & 2 else None
