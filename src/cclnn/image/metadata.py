"""Metadata: gathered from each kind of file, made neutral, and prepared for the file to be written.

Metadata never cost the picture: what cannot be carried is dropped and named in a `MetadataWarning`.
"""

import math
import struct
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cclnn._files import BinaryFile
from cclnn.image import exif, jpeg, png, tiff, xmp
from cclnn.image.exif_tree import Tree, build, movable, read_tree
from cclnn.image.formats import FormatName, MetadataWarning
from cclnn.image.picture import Metadata
from cclnn.image.profiles import cicp_of_avif

if TYPE_CHECKING:
    from PIL.Image import Exif

HIGHEST_DPI = 65535  # what JPEG holds
GENERATED = (b"<?xml", b"<OME", b"ImageJ=")  # beginnings of descriptions by programs, which state the old size
SHAPE = b'{"shape":'  # tifffile's, which states nothing else
LARGEST_PROFILE = 2**20  # bytes of a profile that Pillow reads from a PNG


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
        dpi=image.info.get("dpi"),
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
        dpi=info.get("dpi"),
        cicp=cicp_of_avif(file) if image.format == "AVIF" else None,
        lossless=image.format == "WEBP" and _is_lossless(file),
    )


def _is_lossless(file: BinaryFile) -> bool:
    """Whether a WebP of one picture is of the lossless kind."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        file.seek(length + length % 2, 1)
    return False


def prepared(metadata: Metadata, format: FormatName, width: int, height: int) -> tuple[Metadata, list[str]]:  # noqa: A002
    """(the metadata as `format` holds them for a picture of that size, names of what it does not hold)."""
    lost: list[str] = []
    packet = metadata.xmp
    block = _exif_for(metadata, format, width, height, lost)
    if packet and metadata.size:
        packet = xmp.resized(packet, metadata.size, (width, height))
    if packet and format == "jpeg" and len(packet) > jpeg.LONGEST - len(jpeg.XMP):
        packet = None
        lost.append(f"XMP of more than {jpeg.LONGEST // 1024} KB")
    icc = metadata.icc
    if icc and format == "png" and len(icc) > LARGEST_PROFILE:
        icc = None
        lost.append("a colour profile of more than 1 MB, which few programs read from a PNG")
    chunks = metadata.chunks
    if format != "png":
        texts = [png.keyword(chunk) for chunk in chunks if chunk[0] in png.TEXT]
        chunks = ()
        lost += [f"text {', '.join(texts)}"] if texts else []
    comment = metadata.comment
    if comment and format not in ("jpeg", "png"):
        comment = None
        lost.append("the comment")
    iptc = metadata.iptc
    if iptc and (format not in ("jpeg", "tiff") or (format == "jpeg" and len(iptc) > jpeg.LONGEST - 40)):
        iptc = None
        lost.append("IPTC")
    aspect = metadata.aspect
    if aspect and (format not in ("jpeg", "png") or (format == "jpeg" and max(aspect) > HIGHEST_DPI)):
        aspect = None
        lost.append("the pixels' aspect ratio")
    new = replace(metadata, icc=icc, exif=block, xmp=packet, chunks=chunks, comment=comment, iptc=iptc, aspect=aspect)
    return new, lost


def _exif_for(metadata: Metadata, format: FormatName, width: int, height: int, lost: list[str]) -> bytes | None:  # noqa: A002
    block = metadata.exif and metadata.exif.removeprefix(jpeg.EXIF)  # which Pillow puts before it
    if block is not None:
        block = exif.with_size(block, width, height)
        if format == "tiff":
            tree = read_tree(block)
            if metadata.size:
                tree = tiff.scaled(tree, width / metadata.size[0], height / metadata.size[1])
            tree, without = movable(tree)
            lost += without
            block = build(tree)
        else:
            tags = {x.tag for x in exif.directory(block, exif.root(block))[0]}
            if tags & set(tiff.GEO):
                block = exif.without(block, tiff.GEO)
                lost.append("the position of a GeoTIFF")
        if format == "jpeg":
            block = _short(block, lost)
    if format in ("webp", "avif") and metadata.dpi and not (block and exif.resolution(block)):
        block = block or build(Tree("<", (), {}))
        block = exif.with_entries(block, exif.resolution_entries(metadata.dpi, exif.byte_order(block)))
    return block if block and exif.directory(block, exif.root(block))[0] else None


def _short(block: bytes, lost: list[str]) -> bytes:
    """A block that fits into a JPEG: the largest tags go until it does."""
    limit = jpeg.LONGEST - len(jpeg.EXIF)
    if len(block) <= limit:
        return block
    tree, without = movable(read_tree(block))
    lost += without
    while len(block := build(tree)) > limit:
        tables = {0: tree.first, **tree.below}
        table, largest = max(
            ((key, entry) for key, entries in tables.items() for entry in entries), key=lambda x: len(x[1].data)
        )
        lost.append(f"EXIF tag {largest.tag:#06x} of {len(largest.data)} bytes")
        tables[table] = tuple(x for x in tables[table] if x is not largest)
        tree = Tree(tree.order, tables.pop(0), tables)
    return block


def png_chunks(metadata: Metadata) -> list[png.Chunk]:
    """Prepared metadata as the chunks of a PNG."""
    colour = [x for x in metadata.chunks if x[0] in png.COLOUR and not (metadata.icc and x[0] == b"sRGB")]
    density = [png.aspect_chunk(metadata.aspect)] if metadata.aspect else []
    density = [png.resolution_chunk(metadata.dpi)] if metadata.dpi else density
    return [
        *([png.profile_chunk(metadata.icc)] if metadata.icc else []),
        *colour,
        *density,
        *([(b"eXIf", metadata.exif)] if metadata.exif else []),
        *([png.comment_chunk(metadata.comment)] if metadata.comment else []),
        *([png.xmp_chunk(metadata.xmp)] if metadata.xmp else []),
        *(x for x in metadata.chunks if x[0] in png.TEXT),
    ]


def tiff_tags(metadata: Metadata) -> tuple[Tree, list[exif.Entry]]:
    """Prepared metadata as the tags of a TIFF: (EXIF's, others)."""
    tree = read_tree(metadata.exif) if metadata.exif else Tree("<", (), {})
    others = [exif.Entry(tiff.IPTC, 7, len(metadata.iptc), metadata.iptc)] if metadata.iptc else []
    return tree, others


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
