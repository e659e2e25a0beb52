"""The file formats: what each can hold and which names its files have. Standard library only, so that it loads fast."""

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
    longest:  the largest number of pixels per side
    """

    pillow: str
    suffixes: tuple[str, ...]
    modes: tuple[Mode, ...]
    deep: bool = False
    quality: int | None = None
    longest: int = 2**31 - 1


FORMATS: dict[FormatName, Format] = {
    "png": Format("PNG", (".png",), UNCONVERTED, deep=True),
    "jpeg": Format("JPEG", (".jpg", ".jpeg"), ("L", "RGB", "CMYK"), quality=95, longest=65535),
    "webp": Format("WEBP", (".webp",), UNCONVERTED, quality=90, longest=16383),
    "tiff": Format("TIFF", (".tif", ".tiff"), (*UNCONVERTED, "CMYK"), deep=True),
    "avif": Format("AVIF", (".avif",), UNCONVERTED, quality=80, longest=65535),
}
BY_SUFFIX: dict[str, FormatName] = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
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
SUFFIXES = frozenset(suffix for suffixes in READABLE.values() for suffix in suffixes)
WRITABLE_SUFFIXES = ", ".join(sorted(BY_SUFFIX))  # for messages


class ImageFileError(ValueError):
    """A file that cannot be read as an image or written as one. The message is one line that a user understands."""


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
