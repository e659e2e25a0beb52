"""HEIC, the photographs of many phones. Needs the extra "heif" (pillow-heif)."""

from typing import Any

import numpy as np

from cclnn._files import BinaryFile
from cclnn.image import metadata
from cclnn.image.formats import CHANNELS, Mode, check_pixels
from cclnn.image.picture import Pixels

MODES: dict[str, Mode] = {"L": "L", "I": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"}  # pillow-heif's -> ours


def read_heic(file: BinaryFile, max_pixels: int | None, name: str) -> tuple[metadata.Found, Pixels, Mode]:
    """Metadata, upright pixels (h w c, uint8, or uint16 of 10 or 12 bits) and mode of a HEIC's first picture.

    The first picture is the one that the file names so; gain maps, depth maps and thumbnails are left out.

    Raises:
        ImageFileError: it has more than `max_pixels`.
        ValueError or another exception of pillow-heif: the file is damaged.
        PIL.Image.DecompressionBombError: it has more pixels than Pillow would read.
    """
    import pillow_heif
    from PIL import Image

    container: Any = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    picture = container[container.primary_index]
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and picture.size[0] * picture.size[1] > 2 * limit:
        raise Image.DecompressionBombError
    width, height = picture.size
    check_pixels(width, height, max_pixels, name)
    mode = MODES.get(picture.mode.partition(";")[0])
    if mode is None:
        raise ValueError(f"its mode {picture.mode} is not supported")
    pixels = np.asarray(picture)
    pixels = pixels.reshape(*pixels.shape[:2], CHANNELS[mode])
    return metadata.of_heic(picture.info), _full_range(pixels, picture.info["bit_depth"]), mode


def _full_range(pixels: Pixels, bits: int) -> Pixels:
    """Numbers of more than 8 bits as 16 bits, white to white."""
    if pixels.dtype == np.uint8:
        return pixels
    white = 2**bits - 1
    scaled: Pixels = (pixels.astype(np.uint32) * 65535 + white // 2) // white
    return scaled.astype(np.uint16)
