"""16-bit colour and 16-bit grey with opacity, which Pillow reduces to 8 bits. Needs the extra "io16" (pyvips)."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from cclnn._files import BinaryFile
from cclnn.image import png
from cclnn.image.formats import CHANNELS, UNCONVERTED, Mode
from cclnn.image.picture import Picture, Pixels
from cclnn.image.prepare import png_chunks, tiff_tags
from cclnn.image.tiff import add_tags

NEEDED = 'needs pyvips: pip install "cclnn[io16]"'
BY_CHANNELS: dict[int, Mode] = {CHANNELS[mode]: mode for mode in UNCONVERTED}


def vips() -> Any:
    """The pyvips module.

    Raises:
        ImportError: pyvips or the library libvips is not installed.
    """
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ImportError(f"16-bit colour {NEEDED}") from error
    logging.getLogger("pyvips").addHandler(logging.NullHandler())  # its errors are raised, too
    return pyvips


def read_deep(file: BinaryFile, page: int = 0) -> tuple[Pixels, Mode]:
    """Pixels (h w c, uint16) and mode of a 16-bit PNG or of a page (from 0) of a 16-bit TIFF.

    Raises:
        ImportError: pyvips is not installed. OSError: the file is damaged. ValueError: it holds other channels.
    """
    pyvips = vips()
    file.seek(0)
    try:
        of_page = {"page": page} if page else {}
        image = pyvips.Image.new_from_buffer(file.read(), "", fail_on="error", access="sequential", **of_page)
        pixels: Pixels = image.numpy()
    except pyvips.Error as error:
        raise OSError(_one_line(error)) from error
    pixels = pixels.reshape(image.height, image.width, -1)
    if pixels.dtype != np.uint16 or pixels.shape[2] not in BY_CHANNELS or image.interpretation == "cmyk":
        raise ValueError(f"it holds {pixels.shape[2]} channels of {pixels.dtype} in {image.interpretation}")
    return pixels, BY_CHANNELS[pixels.shape[2]]


def write_deep(picture: Picture, path: Path, format_name: str) -> None:
    """Write 16-bit pixels and prepared metadata as PNG or TIFF.

    Raises:
        ImportError: pyvips is not installed. OSError: the disk cannot hold the file.
    """
    pyvips = vips()
    pixels = np.ascontiguousarray(picture.pixels)
    image = pyvips.Image.new_from_memory(pixels, picture.width, picture.height, CHANNELS[picture.mode], "ushort").copy(
        interpretation="grey16" if picture.mode in ("L", "LA") else "rgb16"
    )
    try:
        if format_name == "PNG":
            _write_png(picture, image, path)
        else:
            _write_tiff(picture, image, path, pyvips)
    except pyvips.Error as error:
        raise OSError(_one_line(error)) from error


def _write_png(picture: Picture, image: Any, path: Path) -> None:
    bare = path.with_name(path.name + ".pixels")
    try:
        image.pngsave(str(bare), compression=6, filter="up", keep="none")
        png.rewrite(bare, path, png_chunks(picture.metadata))
    finally:
        bare.unlink(missing_ok=True)


def _write_tiff(picture: Picture, image: Any, path: Path, pyvips: Any) -> None:
    metadata = picture.metadata
    if metadata.dpi:
        image = image.copy(xres=metadata.dpi[0] / 25.4, yres=metadata.dpi[1] / 25.4)
        image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    for name, block in (("icc-profile-data", metadata.icc), ("xmp-data", metadata.xmp)):
        if block:
            image.set_type(pyvips.GValue.blob_type, name, block)
    image.tiffsave(str(path), compression="deflate", predictor="horizontal")
    add_tags(path, *tiff_tags(metadata))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
