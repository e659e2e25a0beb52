"""Read image files into pictures, with errors that say what is wrong in one line. Needs the extra "cli" (Pillow)."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cclnn._files import BinaryFile
from cclnn.image import deep, heic, jpeg, metadata, png, tiff
from cclnn.image.depth import is_deep_colour
from cclnn.image.formats import (
    HEAD,
    HEIC,
    RAW,
    READABLE,
    SUFFIXES,
    SUFFIXES_OF,
    UNREAD,
    ImageFileError,
    ImageFileWarning,
    Mode,
    check_pixels,
    known_format,
    reads_heic,
    unread_kind,
    way_out,
)
from cclnn.image.pages import own_pages
from cclnn.image.picture import Picture, Pixels, from_pil, to_pil, upright

if TYPE_CHECKING:
    from PIL.Image import Image


def read_picture(
    source: str | os.PathLike[str] | BinaryFile,
    *,
    name: str | None = None,
    page: int | None = None,
    keep_damaged: bool = False,
    max_pixels: int | None = None,
) -> Picture:
    """The picture in a file, upright (EXIF orientation applied), with its bit depth and its metadata.

    16-bit colour needs the extra "io16", HEIC the extra "heif". An MPO file (photographs of some phones) gives its
    first picture.

    Args:
        source: a path, or an open binary file that can seek.
        name: how messages call the source.
        page: which page of a TIFF with several pages, from 1; by default the one that is no smaller copy of another.
        keep_damaged: read a JPEG or PNG of which a part is missing, with an `ImageFileWarning`; that part becomes a
            flat area.
        max_pixels: refuse a larger picture before it is decoded; None leaves Pillow's limit alone.

    Raises:
        ImageFileError: the file is missing, empty, no image, not what its suffix says, truncated, too large to be
            genuine, animated or of several pages, or its bit depth or mode is not supported.
        ImportError: Pillow is not installed, or pyvips where it is needed.
    """
    _pillow()  # without Pillow no other check matters
    if not isinstance(source, (str, os.PathLike)):
        return _read(source, name or "the input", "", page, keep_damaged, max_pixels)
    path = Path(source)
    called = name or repr(str(path))
    if not path.is_file() and not path.is_fifo():
        if not path.exists():
            raise ImageFileError(f"cannot read {called}: there is no such file.")
        raise ImageFileError(f"cannot read {called}: it is {'a folder' if path.is_dir() else 'not a regular file'}.")
    try:
        with path.open("rb") as file:
            if path.is_fifo():  # cannot seek
                return _read(io.BytesIO(file.read()), called, "", page, keep_damaged, max_pixels)
            return _read(file, called, path.suffix.lower(), page, keep_damaged, max_pixels)
    except OSError as error:
        raise ImageFileError(f"cannot read {called}: {error.strerror or error}.") from error


def read_image(path: str | os.PathLike[str]) -> "Image":
    """The picture in a file as a PIL image of mode L, LA, RGB, RGBA, CMYK or I;16, upright.

    Its `info` holds "icc_profile", "exif" and "dpi", where the file does.

    Raises:
        ImageFileError: as `read_picture`; 16-bit colour, which a PIL image cannot hold.
    """
    picture = read_picture(path)
    try:
        image = to_pil(picture)
    except ValueError as error:
        raise ImageFileError(f"cannot use {str(path)!r}: {error}") from error
    known = picture.metadata
    kept = {"icc_profile": known.icc, "exif": known.exif, "dpi": known.dpi}
    image.info.update({key: value for key, value in kept.items() if value is not None})
    return image


def preview(
    source: str | os.PathLike[str] | BinaryFile, *, name: str | None = None, max_pixels: int | None = None
) -> "Image":
    """The picture in a file for a screen: a PIL image of mode RGB, upright, whatever the file's mode and depth.

    Opacity, colour profile and the lower 8 of 16 bits are dropped. For computations, use `read_picture`.

    Args:
        source: a path, or an open binary file that can seek.
        name: how messages call the source.
        max_pixels: refuse a larger picture before it is decoded.

    Raises:
        ImageFileError: as `read_picture`.
    """
    picture = read_picture(source, name=name, max_pixels=max_pixels)
    if picture.bits == 16:
        picture = picture.with_pixels((picture.pixels >> 8).astype(np.uint8))
    return to_pil(picture).convert("RGB")


def _read(
    file: BinaryFile, name: str, suffix: str, page: int | None, keep_damaged: bool, max_pixels: int | None
) -> Picture:
    start = file.read(HEAD)
    file.seek(0)
    if not start:
        raise ImageFileError(f"cannot read {name}: it is empty.")
    kind = unread_kind(start) or (RAW if UNREAD.get(suffix) == RAW and known_format(start) == "tiff" else None)
    if kind and not (kind == HEIC and reads_heic()):
        raise ImageFileError(f"cannot read {name}: it is {kind}, which {way_out(kind)}.")
    with errors_in_one_line(name):
        if kind == HEIC:
            content = Content(HEIC, *heic.read_heic(file, max_pixels, name))
        else:
            content = _by_pillow(file, name, start, page, keep_damaged, max_pixels)
    if suffix in SUFFIXES and suffix not in SUFFIXES_OF[content.kind]:
        told = f"{name}: its name ends in {suffix}, but it is {content.kind}, and is read as that."
        warnings.warn(told, ImageFileWarning, stacklevel=3)
    if content.missing:
        told = f"{name}: the file is damaged: a part of the picture is missing, and is kept as a flat area."
        warnings.warn(told, ImageFileWarning, stacklevel=3)
    settled, orientation = content.found.settle(name)
    pixels = upright(content.pixels, orientation)
    return Picture(pixels, content.mode, replace(settled, size=(pixels.shape[1], pixels.shape[0])))


@dataclass
class Content:
    """What a file holds: kind, metadata, pixels as it stores them, their mode, whether a part of them is missing."""

    kind: str
    found: metadata.Found
    pixels: Pixels
    mode: Mode
    missing: bool = False


def _by_pillow(
    file: BinaryFile, name: str, start: bytes, page: int | None, keep_damaged: bool, max_pixels: int | None
) -> Content:
    found: metadata.Found | None = None
    parts: jpeg.Parts | None = None
    missing = False
    if start.startswith(jpeg.SOI):
        parts = jpeg.read_parts(file.read())
        missing = keep_damaged and not parts.complete
        found, file = metadata.of_jpeg(parts), io.BytesIO(jpeg.ended(parts) if missing else parts.bare)
    elif start.startswith(png.SIGNATURE):
        chunks = png.read_parts(file.read())
        mended = png.mended(chunks.bare, 2 * (_pillow().MAX_IMAGE_PIXELS or 2**40)) if keep_damaged else None
        missing = mended is not None
        found, file = metadata.of_png(chunks), io.BytesIO(mended or chunks.bare)
    with open_with_pillow(file, name) as image:
        _select(image, file, page, name)
        width, height = image.size
        check_pixels(width, height, max_pixels, name)
        if image.format == "TIFF":
            found = metadata.of_tiff(image, file, image.tell())
        elif found is None:
            found = metadata.of_others(image, file)
        pixels, mode = _pixels(image, file, name)
        if parts is not None and _is_cut(image, parts):
            if not keep_damaged:
                raise ImageFileError(f"cannot read {name}: the file is damaged (a part of the picture is missing).")
            missing = True
        if image.mode == "LAB":
            found.icc = None  # which is for Lab; the pixels are sRGB now
        return Content(image.format, found, pixels, mode, missing)


def _select(image: Any, file: BinaryFile, page: int | None, name: str) -> None:
    """Go to the page that is asked for; without one there must be one picture, apart from smaller copies of it."""
    frames = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and (page is not None or frames > 1):
        own = own_pages(file) if page is None else [page]
        if len(own) != 1:
            raise ImageFileError(f"cannot read {name}: it has {frames} pages: choose with --page N or --page all.")
        if own[0] > frames:
            raise ImageFileError(f"cannot read {name}: it has {frames} pages, page {page} is asked for.")
        image.seek(own[0] - 1)
    elif frames > 1:
        raise ImageFileError(
            f"cannot read {name}: it is animated ({frames} frames), which its own kind of file alone holds."
        )


def _pixels(image: Any, file: BinaryFile, name: str) -> tuple[Pixels, Mode]:
    """The pixels as the file stores them, not turned."""
    if is_deep_colour(image, file, name):
        return deep.read_deep(file, image.tell() if image.format == "TIFF" else 0)
    if image.format == "TIFF":
        image.load_end = lambda: None  # Pillow would parse all EXIF tags there, and turn the picture
    image.load()
    picture = _from_pil(image.copy() if image.format == "TIFF" else image, image.format, name)
    return picture.pixels, picture.mode


def _is_cut(image: Any, parts: jpeg.Parts) -> bool:
    """Whether the scan of a JPEG ends early, which decodes to flat blocks: then it also takes in bits put behind it."""
    if not parts.complete:
        return False
    corner = np.asarray(image.crop((max(image.width - 4, 0), max(image.height - 4, 0), image.width, image.height)))
    if np.ptp(corner, axis=(0, 1)).any():
        return False
    with _pillow().open(io.BytesIO(jpeg.with_noise(parts)), formats=["JPEG"]) as other:
        return bool(other.tobytes() != image.tobytes())


def _from_pil(image: Any, format_name: str, name: str) -> Picture:
    try:
        return from_pil(image.convert("I;16") if image.mode == "I" and format_name == "PNG" else image)
    except ValueError as error:
        raise ImageFileError(
            f"cannot use {name}: its pixels are of mode {image.mode}, whose white is unknown."
        ) from error


def allow_megapixels(limit: int) -> None:
    """Let this process read images of up to `limit` million pixels; larger ones stay refused as possible attacks."""
    _pillow().MAX_IMAGE_PIXELS = limit * 1_000_000 // 2  # Pillow warns at this number and refuses twice of it


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image files need Pillow: pip install "cclnn[cli]"') from error
    Image.init()
    return Image


def open_with_pillow(file: BinaryFile, name: str) -> Any:
    """Pillow's image of a file; ImageFileError for a kind that is known and not supported."""
    module = _pillow()
    from PIL import UnidentifiedImageError

    try:
        return module.open(file, formats=[name for name in READABLE if name in module.OPEN])
    except UnidentifiedImageError:
        file.seek(0)
        kind = tiff.kind(file)
        if kind is None:
            file.seek(0)
            if known_format(file.read(HEAD)):
                raise ImageFileError(f"cannot read {name}: the file is damaged (its header cannot be read).") from None
            raise
        way = "convert it to grey or RGB of 8 or 16 bits"
        raise ImageFileError(f"cannot use {name}: TIFFs of its kind ({kind}) are not supported: {way}.") from None


@contextmanager
def errors_in_one_line(name: str) -> Iterator[None]:
    """Turn what Pillow and pyvips raise for bad files into an ImageFileError.

    Their warnings are not shown. They are of two kinds: of damage, which is an error where it touches pixels, and of
    images that are large but below the limit (twice `Image.MAX_IMAGE_PIXELS`), which are accepted.
    """
    module = _pillow()
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImageFileError, ImportError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(f"cannot read {name}: it is not an image in a known format.") from error
    except module.DecompressionBombError as error:
        limit = 2 * module.MAX_IMAGE_PIXELS / 1e6
        raise ImageFileError(
            f"cannot read {name}: it has more than {limit:.0f} megapixels, which may be an attack; --max-megapixels "
            "raises the limit."
        ) from error
    except Exception as error:  # Pillow raises almost anything for some kind of broken file; a batch must go on
        if "not supported" in str(error):
            raise ImageFileError(f"cannot use {name}: {_one_line(error)}.") from error
        raise ImageFileError(f"cannot read {name}: the file is damaged ({_one_line(error)}).") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
