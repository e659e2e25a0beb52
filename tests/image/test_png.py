"""The chunks of a PNG, among them ImageMagick's profiles in text."""

import io
import zlib

import numpy as np
import pytest
from image import zoo
from PIL import Image

from cclnn.image import read_picture
from cclnn.image.formats import MetadataWarning
from cclnn.image.metadata import parse_exif


def raw(kind, content):
    """As ImageMagick writes it: a name, a length, hexadecimal digits in lines of 72."""
    digits = content.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(content):8}\n{lines}\n".encode()
    return b"zTXt", f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text)


def test_raw_profiles_are_read(tmp_path):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    chunks = [raw("exif", zoo.exif(6).tobytes()), raw("xmp", packet), raw("icc", zoo.ICC)]
    zoo.png(zoo.pixels(3), tmp_path / "a.png", chunks=chunks)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.width, picture.height) == (zoo.HEIGHT, zoo.WIDTH)
    assert np.array_equal(picture.pixels, np.rot90(zoo.pixels(3), -1))
    assert parse_exif(picture.metadata.exif)[0x010F] == zoo.CAMERA
    assert (picture.metadata.icc, picture.metadata.chunks) == (zoo.ICC, ())
    assert b'Orientation="1"' in picture.metadata.xmp


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"name\0\0not compressed"),
        (b"zTXt", b"key\0\0not compressed"),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\n00")),
        (b"pHYs", b"short"),
        (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(2**21))),
        (b"iCCP", b"bomb\0\0" + zlib.compress(bytes(2**26 + 1))),
    ],
)
def test_a_damaged_chunk_costs_itself_alone(tmp_path, chunk):
    zoo.png(zoo.pixels(3), tmp_path / "a.png", chunks=[chunk, (b"tEXt", b"Title\0kept")])
    with pytest.warns(MetadataWarning, match=f"not carried over: PNG chunk '{chunk[0].decode()}'"):
        picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, zoo.pixels(3))
    assert picture.metadata.chunks == ((b"tEXt", b"Title\0kept"),)


def test_a_wrong_checksum_costs_the_chunk_alone():
    stream = io.BytesIO()
    Image.fromarray(zoo.pixels(3)).save(stream, "PNG", icc_profile=zoo.ICC)
    content = bytearray(stream.getvalue())
    content[content.index(b"iCCP") + 30] ^= 1
    with pytest.warns(MetadataWarning, match="PNG chunk 'iCCP'"):
        assert np.array_equal(read_picture(io.BytesIO(bytes(content))).pixels, zoo.pixels(3))
