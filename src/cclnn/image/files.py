"""Image files <-> PIL images, with errors that say what is wrong in one line. Needs the extra "cli" (Pillow)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cclnn._files import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = ("RGB", "L")


class ImageFileError(ValueError):
    """A file that cannot be read as an image or written as one; the message is one line for people."""


def read_image(path: str | os.PathLike[str]) -> "Image":
    """The image in a file, fully decoded and upright (EXIF orientation applied).

    Raises:
        ImageFileError: missing, not an image, truncated, too large to be genuine, animated, or of a mode that is not
            supported (RGB and L are).
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise ImportError('reading images needs Pillow: pip install "cclnn[cli]"') from error

    path = Path(path)
    if not path.is_file():
        raise ImageFileError(f"cannot read {str(path)!r}: there is no such file.")
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise ImageFileError(f"cannot read {str(path)!r}: it is animated ({image.n_frames} frames).")
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ImageFileError(f"cannot read {str(path)!r}: it is not an image in a known format.") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"cannot read {str(path)!r}: {error}") from error
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise ImageFileError(f"cannot read {str(path)!r}: the file is damaged ({error}).") from error
    if upright.mode not in MODES:
        raise ImageFileError(
            f"cannot use {str(path)!r}: its mode is {upright.mode}, supported are {' and '.join(MODES)} (8-bit colour "
            "and grey, without transparency)."
        )
    return upright


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise ImageFileError unless a PNG can be written to `path`; to be called before hours of work, not after."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageFileError(f"cannot write {str(path)!r}: the name must end in .png.")
    if not path.parent.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}.")
    if path.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{str(path)!r} exists already; --overwrite replaces it.")
    if not os.access(path.parent, os.W_OK):
        raise ImageFileError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}.")


def write_png(image: "Image", path: str | os.PathLike[str]) -> None:
    """Save as PNG with its colour profile: whole, or not at all and what was there before untouched."""
    profile = image.info.get("icc_profile")
    try:
        write_atomically(
            Path(path), lambda temporary: image.save(temporary, format="PNG", icc_profile=profile, optimize=False)
        )
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
