"""Metadata: read through Pillow, and prepared for the file to be written."""

import io
import math
import re
from typing import TYPE_CHECKING, Any, Literal

from cclnn._files import BinaryFile
from cclnn.image import png
from cclnn.image.picture import Metadata

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

ORIENTATION, EXIF_IFD, WIDTH, HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
PER_INCH = {2: 1.0, 3: 2.54}  # by EXIF's unit of resolution
LAYOUT_TAGS = (  # a TIFF's tags on how it stores its pixels, beside the EXIF tags; ICC and XMP are kept apart
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, ORIENTATION, 277, 278, 279, 280, 281, X_RESOLUTION),
    *(Y_RESOLUTION, 284, 288, 289, 290, 291, RESOLUTION_UNIT, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325),
    *(330, 332, 333, 334, 336, 338, 339, 340, 341, 342, 347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532, 700),
    *(34377, 34675, 37724),
)


def read_metadata(image: "Image", file: BinaryFile) -> tuple[Metadata, int]:
    """(metadata, orientation) of an image that Pillow has opened (a PNG: also loaded) from `file`."""
    info = image.info
    exif = image.getexif()
    orientation = exif.get(ORIENTATION, 1)
    dpi = _dpi(info.get("dpi") or _exif_dpi(exif))
    for tag in LAYOUT_TAGS:
        exif.pop(tag, None)
    xmp, comment = info.get("xmp"), info.get("comment")
    metadata = Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif.tobytes() if _says_something(exif) else None,
        xmp=_upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp) if xmp else None,
        dpi=dpi,
        comment=comment if isinstance(comment, bytes) and image.format in ("JPEG", "MPO") else None,
        chunks=tuple(png.read_chunks(file)) if image.format == "PNG" else (),
    )
    return metadata, orientation if isinstance(orientation, int) else 1


def exif_for(
    metadata: Metadata, width: int, height: int, *, with_dpi: bool = False, endian: Literal["<", ">"] | None = None
) -> bytes | None:
    """The EXIF block for a picture of that size, None if it would be empty.

    Args:
        metadata: the picture's metadata.
        width: the picture's width, written where the block has such a tag.
        height: the picture's height, likewise.
        with_dpi: add the resolution, for formats that have no other place for it.
        endian: byte order of the result; by default the block's own.
    """
    dpi = metadata.dpi if with_dpi else None
    if metadata.exif is None and dpi is None:
        return None
    exif = parse_exif(metadata.exif or b"")
    if dpi:
        exif[X_RESOLUTION], exif[Y_RESOLUTION], exif[RESOLUTION_UNIT] = *dpi, 2
    exif.endian = endian or exif.endian
    details = exif.get_ifd(EXIF_IFD)
    for tag, size in ((WIDTH, width), (HEIGHT, height)):
        if tag in details:
            details[tag] = size
    return exif.tobytes()


def png_chunks(metadata: Metadata, width: int, height: int) -> list[png.Chunk]:
    """The metadata as chunks for a PNG of that size."""
    kept = [chunk for chunk in metadata.chunks if not (metadata.icc and chunk[0] == b"sRGB")]
    colour = [chunk for chunk in kept if chunk[0] in png.COLOUR]
    text = [chunk for chunk in kept if chunk[0] in png.TEXT]
    exif = exif_for(metadata, width, height)
    return [
        *([png.profile_chunk(metadata.icc)] if metadata.icc else []),
        *colour,
        *([png.resolution_chunk(metadata.dpi)] if metadata.dpi else []),
        *([(b"eXIf", exif.removeprefix(b"Exif\0\0"))] if exif else []),
        *([png.comment_chunk(metadata.comment)] if metadata.comment else []),
        *([png.xmp_chunk(metadata.xmp)] if metadata.xmp and not any(b"adobe.xmp" in x[:30] for _, x in text) else []),
        *text,
    ]


def parse_exif(block: bytes) -> "Exif":
    """Pillow's view of an EXIF block."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(block)
    return exif


def _dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return (across, down) if across > 0 and down > 0 and across + down < math.inf else None


def _exif_dpi(exif: "Exif") -> tuple[float, float] | None:
    per_inch = PER_INCH.get(exif.get(RESOLUTION_UNIT, 2))
    dpi = _dpi((exif.get(X_RESOLUTION), exif.get(Y_RESOLUTION)))
    return (dpi[0] * per_inch, dpi[1] * per_inch) if dpi and per_inch else None


def _says_something(exif: "Exif") -> bool:
    return bool(dict(exif)) and any(dict(exif.get_ifd(tag)) if tag in (EXIF_IFD, 0x8825) else True for tag in exif)


def _upright_xmp(xmp: bytes) -> bytes:
    """XMP with a neutral orientation, which it may repeat."""
    return re.sub(rb'(tiff:Orientation(?:="|>))\d', rb"\g<1>1", xmp)


def srgb_profile() -> bytes:
    """The ICC profile of sRGB."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def cmyk_to_srgb(image: "Image", profile: bytes | None) -> "Image":
    """CMYK to RGB: by its profile (relative colorimetric, black point compensated), or 255 (1 - ink)(1 - black).

    Raises:
        ValueError: the profile is damaged or describes other colours.
    """
    from PIL import ImageCms

    if profile is None:
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            image,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError("the picture's colour profile is damaged or not one of CMYK") from error
    assert converted is not None  # it is None only for a conversion in place
    return converted
