"""Colour profiles: made from colour facts that only PNG or AVIF can state, and kept only where they fit the pixels."""

import io
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cclnn._files import BinaryFile
from cclnn.image.formats import FormatName
from cclnn.image.picture import Metadata, Picture, from_pil, to_pil

if TYPE_CHECKING:
    from PIL.Image import Image

D50 = (0.9642, 1.0, 0.8249)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D65 = (0.3127, 0.3290)
PRIMARIES = {  # code of ITU-T H.273 -> x, y of red, green, blue and white
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
}
BT709 = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)  # ICC's parameters g a b c d
CURVES: dict[int, tuple[float, ...]] = {  # code of ITU-T H.273 -> parameters; one alone is a gamma
    **dict.fromkeys((1, 6, 14, 15), BT709),
    **{4: (2.2,), 5: (2.8,), 8: (1.0,), 13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)},
}
SRGB = {(1, 13), (1, 1), (2, 2), (1, 2), (2, 13)}  # (primaries, transfer) that viewers take for sRGB
USUAL_GAMMA = range(45000, 46001)  # gAMA of about 1 / 2.2, which stands for sRGB
WITHOUT_GREY = ("webp", "avif")  # formats whose readers give RGB


def srgb_profile() -> bytes:
    """The ICC profile of sRGB."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def matrix_profile(primaries: tuple[float, ...], curve: tuple[float, ...]) -> bytes:
    """An RGB profile of three primaries and a white (x, y each) and one curve (parameters of ICC's type 0 or 3)."""
    xy = np.array(primaries, dtype=float).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])
    to_xyz = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    cones = (BRADFORD @ np.array(D50)) / (BRADFORD @ xyz[:, 3])
    adapt = np.linalg.solve(BRADFORD, cones[:, None] * BRADFORD)
    columns = (adapt @ to_xyz).T

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(x * 65536) for x in values))

    def text(words: str) -> bytes:
        body = words.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(body), 28) + body

    tone = b"para" + bytes(4) + struct.pack(">HH", 3 if len(curve) == 5 else 0, 0) + fixed(*curve)
    tags = {
        b"desc": text("RGB"),
        b"cprt": text("No copyright"),
        b"wtpt": b"XYZ " + bytes(4) + fixed(*D50),
        b"chad": b"sf32" + bytes(4) + fixed(*adapt.ravel()),
        **{name: b"XYZ " + bytes(4) + fixed(*columns[i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kinds = b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    size = struct.pack(">I4sI", 128 + len(table) + len(body), bytes(4), 0x04200000)
    return (size + kinds).ljust(128, b"\0") + table + body


def cicp_of_avif(file: BinaryFile) -> tuple[int, int] | None:
    """(primaries, transfer) of an AVIF's colour box, nclx."""
    file.seek(0)
    head = file.read(2**16)
    at = head.find(b"colrnclx")
    return struct.unpack_from(">HH", head, at + 8) if 0 <= at <= len(head) - 12 else None


def with_fitting_colour(picture: Picture, format: FormatName) -> tuple[Picture, list[str]]:  # noqa: A002
    """(the picture with a profile that fits its pixels in `format`, names of what colour facts are lost)."""
    icc, grey = picture.metadata.icc, picture.mode in ("L", "LA")
    if icc is None:
        metadata, lost = _stated_otherwise(picture.metadata, format)
        return replace(picture, metadata=metadata), lost
    space = icc[16:20]
    if grey and space == b"GRAY" and format in WITHOUT_GREY:
        return _grey_to_srgb(picture, icc)
    fits = space == b"CMYK" if picture.mode == "CMYK" else space == b"RGB " or (grey and space == b"GRAY")
    if fits:
        return picture, []
    name = space.decode("latin-1").strip()
    return replace(picture, metadata=replace(picture.metadata, icc=None)), [f"a colour profile for {name} pixels"]


def _stated_otherwise(metadata: Metadata, format: FormatName) -> tuple[Metadata, list[str]]:  # noqa: A002
    """Colour that PNG chunks or AVIF's nclx state, as a profile where `format` holds no such facts."""
    chunks = dict(metadata.chunks)
    stated = metadata.cicp or (tuple(chunks[b"cICP"][:2]) if len(chunks.get(b"cICP", b"")) == 4 else None)
    if format == "png" and not metadata.cicp:
        return metadata, []
    if stated and stated not in SRGB:
        primaries, curve = PRIMARIES.get(stated[0]), CURVES.get(stated[1])
        if primaries and curve:
            return replace(metadata, icc=matrix_profile(primaries, curve)), []
        if format == "png":
            chunk = (b"cICP", bytes((*stated, 0, 1)))
            return replace(metadata, chunks=(chunk, *metadata.chunks)), []
        return metadata, [f"colour of the kind cICP {stated[0]}, {stated[1]}, such as HDR"]
    if stated or b"sRGB" in chunks or len(chunks.get(b"gAMA", b"")) != 4:
        return metadata, []
    (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
    points = chunks.get(b"cHRM", b"")
    if len(points) == 32:
        values = [x / 1e5 for x in struct.unpack(">8I", points)]
        primaries = (*values[2:], *values[:2])
        usual = np.allclose(primaries, PRIMARIES[1], atol=2e-3)
    else:
        primaries, usual = PRIMARIES[1], True
    if (gamma in USUAL_GAMMA and usual) or not gamma or 0 in primaries[1::2]:
        return metadata, []
    return replace(metadata, icc=matrix_profile(primaries, (1e5 / gamma,))), []


def _grey_to_srgb(picture: Picture, icc: bytes) -> tuple[Picture, list[str]]:
    """Grey pixels by their profile as sRGB."""
    from PIL import Image, ImageCms

    plain = to_pil(replace(picture, pixels=picture.pixels[..., :1], mode="L"))
    try:
        colour = ImageCms.profileToProfile(plain, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return replace(picture, metadata=replace(picture.metadata, icc=None)), ["a damaged colour profile"]
    assert colour is not None  # it is None only for a conversion in place
    if picture.mode == "LA":
        colour = colour.convert("RGBA")
        colour.putalpha(Image.fromarray(np.ascontiguousarray(picture.pixels[..., 1])))
    converted = from_pil(colour)
    return replace(converted, metadata=replace(picture.metadata, icc=srgb_profile())), []


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
