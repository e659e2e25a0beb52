"""One file of every mode and format, with all the metadata that the format can carry; written by other code than ours.

8 bits by Pillow, 16 bits of colour by pyvips (pixels) and by hand (chunks), so that readers are tested against writers
that they do not share.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

HEIGHT, WIDTH = 19, 27
DPI = (300.0, 240.0)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CAMERA, EXPOSURE = "A camera", IFDRational(1, 60)


def _cmyk_profile():
    """A profile of imaginary inks: Lab at the 16 corners of the cube of CMYK, linear between them."""
    lab = {0: (100, 0, 0), 1: (60, -40, -45), 2: (50, 70, 0), 4: (90, -5, 90)}  # paper, cyan, magenta, yellow
    corners = []
    for ink in np.ndindex(2, 2, 2, 2):  # cyan slowest
        parts = [lab[1 << i] for i in range(3) if ink[i]] or [lab[0]]
        light = 0 if ink[3] else min(part[0] for part in parts) / len(parts)
        a, b = (0, 0) if ink[3] else np.mean([part[1:] for part in parts], axis=0)
        corners += [round(light * 2.55), round(a) + 128, round(b) + 128]
    line = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + line * 4 + bytes(corners) + line * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"inks\0\0\0\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78 + 1)
    tags, body = [(b"A2B0", table), (b"wtpt", white), (b"cprt", text), (b"desc", description)], b""
    directory, position = struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, content in tags:
        content += bytes(-len(content) % 4)
        directory += name + struct.pack(">II", position + len(body), len(content))
        body += content
    kinds = b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I4sI", 128 + len(directory + body), bytes(4), 0x02400000) + kinds
    return header.ljust(128, b"\0") + directory + body


INKS = _cmyk_profile()
TEXT = {"Title": "Grüße", "Author": "nobody"}


def pixels(channels, bits=8, *, height=HEIGHT, width=WIDTH):
    """A smooth picture with every channel different, opacity never 0."""
    rows, cols, c = np.mgrid[:height, :width, :channels]
    values = 0.5 + 0.4 * np.sin(rows / 5 + c) * np.cos(cols / 7 - 2 * c)
    return np.round(values * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def exif(orientation=None):
    block = Image.Exif()
    block[0x010F] = CAMERA
    details = block.get_ifd(0x8769)
    details[0x829A], details[0xA002], details[0xA003] = EXPOSURE, WIDTH, HEIGHT
    block.get_ifd(0x8825)[1] = "N"
    if orientation:
        block[0x0112] = orientation
    return block


def png(array, path, *, chunks=()):
    """A PNG of any depth, filter none, written from the specification."""
    height, width, channels = array.shape
    depth, kind = array.dtype.itemsize * 8, {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = array.astype(f">u{array.dtype.itemsize}").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))


def png_metadata(orientation=None):
    """Chunks of everything that a PNG can say."""
    per_metre = [round(x / 0.0254) for x in DPI]
    return [
        (b"iCCP", b"name\0\0" + zlib.compress(ICC)),
        (b"pHYs", struct.pack(">IIB", *per_metre, 1)),
        (b"eXIf", exif(orientation).tobytes()[6:]),
        *((b"iTXt", key.encode() + b"\0\0\0\0\0" + value.encode()) for key, value in TEXT.items()),
    ]


@dataclass(frozen=True)
class Animal:
    """A file: its name, mode and bits, what of DPI and text it carries, and whether we write its format exactly."""

    name: str
    mode: str
    bits: int = 8
    dpi: bool = True
    text: bool = False
    lossless: bool = True


def _pillow(mode):
    if mode == "1":
        return Image.fromarray(pixels(1)[..., 0]).convert("1")
    if mode in ("P", "P+"):
        image = Image.fromarray(pixels(3)).quantize(16)
        if mode == "P+":
            image.info["transparency"] = bytes([200] * 8 + [255] * 8)
        return image
    if mode == "I;16":
        return Image.fromarray(pixels(1, 16)[..., 0])
    channels = len(mode)
    return Image.frombytes(mode, (WIDTH, HEIGHT), pixels(channels).tobytes())


PILLOW = [  # name, mode written, animal
    *(("1.png", "1", Animal("1.png", "L", text=True)), ("1.tif", "1", Animal("1.tif", "L"))),
    *((f"{m}.png", m, Animal(f"{m}.png", m, text=True)) for m in ("L", "LA", "RGB", "RGBA")),
    ("P.png", "P", Animal("P.png", "RGB", text=True)),
    ("P+.png", "P+", Animal("P+.png", "RGBA", text=True)),
    ("I16.png", "I;16", Animal("I16.png", "L", 16, text=True)),
    *((f"{m}.tif", m, Animal(f"{m}.tif", m)) for m in ("L", "LA", "RGB", "RGBA", "CMYK")),
    ("I16.tiff", "I;16", Animal("I16.tiff", "L", 16)),
    *((f"{m}.jpg", m, Animal(f"{m}.jpg", m, lossless=False)) for m in ("L", "RGB", "CMYK")),
    *((f"{m}.webp", m, Animal(f"{m}.webp", m, dpi=False, lossless=False)) for m in ("RGB", "RGBA")),
    *((f"{m}.avif", m, Animal(f"{m}.avif", m, dpi=False, lossless=False)) for m in ("RGB", "RGBA")),
]
DEEP = [
    *(Animal(f"{mode}16.png", mode, 16, text=True) for mode in ("LA", "RGB", "RGBA")),
    *(Animal(f"{mode}16.tif", mode, 16) for mode in ("RGB", "RGBA")),
]
ANIMALS = [animal for _, _, animal in PILLOW] + DEEP


def write(animal, folder, *, orientation=None):
    """Write the file; gives its path."""
    path = folder / animal.name
    if animal in DEEP:
        array = pixels(len(animal.mode), 16)
        if path.suffix == ".png":
            png(array, path, chunks=png_metadata(orientation))
        else:
            _deep_tiff(array, path, orientation)
        return path
    (mode,) = [mode for _, mode, known in PILLOW if known == animal]
    options = {"exif": exif(orientation), "icc_profile": ICC}
    if path.suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for key, value in TEXT.items():
            options["pnginfo"].add_itxt(key, value)
    if mode == "CMYK":
        options["icc_profile"] = INKS
    if path.suffix in (".webp", ".avif"):
        options["lossless" if path.suffix == ".webp" else "quality"] = True if path.suffix == ".webp" else 95
        options["exact"] = True
    if path.suffix == ".jpg":
        options.update(quality=97, subsampling=0)
    _pillow(mode).save(path, dpi=DPI, **options)
    return path


def _deep_tiff(array, path, orientation):
    """tifffile writes the pixels; EXIF in TIFF is tags of the file itself, of which it takes those of one directory."""
    import tifffile

    tags = [(0x010F, "s", 0, CAMERA, True), (34675, "B", len(ICC), ICC, True)]
    if orientation:
        tags.append((0x0112, "H", 1, orientation, True))
    tifffile.imwrite(
        path,
        array,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] if array.shape[2] == 4 else None,
        resolution=DPI,
        resolutionunit="inch",
        extratags=tags,
        metadata=None,
    )


def bytes_of(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()
