"""Read image files into pictures, with errors that say what is wrong in one line. Needs the extra "cli" (Pillow)."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cclnn._files import BinaryFile
from cclnn.image import deep, png
from cclnn.image.formats import READABLE, SUFFIXES, ImageFileError
from cclnn.image.metadata import read_metadata
from cclnn.image.picture import Picture, from_pil, to_pil, upright

if TYPE_CHECKING:
    from PIL.Image import Image

TIFF_BITS, TIFF_SAMPLE_FORMAT, TIFF_PHOTOMETRIC, TIFF_EXTRA = 258, 339, 262, 338  # tag numbers


def read_picture(source: str | os.PathLike[str] | BinaryFile, *, name: str | None = None) -> Picture:
    """The picture in a file, upright (EXIF orientation applied), with its bit depth and its metadata.

    16-bit colour needs the extra "io16". An MPO file (photographs of some phones) gives its first picture.

    Args:
        source: a path, or an open binary file that can seek.
        name: how messages call the source.

    Raises:
        ImageFileError: the file is missing, empty, no image, not what its suffix says, truncated, too large to be
            genuine, animated or of several pages, or its bit depth or mode is not supported.
        ImportError: Pillow is not installed, or pyvips where it is needed.
    """
    _pillow()  # without Pillow no other check matters
    if not isinstance(source, (str, os.PathLike)):
        return _read(source, name or "the input", suffix="")
    path = Path(source)
    called = name or repr(str(path))
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        raise ImageFileError(f"cannot read {called}: {reason}.")
    try:
        with path.open("rb") as file:
            return _read(file, called, suffix=path.suffix.lower())
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
    metadata = picture.metadata
    kept = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    image.info.update({key: value for key, value in kept.items() if value is not None})
    return image


def _read(file: BinaryFile, name: str, *, suffix: str) -> Picture:
    if not file.read(1):
        raise ImageFileError(f"cannot read {name}: it is empty.")
    file.seek(0)
    with _errors_in_one_line(name), _open(file) as image:
        if suffix in SUFFIXES and suffix not in READABLE[image.format]:
            usual = READABLE[image.format][0]
            raise ImageFileError(
                f"cannot read {name}: its name ends in {suffix}, but it is {image.format}. Rename it to {usual}."
            )
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            kind = f"it has {frames} pages" if image.format == "TIFF" else f"it is animated ({frames} frames)"
            raise ImageFileError(f"cannot read {name}: {kind}; a file must hold one picture.")
        if _is_deep_colour(image, file, name):
            metadata, orientation = read_metadata(image, file)
            pixels, mode = deep.read_deep(file)
            return Picture(upright(pixels, orientation), mode, metadata)
        image.load()  # Pillow turns TIFFs upright itself, here
        picture = _from_pil(image, name)
        metadata, orientation = read_metadata(image, file)
        return Picture(upright(picture.pixels, orientation), picture.mode, metadata)


def _from_pil(image: Any, name: str) -> Picture:
    try:
        return from_pil(image.convert("I;16") if image.mode == "I" and image.format == "PNG" else image)
    except ValueError as error:
        raise ImageFileError(
            f"cannot use {name}: its pixels are of mode {image.mode}, whose white is unknown."
        ) from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image files need Pillow: pip install "cclnn[cli]"') from error
    Image.init()
    return Image


def _open(file: BinaryFile) -> Any:
    module = _pillow()
    return module.open(file, formats=[name for name in READABLE if name in module.OPEN])


@contextmanager
def _errors_in_one_line(name: str) -> Iterator[None]:
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
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(f"cannot read {name}: it is not an image in a known format.") from error
    except module.DecompressionBombError as error:
        raise ImageFileError(f"cannot read {name}: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError) as error:
        # Pillow raises each of these for some kind of broken file
        raise ImageFileError(f"cannot read {name}: the file is damaged ({_one_line(error)}).") from error


def _is_deep_colour(image: Any, file: BinaryFile, name: str) -> bool:
    """Whether the file has 16 bits per channel, in more than the one channel of grey that Pillow keeps exactly."""
    if image.format == "PNG":
        depth, colour = png.read_header(file)
        return depth == 16 and (colour != png.GREY or "transparency" in image.info)
    if image.format == "TIFF":
        tags = image.tag_v2
        bits, numbers = tags.get(TIFF_BITS, (1,)), tags.get(TIFF_SAMPLE_FORMAT, (1,))
        if not set(bits) <= {1, 2, 4, 8, 16} or set(numbers) != {1}:
            kind = {2: "signed integers", 3: "floating-point numbers"}.get(max(numbers), "integers")
            raise ImageFileError(f"cannot use {name}: it holds {max(bits)}-bit {kind}; 8 and 16 bits are supported.")
        if max(bits) < 16:
            return False
        if 1 in tags.get(TIFF_EXTRA, ()) or tags.get(TIFF_PHOTOMETRIC) not in (0, 1, 2):
            raise ImageFileError(f"cannot use {name}: 16-bit TIFFs are read as grey or RGB, opacity not multiplied in.")
        return len(bits) > 1 or tags.get(TIFF_PHOTOMETRIC) == 0
    if image.format == "AVIF" and _avif_bits(file) > 8:
        raise ImageFileError(
            f"cannot use {name}: it holds {_avif_bits(file)} bits per channel, which would be reduced to 8."
        )
    return False


def _avif_bits(file: BinaryFile) -> int:
    """Bits per channel by the codec's configuration box, av1C."""
    file.seek(0)
    head = file.read(2**16)
    flags = head[head.find(b"av1C") + 6] if b"av1C" in head[:-7] else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
