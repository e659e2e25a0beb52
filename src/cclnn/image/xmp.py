"""XMP packets, parsed as XML: orientation, sizes and references to what is no longer there.

Entity declarations are refused, since entities can expand without bounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.dom import minidom  # `_check` has refused what is dangerous
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF, EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
NOTE = "http://ns.adobe.com/xmp/note/"
GAIN_MAPS = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/")
ELSEWHERE = (  # namespaces of pictures and videos behind the picture or in extended XMP
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
)
WIDTHS = {(TIFF, "ImageWidth"), (EXIF, "PixelXDimension")}
HEIGHTS = {(TIFF, "ImageLength"), (EXIF, "PixelYDimension")}
ACROSS = {"CroppedAreaImageWidthPixels", "FullPanoWidthPixels", "CroppedAreaLeftPixels"}
DOWN = {"CroppedAreaImageHeightPixels", "FullPanoHeightPixels", "CroppedAreaTopPixels"}
DEEPEST = 100  # levels of elements


@dataclass
class Property:
    """A top-level property: an attribute of rdf:Description or an element in it."""

    node: Any

    @property
    def name(self) -> tuple[str, str]:
        """(namespace, local name)."""
        return (self.node.namespaceURI or "", self.node.localName or "")

    @property
    def value(self) -> str:
        """The text."""
        if self.node.nodeType == self.node.ATTRIBUTE_NODE:
            return str(self.node.value)
        return "".join(x.data for x in self.node.childNodes if x.nodeType in (x.TEXT_NODE, x.CDATA_SECTION_NODE))

    @value.setter
    def value(self, text: str) -> None:
        if self.node.nodeType == self.node.ATTRIBUTE_NODE:
            self.node.value = text
            return
        for child in list(self.node.childNodes):
            self.node.removeChild(child)
        self.node.appendChild(self.node.ownerDocument.createTextNode(text))

    def remove(self) -> None:
        """Take the property out of the packet."""
        if self.node.nodeType == self.node.ATTRIBUTE_NODE:
            self.node.ownerElement.removeAttributeNode(self.node)
        else:
            self.node.parentNode.removeChild(self.node)


def neutral(packet: bytes) -> tuple[int, bytes | None, list[str]]:
    """(orientation, the packet with a neutral one and without references to data elsewhere, names of what was lost)."""
    try:
        document = _parse(packet)
    except (ValueError, expat.ExpatError, RecursionError, UnicodeError) as error:
        return 1, None, [f"XMP ({' '.join(str(error).split())})"]
    found, changed, lost = 1, False, set()
    for item in list(_properties(document)):
        space, name = item.name
        if item.name == (TIFF, "Orientation"):
            text = item.value.strip()
            found = int(text) if text in tuple("12345678") else found
            if text != "1":
                item.value, changed = "1", True
        elif space in GAIN_MAPS or space in ELSEWHERE:
            lost.add("gain map" if space in GAIN_MAPS else "XMP that names further pictures")
            item.remove()
        elif (space, name[:10]) in ((CAMERA, "MicroVideo"), (CAMERA, "MotionPhot")):
            lost.add("video of a motion photo")
            item.remove()
        elif item.name == (NOTE, "HasExtendedXMP"):
            lost.add("extended XMP")
            item.remove()
    return found, _serialise(document) if changed or lost else packet, sorted(lost)


def resized(packet: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The packet of a picture that was `old` (width, height) pixels large and is `new` now."""
    document, changed = _parse(packet), False
    for item in _properties(document):
        space, name = item.name
        value = None
        if item.name in WIDTHS:
            value = new[0]
        elif item.name in HEIGHTS:
            value = new[1]
        elif space == PANORAMA and name in ACROSS | DOWN and item.value.strip().lstrip("-").isdigit():
            axis = 0 if name in ACROSS else 1
            value = round(int(item.value) * new[axis] / old[axis])
        if value is not None and item.value != str(value):
            item.value, changed = str(value), True
    return _serialise(document) if changed else packet


def _properties(document: Any) -> Iterator[Property]:
    for root in document.getElementsByTagNameNS(RDF, "RDF"):
        for description in root.childNodes:
            if description.nodeType == description.ELEMENT_NODE:
                for node in (*description.attributes.values(), *description.childNodes):
                    if node.nodeType in (node.ATTRIBUTE_NODE, node.ELEMENT_NODE):
                        yield Property(node)


def _parse(packet: bytes) -> Any:
    content = packet.strip(b"\0 \r\n\t")
    _check(content)
    return minidom.parseString(content)  # noqa: S318  # checked above


def _check(content: bytes) -> None:
    """Raise ValueError for a document type, which could declare entities, and for absurd depth."""
    parser, depth = expat.ParserCreate(), 0

    def refuse(*_: Any) -> None:
        raise ValueError("a document type is not allowed in it")

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} levels")

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler, parser.EntityDeclHandler = refuse, refuse
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    parser.Parse(content, True)


def _serialise(document: Any) -> bytes:
    return "".join(node.toxml() for node in document.childNodes).encode()
