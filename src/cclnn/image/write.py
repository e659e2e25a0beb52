"""Write pictures as image files: what a format holds is checked before the work, a file appears whole or not at all."""

import io
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cclnn._files import write_atomically
from cclnn.image import deep, jpeg, png
from cclnn.image.formats import FORMATS, Format, FormatName, ImageFileError, format_of
from cclnn.image.metadata import tell
from cclnn.image.picture import Metadata, Picture, from_pil, to_pil
from cclnn.image.prepare import png_chunks, prepared, tiff_tags
from cclnn.image.profiles import cmyk_to_srgb, srgb_profile, with_fitting_colour
from cclnn.image.tiff import add_tags

if TYPE_CHECKING:
    from PIL.Image import Image

TIFF_XMP = 700  # tag number


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Check that a file can be written to `path`; call it before hours of work.

    Raises:
        ImageFileError: the folder is missing or not writable, the name is too long, `path` is a folder, or a file that
            `overwrite` does not allow to replace.
    """
    path = Path(path)
    try:
        path.exists()
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    if not path.parent.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}.")
    if path.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not path.is_file():
        raise ImageFileError(f"cannot write {str(path)!r}: it is not a regular file.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{str(path)!r} exists already; --overwrite replaces it.")
    if not os.access(path.parent, os.W_OK):
        raise ImageFileError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}.")


def check_fits(picture: Picture, format: FormatName, *, scale: float = 1) -> None:  # noqa: A002  # the field's word
    """Check that `format` can hold the picture at `scale` times its size; call it before the work.

    Raises:
        ImageFileError: the format would lose opacity or bit depth, or holds smaller pictures only.
        ImportError: writing needs pyvips, which is not installed.
    """
    can = FORMATS[format]
    others = "PNG or TIFF" if picture.bits == 16 else "PNG, TIFF, WebP or AVIF"
    longest = round(max(picture.width, picture.height) * scale)
    if longest > can.longest:
        raise ImageFileError(
            f"{can.pillow} holds {can.longest} pixels per side, {longest} are needed: write PNG or TIFF."
        )
    if picture.bits == 16 and not can.deep:
        raise ImageFileError(f"{can.pillow} holds 8 bits per channel, the picture has 16: write {others}.")
    if picture.bits == 16 and picture.mode == "CMYK":
        raise ImageFileError("16-bit CMYK cannot be written: convert it to RGB or to 8 bits.")
    if picture.bits == 16 and picture.mode == "LA" and can.pillow == "TIFF":
        raise ImageFileError("TIFF with 16-bit grey and transparency cannot be read by Pillow: write PNG.")
    if picture.bits == 16 and picture.mode != "L":
        deep.vips()
    if picture.mode in ("LA", "RGBA") and picture.mode not in can.modes:
        raise ImageFileError(f"{can.pillow} cannot hold transparency, which the picture has: write {others}.")


def convert(picture: Picture, format: FormatName) -> Picture:  # noqa: A002  # the field's word
    """The picture in a mode that `format` holds, with a colour profile that fits its pixels there.

    CMYK becomes sRGB where the format has no CMYK: by its profile, and without one by 255 (1 - ink)(1 - black). Grey
    with a grey profile becomes sRGB in WebP and AVIF, whose readers give RGB. Colour that a PNG or AVIF states without
    a profile becomes one. A profile that does not fit the pixels is dropped, with a `MetadataWarning`.

    Raises:
        ImageFileError: the CMYK profile is damaged or describes other colours.
    """
    can = FORMATS[format]
    if picture.mode != "CMYK" or "CMYK" in can.modes:
        fitting, lost = with_fitting_colour(picture, format)
        tell(can.pillow, lost)
        return fitting
    try:
        converted = from_pil(cmyk_to_srgb(to_pil(picture), picture.metadata.icc))
    except ValueError as error:
        raise ImageFileError(f"{can.pillow} cannot hold CMYK, and {error}: write TIFF or JPEG.") from error
    profile = srgb_profile() if picture.metadata.icc else None
    return replace(converted, metadata=replace(picture.metadata, icc=profile))


def write_picture(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    format: FormatName | None = None,  # noqa: A002  # the field's word
    quality: int | None = None,
    lossless: bool = False,
) -> None:
    """Write a picture with its metadata. If that fails, what was at `path` before is untouched.

    Args:
        picture: what to write.
        path: the file; an existing one is replaced.
        format: "png", "jpeg", "webp", "tiff" or "avif"; by default what the suffix says.
        quality: 1 to 100, for JPEG (default 95), WebP (90) and AVIF (80); the other formats are lossless.
        lossless: write WebP without loss.

    Raises:
        ImageFileError: the format cannot hold the picture, or the disk cannot hold the file.
    """
    name = format or format_of(path)
    check_fits(picture, name)
    save(convert(picture, name), path, name, quality, lossless=lossless)


def save(
    picture: Picture,
    path: str | os.PathLike[str],
    format: FormatName,  # noqa: A002  # the field's word
    quality: int | None = None,
    *,
    lossless: bool = False,
) -> None:
    """`write_picture` for a picture that was checked (`check_fits`) and converted (`convert`) before the work.

    Raises:
        ImageFileError: the disk cannot hold the file.
    """
    try:
        write_atomically(Path(path), lambda temporary: _save(picture, temporary, format, quality, lossless))
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def encode(picture: Picture, format: FormatName, quality: int | None = None, *, lossless: bool = False) -> bytes:  # noqa: A002
    """The bytes of the file that `save` would write."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        save(picture, path, format, quality, lossless=lossless)
        return path.read_bytes()


def write_png(image: "Image", path: str | os.PathLike[str]) -> None:
    """Save a PIL image as PNG with its colour profile. If that fails, what was at `path` before is untouched."""
    picture = from_pil(image)
    write_picture(replace(picture, metadata=Metadata(icc=image.info.get("icc_profile"))), path, format="png")


def _save(picture: Picture, path: Path, format: FormatName, quality: int | None, lossless: bool) -> None:  # noqa: A002
    can = FORMATS[format]
    metadata, lost = prepared(picture.metadata, format, picture.width, picture.height)
    picture = replace(picture, metadata=metadata)
    if picture.bits == 16 and picture.mode != "L":
        deep.write_deep(picture, path, can.pillow)
    elif format == "png":
        _save_png(picture, path)
    else:
        _save_others(picture, path, can, quality, lossless)
    tell(can.pillow, lost)


def _save_png(picture: Picture, path: Path) -> None:
    bare = path.with_name(path.name + ".pixels")
    try:
        with bare.open("xb"):
            pass
        with _Checked(io.FileIO(bare, "r+")) as file:
            to_pil(picture).save(file, format="PNG")
        png.rewrite(bare, path, png_chunks(picture.metadata))
    finally:
        bare.unlink(missing_ok=True)


def _save_others(picture: Picture, path: Path, can: Format, quality: int | None, lossless: bool) -> None:
    metadata = picture.metadata
    options: dict[str, Any] = {"icc_profile": metadata.icc, "dpi": metadata.dpi}
    if can.pillow == "TIFF":
        options["compression"] = "tiff_lzw" if picture.bits == 8 else "tiff_adobe_deflate"
        options["tiffinfo"] = {TIFF_XMP: metadata.xmp} if metadata.xmp else {}
    else:
        options["xmp"] = metadata.xmp
        options["exif"] = jpeg.EXIF + metadata.exif if metadata.exif else None
    if can.quality is not None:
        options["quality"] = quality or can.quality
    if can.pillow == "WEBP" and lossless:
        options.update(lossless=True, exact=True)
    if can.pillow == "JPEG":
        options.update(subsampling=0, comment=metadata.comment)
        options["extra"] = jpeg.iptc_segment(metadata.iptc) if metadata.iptc else None
    with _Checked(io.FileIO(path, "r+")) as file:
        given = {key: value for key, value in options.items() if value is not None}
        to_pil(picture).save(file, format=can.pillow, **given)
    if can.pillow == "TIFF":
        add_tags(path, *tiff_tags(metadata))
    if can.pillow == "JPEG" and metadata.aspect and not metadata.dpi:
        with path.open("r+b") as file:
            file.seek(jpeg.DENSITY)
            file.write(struct.pack(">BHH", 0, *metadata.aspect))


class _Checked(io.BufferedRandom):
    """A file that Pillow writes through Python: given a file descriptor, it misses the errors of a full disk."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")
