"""A picture in memory: pixels of 8 or 16 bits, the meaning of its channels, and the metadata of its file."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cclnn.image.formats import Mode

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = npt.NDArray[Any]  # h w c, uint8 or uint16


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture, apart from the pixels.

    icc:     colour profile
    exif:    EXIF block (a TIFF header and directories), as the file holds it but for orientation and thumbnail
    xmp:     XMP packet, its orientation neutral
    iptc:    IPTC block
    dpi:     pixels per inch, horizontally and vertically
    aspect:  pixels per unit, horizontally and vertically, where the unit is not known
    comment: a JPEG's comment
    chunks:  (name, content) of each text and colour-space chunk of a PNG
    cicp:    codes of colour primaries and transfer function (ITU-T H.273) of an AVIF
    lossless: whether a WebP holds its picture without loss
    size:    width and height of the picture that the metadata describe
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[int, int] | None = None
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    cicp: tuple[int, int] | None = None
    lossless: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Picture:
    """pixels: h w c, uint8 or uint16, opacity last and not multiplied in;  mode: the meaning of the c channels."""

    pixels: Pixels
    mode: Mode
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def bits(self) -> int:
        """8 or 16, per channel."""
        return self.pixels.dtype.itemsize * 8

    @property
    def width(self) -> int:
        """Pixels per row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    def with_pixels(self, pixels: Pixels) -> "Picture":
        """Other pixels of the same meaning, any size."""
        return replace(self, pixels=pixels)


def from_pil(image: "Image") -> Picture:
    """The pixels of a PIL image, without metadata; `to_computable` says how each mode is read."""
    image = to_computable(image)
    mode: Any = "L" if image.mode.startswith("I") else image.mode
    pixels = np.asarray(image)
    if image.mode.startswith("I"):
        pixels = pixels.astype(np.uint16)
    return Picture(pixels.reshape(image.height, image.width, -1), mode)


def to_pil(picture: Picture) -> "Image":
    """The picture as a PIL image, without metadata: mode L, LA, RGB, RGBA, CMYK or, for 16-bit grey, I;16.

    Raises:
        ValueError: 16-bit colour or opacity, which Pillow cannot hold.
    """
    from PIL import Image

    mode: str = picture.mode
    if picture.bits == 16:
        if picture.mode != "L":
            raise ValueError(f"a PIL image cannot hold 16-bit {picture.mode}; it holds 16-bit grey and 8-bit colour.")
        mode = "I;16"
    pixels = np.ascontiguousarray(picture.pixels)
    return Image.frombuffer(mode, (picture.width, picture.height), pixels, "raw", mode, 0, 1)


def to_computable(image: "Image") -> "Image":
    """Convert a PIL image to one of the modes that networks take: L, LA, RGB, RGBA, CMYK and, for 16-bit grey, I;16.

    1 becomes L; P and PA become RGB, or RGBA where something is transparent; RGB and L with one transparent colour
    become RGBA and LA; RGBX, YCbCr, LAB and HSV become RGB; RGBa and La (opacity multiplied in) become RGBA and LA.

    Raises:
        ValueError: I or F, whose white is not known, or an unknown mode.
    """
    transparent = "transparency" in image.info
    match image.mode:
        case "LA" | "RGBA" | "CMYK" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return image
        case "1":
            return image.convert("L")
        case "L":
            return image.convert("LA") if transparent else image
        case "RGB":
            return image.convert("RGBA") if transparent else image
        case "P":
            palette = image.palette.mode if image.palette else "RGB"
            return image.convert("RGBA" if transparent or palette.endswith("A") else "RGB")
        case "PA" | "RGBa":
            return image.convert("RGBA")
        case "La":
            return image.convert("LA")
        case "RGBX" | "YCbCr" | "HSV":
            return image.convert("RGB")
        case "LAB":
            return _lab_to_rgb(image)
    raise ValueError(
        f"`image` must have mode 1, L, LA, P, PA, RGB, RGBA, CMYK or I;16 (or one that Pillow converts to RGB), "
        f"got {image.mode}. Convert it first."
    )


def _lab_to_rgb(image: "Image") -> "Image":
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # it is None only for a conversion in place
    return converted


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF orientation -> upright, on h w c
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels (h w c) turned and mirrored as an EXIF orientation (1 to 8) asks; others leave them as they are."""
    return np.ascontiguousarray(_TURNS.get(orientation, _TURNS[1])(pixels))
