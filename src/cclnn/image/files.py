"""Image files <-> pictures, with errors that say what is wrong in one line. Needs the extra "cli" (Pillow)."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cclnn._files import BinaryFile, write_atomically
from cclnn.image import deep, png
from cclnn.image.metadata import cmyk_to_srgb, exif_for, png_chunks, read_metadata, srgb_profile
from cclnn.image.picture import Metadata, Mode, Picture, from_pil, to_pil, upright
from cclnn.image.tiff import add_exif

if TYPE_CHECKING:
    from PIL.Image import Image

FormatName: TypeAlias = Literal["png", "jpeg", "webp", "tiff", "avif"]


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    pillow:   Pillow's name of it
    suffixes: of file names, the usual one first
    modes:    of pictures
    deep:     16 bits per channel
    quality:  it is lossy: the quality to use unless told, None if it is lossless
    longest:  pixels per side that it can hold
    """

    pillow: str
    suffixes: tuple[str, ...]
    modes: tuple[Mode, ...]
    deep: bool = False
    quality: int | None = None
    longest: int = 2**31 - 1


FORMATS: dict[FormatName, Format] = {
    "png": Format("PNG", (".png",), ("L", "LA", "RGB", "RGBA"), deep=True),
    "jpeg": Format("JPEG", (".jpg", ".jpeg"), ("L", "RGB", "CMYK"), quality=95, longest=65535),
    "webp": Format("WEBP", (".webp",), ("L", "LA", "RGB", "RGBA"), quality=90, longest=16383),
    "tiff": Format("TIFF", (".tif", ".tiff"), ("L", "LA", "RGB", "RGBA", "CMYK"), deep=True),
    "avif": Format("AVIF", (".avif",), ("L", "LA", "RGB", "RGBA"), quality=80, longest=65535),
}
BY_SUFFIX: dict[str, FormatName] = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}
# Pillow's name of what is read -> suffixes of its files; MPO is a JPEG with further pictures behind the first.
READABLE: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
}
SUFFIXES = frozenset(suffix for suffixes in READABLE.values() for suffix in suffixes)
TIFF_BITS, TIFF_SAMPLE_FORMAT, TIFF_PHOTOMETRIC, TIFF_EXTRA, TIFF_XMP = 258, 339, 262, 338, 700


class ImageFileError(ValueError):
    """A file that cannot be read as an image or written as one; the message is one line for people."""


def read_picture(source: str | os.PathLike[str] | BinaryFile, *, name: str | None = None) -> Picture:
    """The picture in a file, upright (EXIF orientation applied), with its bit depth and its metadata.

    16-bit colour needs the extra "io16". Of an MPO (some phones' photographs) the first picture is taken.

    Args:
        source: a path, or an open binary file that can seek.
        name: what to call it in messages.

    Raises:
        ImageFileError: missing, empty, not an image, not what its suffix says, truncated, too large to be genuine,
            animated or of several pages, of a bit depth or mode that is not supported.
        ImportError: Pillow is absent, or pyvips where it is needed.
    """
    _pillow()  # without it nothing else matters
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


def format_of(path: str | os.PathLike[str]) -> FormatName:
    """The format that a file's name asks for.

    Raises:
        ImageFileError: an unknown suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in BY_SUFFIX:
        raise ImageFileError(
            f"cannot write {str(path)!r}: its name must end in {', '.join(sorted(BY_SUFFIX))}, or give the format."
        )
    return BY_SUFFIX[suffix]


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise ImageFileError unless a file can be written to `path`; to be called before hours of work, not after."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}.")
    if path.is_dir():
        raise ImageFileError(f"cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{str(path)!r} exists already; --overwrite replaces it.")
    if not os.access(path.parent, os.W_OK):
        raise ImageFileError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}.")


def fit(picture: Picture, format: FormatName, *, scale: int = 1) -> Picture:  # noqa: A002  # the word for it
    """The picture as `format` can hold it, `scale` times as large; to be called before the work.

    CMYK becomes sRGB where the format has no CMYK: by the profile, if there is one, and without one by
    255 (1 - ink)(1 - black). Nothing else is converted.

    Raises:
        ImageFileError: the format would lose opacity or bit depth, or is for smaller pictures. ImportError: it needs
            pyvips, which is absent.
    """
    can = FORMATS[format]
    others = "PNG or TIFF" if picture.bits == 16 else "PNG, TIFF, WebP or AVIF"
    longest = max(picture.width, picture.height) * scale
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
    if picture.mode == "CMYK" and "CMYK" not in can.modes:
        try:
            converted = from_pil(cmyk_to_srgb(to_pil(picture), picture.metadata.icc))
        except ValueError as error:
            raise ImageFileError(f"{can.pillow} cannot hold CMYK, and {error}: write TIFF or JPEG.") from error
        profile = srgb_profile() if picture.metadata.icc else None
        return replace(converted, metadata=replace(picture.metadata, icc=profile))
    if picture.mode not in can.modes:
        raise ImageFileError(f"{can.pillow} cannot hold transparency, which the picture has: write {others}.")
    return picture


def write_picture(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    format: FormatName | None = None,  # noqa: A002  # the word for it
    quality: int | None = None,
) -> None:
    """Write a picture with its metadata: whole, or not at all and what was there before untouched.

    Args:
        picture: what to write.
        path: where to; a file that is there is replaced.
        format: "png", "jpeg", "webp", "tiff" or "avif"; by default what the suffix says.
        quality: 1 to 100, of JPEG (95 unless told), WebP (90) and AVIF (80); the others are lossless.

    Raises:
        ImageFileError: the format cannot hold the picture, or the disk cannot hold the file.
    """
    name = format or format_of(path)
    picture = fit(picture, name)
    try:
        write_atomically(Path(path), lambda temporary: _save(picture, temporary, FORMATS[name], quality))
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def encode(picture: Picture, format: FormatName, quality: int | None = None) -> bytes:  # noqa: A002
    """The bytes of the file that `write_picture` would write."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        write_picture(picture, path, format=format, quality=quality)
        return path.read_bytes()


def write_png(image: "Image", path: str | os.PathLike[str]) -> None:
    """Save a PIL image as PNG with its colour profile: whole, or not at all and what was there before untouched."""
    picture = from_pil(image)
    write_picture(replace(picture, metadata=Metadata(icc=image.info.get("icc_profile"))), path, format="png")


def _read(file: BinaryFile, name: str, *, suffix: str) -> Picture:
    if not file.read(1):
        raise ImageFileError(f"cannot read {name}: it is empty.")
    file.seek(0)
    with _reasons(name), _open(file) as image:
        if suffix in SUFFIXES and suffix not in READABLE[image.format]:
            usual = READABLE[image.format][0]
            raise ImageFileError(
                f"cannot read {name}: its name ends in {suffix}, but it is {image.format}. Rename it to {usual}."
            )
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            kind = f"it has {frames} pages" if image.format == "TIFF" else f"it is animated ({frames} frames)"
            raise ImageFileError(f"cannot read {name}: {kind}; one picture a file is needed.")
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
def _reasons(name: str) -> Iterator[None]:
    """What Pillow and pyvips raise for bad files, as an ImageFileError.

    Their warnings are of two kinds: of damage, which is an error if it touches pixels, and of images that are large but
    below the limit (twice `Image.MAX_IMAGE_PIXELS`), which are welcome.
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
        # Pillow raises most of these for one kind of broken file or another
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


def _save(picture: Picture, path: Path, can: Format, quality: int | None) -> None:
    if picture.bits == 16 and picture.mode != "L":
        deep.write_deep(picture, path, can.pillow)
        return
    from PIL import PngImagePlugin

    metadata, image = picture.metadata, to_pil(picture)
    options: dict[str, Any] = {}
    if can.pillow == "PNG":
        chunks = PngImagePlugin.PngInfo()
        kept = (b"iCCP", b"pHYs", b"eXIf")
        for name, content in png_chunks(metadata, picture.width, picture.height):
            if name not in kept:
                chunks.add(name, content)
        options["pnginfo"] = chunks
    elif can.pillow == "TIFF":
        options["compression"] = "tiff_lzw" if picture.bits == 8 else "tiff_adobe_deflate"
        options["tiffinfo"] = {TIFF_XMP: metadata.xmp} if metadata.xmp else {}
    else:
        options["xmp"] = metadata.xmp
    if can.quality is not None:
        options["quality"] = quality or can.quality
    if can.pillow == "JPEG":
        options.update(subsampling=0, comment=metadata.comment)
    options.update(icc_profile=metadata.icc, dpi=metadata.dpi)
    tiff, unplaced = can.pillow == "TIFF", can.pillow in ("WEBP", "AVIF")
    exif = exif_for(metadata, picture.width, picture.height, with_dpi=unplaced, endian="<" if tiff else None)
    if not tiff:
        options["exif"] = exif
    with _Checked(io.FileIO(path, "r+")) as file:
        image.save(file, format=can.pillow, **{key: value for key, value in options.items() if value is not None})
    if tiff and exif:
        add_exif(path, exif)


class _Checked(io.BufferedRandom):
    """A file that Pillow writes to through Python: given a file's number it ignores what a full disk did not take."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
