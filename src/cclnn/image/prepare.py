"""Metadata as the file to be written holds them: sizes set, and what the format does not hold named."""

from dataclasses import replace

from cclnn.image import exif, jpeg, png, tiff, xmp
from cclnn.image.exif_tree import Tree, build, movable, read_tree
from cclnn.image.formats import FormatName
from cclnn.image.metadata import HIGHEST_DPI
from cclnn.image.picture import Metadata

LARGEST_PROFILE = 2**20  # bytes of a profile that Pillow reads from a PNG


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
