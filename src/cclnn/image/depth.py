"""Bits per channel, which Pillow does not tell, by the file's own header."""

from typing import Any

from cclnn._files import BinaryFile
from cclnn.image import png
from cclnn.image.formats import ImageFileError

TIFF_BITS, TIFF_SAMPLE_FORMAT, TIFF_PHOTOMETRIC, TIFF_EXTRA = 258, 339, 262, 338  # tag numbers


def is_deep_colour(image: Any, file: BinaryFile, name: str) -> bool:
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
