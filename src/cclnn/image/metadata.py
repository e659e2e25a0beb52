"""Metadata, gathered from each kind of file and made neutral: orientation applied, what is no longer true removed.

Metadata never cost the picture: what cannot be carried is dropped and named in a `MetadataWarning`.
"""

import math
import struct
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cclnn._files import BinaryFile
from cclnn.image import exif, jpeg, png, tiff, xmp
from cclnn.image.exif_tree import Tree, build, movable
from cclnn.image.formats import MetadataWarning
from cclnn.image.picture import Metadata
from cclnn.image.profiles import cicp_of_avif

if TYPE_CHECKING:
    from PIL.Image import Exif

HIGHEST_DPI = 65535  # what JPEG holds
GENERATED = (b"<?xml", b"<OME", b"ImageJ=")  # beginnings of descriptions by programs, which state the old size
SHAPE = b'{"shape":'  # tifffile's, which states nothing else


@dataclass
class Found:
    """Metadata as a file holds them, and the names of what cannot be carried."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[int, int] | None = None
    comment: bytes | None = None
    chunks: tuple[png.Chunk, ...] = ()
    orientation: int | None = None
    cicp: tuple[int, int] | None = None
    lossless: bool = False
    lost: list[str] = field(default_factory=list)

    def settle(self, name: str) -> tuple[Metadata, int]:
        """(metadata without orientation or what is no longer true, the orientation to apply); warns of losses."""
        turned = self.orientation
        block, packet = self.exif, self.xmp
        if block is not None:
            block = block.removeprefix(jpeg.EXIF)
            if turned is None and exif.find(block, exif.ORIENTATION):
                turned = exif.orientation(block)
            self.dpi = self.dpi or exif.resolution(block)
            block, lost = exif.neutral(block)
            self.lost += lost
        if packet is not None:
            by_xmp, packet, lost = xmp.neutral(packet)
            turned = by_xmp if turned is None else turned
            self.lost += lost
        turned = 1 if turned is None else turned
        aspect = self.aspect if self.aspect is None or turned < 5 else self.aspect[::-1]
        metadata = Metadata(
            icc=self.icc or None,
            exif=block,
            xmp=packet,
            iptc=self.iptc,
            dpi=_sound(self.dpi),
            aspect=aspect,
            comment=self.comment or None,
            chunks=self.chunks,
            cicp=self.cicp,
            lossless=self.lossless,
        )
        tell(name, self.lost)
        return metadata, turned


def tell(name: str, lost: list[str]) -> None:
    """Warn, once a file, of metadata that are not carried over."""
    if lost:
        unique = ", ".join(dict.fromkeys(lost))
        warnings.warn(f"{name}: not carried over: {unique}.", MetadataWarning, stacklevel=2)


def of_jpeg(parts: jpeg.Parts) -> Found:
    """The metadata of a JPEG."""
    dpi, aspect = None, None
    if parts.density:
        unit, across, down = parts.density
        if unit in (1, 2):
            dpi = (across * (1, 2.54)[unit - 1], down * (1, 2.54)[unit - 1])
        elif across and down and across != down:
            aspect = (across, down)
    lost = ["extended XMP"] if parts.extended_xmp and not parts.xmp else []
    return Found(parts.icc, parts.exif, parts.xmp, parts.iptc, dpi, aspect, parts.comment, lost=lost)


def of_png(parts: png.Parts) -> Found:
    """The metadata of a PNG."""
    dpi, aspect = None, None
    if parts.density:
        across, down, unit = parts.density
        if unit == 1:
            dpi = (across * png.PER_METRE, down * png.PER_METRE)
        elif across and down and across != down:
            aspect = (across, down)
    iptc = jpeg.iptc_of(parts.iptc) if parts.iptc else None
    chunks = tuple(parts.chunks)
    return Found(parts.icc, parts.exif, parts.xmp, iptc, dpi, aspect, chunks=chunks, lost=parts.lost)


def of_tiff(image: Any, file: BinaryFile, page: int) -> Found:
    """The metadata of a TIFF page that Pillow has opened."""
    try:
        tree, own, lost = tiff.read_tags(file, page)
    except (struct.error, ValueError) as error:
        return Found(lost=[f"TIFF tags ({error})"])
    kept = []
    for entry in tree.first:
        text = entry.data.strip(b"\0 \n") if entry.tag == tiff.DESCRIPTION else None
        if text is not None and text.startswith(GENERATED):
            lost.append("a program's description, which states the old size")
        elif text is None or not (text == b"" or text.startswith(SHAPE)):
            kept.append(entry)
    tree, without = movable(Tree(tree.order, tuple(kept), tree.below))
    values = {tag: own[tag].data for tag in (tiff.PROFILE, tiff.XMP, tiff.IPTC, tiff.PHOTOSHOP) if tag in own}
    iptc = jpeg.iptc_of(values.get(tiff.PHOTOSHOP, b"")) or values.get(tiff.IPTC)
    turned = exif.orientation(build(Tree(tree.order, tuple(x for x in own.values() if x.tag == tiff.ORIENTATION), {})))
    return Found(
        icc=values.get(tiff.PROFILE),
        exif=build(tree) if tree.first or any(tree.below.values()) else None,
        xmp=values.get(tiff.XMP),
        iptc=iptc,
        dpi=_sound(image.info.get("dpi")),
        orientation=turned if tiff.ORIENTATION in own else None,
        lost=lost + without,
    )


def of_others(image: Any, file: BinaryFile) -> Found:
    """The metadata of an image of another format, as Pillow hands out their bytes."""
    info = image.info
    packet = info.get("xmp")
    return Found(
        icc=info.get("icc_profile"),
        exif=info.get("exif"),
        xmp=packet.encode() if isinstance(packet, str) else packet,
        dpi=_sound(info.get("dpi")),
        cicp=cicp_of_avif(file) if image.format == "AVIF" else None,
        lossless=image.format == "WEBP" and _is_lossless(file),
    )


def of_heic(info: dict[str, Any]) -> Found:
    """The metadata of a HEIC as pillow-heif hands them out, where EXIF and XMP do not turn the picture."""
    colour, shape, packet = info.get("nclx_profile"), info.get("pixel_aspect_ratio"), info.get("xmp")
    hdr = ("content_light_level", "mastering_display_colour_volume")
    return Found(
        icc=info.get("icc_profile"),
        exif=info.get("exif"),
        xmp=packet.rstrip(b"\0") if packet else None,
        aspect=(shape[1], shape[0]) if shape and shape[0] != shape[1] else None,
        orientation=1,
        cicp=(colour["color_primaries"], colour["transfer_characteristics"]) if colour else None,
        lost=[name.replace("_", " ") for name in hdr if name in info],
    )


def _is_lossless(file: BinaryFile) -> bool:
    """Whether a WebP, or the first frame of an animated one, is of the lossless kind."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"ANMF":
            length = 16  # the frame's own chunks follow
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        file.seek(length + length % 2, 1)
    return False


def parse_exif(block: bytes) -> "Exif":
    """Pillow's view of an EXIF block."""
    from PIL import Image

    parsed = Image.Exif()
    parsed.load(block)
    return parsed


def _sound(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    sound = across > 0 and down > 0 and math.isfinite(across + down) and max(across, down) <= HIGHEST_DPI
    return (across, down) if sound else None
