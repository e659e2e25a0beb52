"""The segments of JPEG files: metadata apart from the picture, so that no damage of the one touches the other."""

import struct
from dataclasses import dataclass

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
XMP, EXTENDED_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
EXIF, ICC, PHOTOSHOP = b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
SOS, COM, JFIF, ADOBE = 0xDA, 0xFE, 0xE0, 0xEE  # markers
DENSITY = 13  # position of JFIF's unit and densities in a file that begins with them
LONGEST = 65533  # bytes of a segment's content
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
RESOURCE_IPTC = 0x0404


@dataclass
class Parts:
    """What a JPEG holds. `bare` is the file without the rest; `density` is (unit, across, down) of JFIF."""

    bare: bytes = b""
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    density: tuple[int, int, int] | None = None
    extended_xmp: bool = False
    complete: bool = False  # the picture ends with EOI
    sound: int = 0  # bytes of `bare` before a segment that is cut


def read_parts(data: bytes) -> Parts:
    """Take a JPEG apart. What lies behind the picture's end (videos, more pictures) is left out of `bare`."""
    parts, kept, position = Parts(), [SOI], 2
    profiles: dict[int, bytes] = {}
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1  # fill byte
            continue
        if marker in WITHOUT_LENGTH:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        content, end = data[position + 4 : position + 2 + length], position + 2 + length
        if marker == SOS:
            break
        if marker == COM:
            parts.comment = content
        elif marker == JFIF and content.startswith(b"JFIF\0") and len(content) >= 12:
            parts.density = struct.unpack_from(">BHH", content, 7)
            kept.append(data[position:end])
        elif 0xE0 <= marker <= 0xEF and marker != ADOBE:
            _metadata(parts, profiles, marker, content)
        else:
            kept.append(data[position:end])
        position = end
    end, parts.complete = _end(data, position)
    head = b"".join(kept)
    parts.bare = head + data[position : end if parts.complete else len(data)]
    parts.sound = len(head) + end - position
    if profiles and sorted(profiles) == list(range(1, len(profiles) + 1)):
        parts.icc = b"".join(profiles[i] for i in sorted(profiles))
    return parts


def _metadata(parts: Parts, profiles: dict[int, bytes], marker: int, content: bytes) -> None:
    if marker == 0xE1 and content.startswith(EXIF):
        parts.exif = (parts.exif or b"") + content[len(EXIF) :]  # some writers go on in a second segment
    elif marker == 0xE1 and content.startswith(XMP):
        parts.xmp = content[len(XMP) :]
    elif marker == 0xE1 and content.startswith(EXTENDED_XMP):
        parts.extended_xmp = True
    elif marker == 0xE2 and content.startswith(ICC) and len(content) > 14:
        profiles[content[12]] = content[14:]
    elif marker == 0xED and content.startswith(PHOTOSHOP):
        parts.iptc = iptc_of(content[len(PHOTOSHOP) :]) or parts.iptc


def ended(parts: Parts) -> bytes:
    """The picture with an end where its file has none, so that a decoder gives what there is."""
    return parts.bare[: parts.sound] + EOI


def _end(data: bytes, position: int) -> tuple[int, bool]:
    """(position behind EOI, from a marker on, True); (that of a segment that is cut, or the end of the data, False)."""
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker == 0xD9:
            return position + 2, True
        if marker in (0x00, 0xFF) or marker in WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
        elif position + 4 <= len(data) and (end := position + 2 + _length(data, position)) <= len(data):
            position = end
        else:
            return position, False
    return len(data) if position < 0 else position, False


def _length(data: bytes, position: int) -> int:
    """The length of the segment at `position`, without its marker."""
    return int.from_bytes(data[position + 2 : position + 4], "big")


def iptc_of(resources: bytes) -> bytes | None:
    """The IPTC block among Photoshop's image resources."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        (kind,) = struct.unpack_from(">H", resources, at + 4)
        name = resources[at + 6] + 1
        at += 6 + name + name % 2
        if at + 4 > len(resources):
            return None
        (size,) = struct.unpack_from(">I", resources, at)
        if kind == RESOURCE_IPTC:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return None


def iptc_segment(iptc: bytes) -> bytes:
    """The APP13 segment that holds an IPTC block."""
    resource = struct.pack(">4sHHI", b"8BIM", RESOURCE_IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    return struct.pack(">HH", 0xFFED, 2 + len(PHOTOSHOP + resource)) + PHOTOSHOP + resource


def with_noise(parts: Parts) -> bytes:
    """The picture with bits that its last scan does not need before EOI: a decoder shows them if the scan is cut."""
    return parts.bare[: -len(EOI)] + bytes(range(1, 250, 5)) * 8 + EOI
