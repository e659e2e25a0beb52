"""XMP is parsed as XML: whatever XML allows is understood, what could expand without bounds is refused."""

import pytest

from cclnn.image import xmp

SPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:note="http://ns.adobe.com/xmp/note/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def packet(attributes="", elements=""):
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {SPACES}><rdf:Description rdf:about="" {attributes}>{elements}</rdf:Description></rdf:RDF>'
        f'</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize(
    "given",
    [
        packet('tiff:Orientation="6"'),
        packet("tiff:Orientation='6'"),
        packet('tiff:Orientation = " 6 "'),
        packet(elements="<tiff:Orientation>6</tiff:Orientation>"),
        packet(elements="<tiff:Orientation>\n 6\n</tiff:Orientation>"),
        packet('tiff:Orientation="&#54;"'),
        packet('tiff:Orientation="6"').replace(b"tiff:", b"t:").replace(b"xmlns:tiff", b"xmlns:t"),
        packet('tiff:Orientation="6"') + b"\0\0",
        b" " * 100 + packet('tiff:Orientation="6"').partition(b"?>")[2],
    ],
)
def test_orientation_is_found_however_it_is_written(given):
    found, neutral, lost = xmp.neutral(given)
    assert (found, lost) == (6, [])
    assert xmp.neutral(neutral)[0] == 1


@pytest.mark.parametrize("value", ["0", "9", "x", "", "1"])
def test_other_orientations_are_none(value):
    found, neutral, lost = xmp.neutral(packet(f'tiff:Orientation="{value}"'))
    assert (found, xmp.neutral(neutral)[0], lost) == (1, 1, [])


def test_what_needs_no_change_keeps_its_bytes():
    given = packet("dc:title='Grüße'", "<!-- a comment --><dc:creator>a &amp; b</dc:creator>")
    assert xmp.neutral(given) == (1, given, [])
    assert xmp.resized(given, (4, 3), (8, 6)) == given


def test_a_gain_map_and_a_video_that_are_gone_are_not_named():
    """As in an Ultra HDR JPEG that is a motion photo, too."""
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Container:Semantic="GainMap"/></rdf:li>'
    given = packet(
        'hdrgm:Version="1.0" GCamera:MotionPhoto="1" note:HasExtendedXMP="AB" dc:title="kept"',
        f"<Container:Directory><rdf:Seq>{item}</rdf:Seq></Container:Directory>",
    )
    _, neutral, lost = xmp.neutral(given)
    assert lost == ["XMP that names further pictures", "extended XMP", "gain map", "video of a motion photo"]
    for word in (b"Version", b"GainMap", b"MotionPhoto=", b"HasExtendedXMP"):
        assert word not in neutral
    assert b'dc:title="kept"' in neutral


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + packet("tiff:Orientation='6'", "&a;"),
            "a document type is not allowed",
        ),
        (b"<x>" * 2000 + b"</x>" * 2000, "it has more than 100 levels"),
        (b"<x", "unclosed token"),
        (packet().replace(b"xmlns:tiff", b"xmlns:other").replace(b'rdf:about=""', b'tiff:a=""'), "unbound prefix"),
        (b"", "no element found"),
        (packet("dc:title='\xff'").replace("ÿ".encode(), b"\xff"), "not well-formed"),
    ],
)
def test_what_cannot_be_parsed_is_dropped_and_named(given, reason):
    found, neutral, (lost,) = xmp.neutral(given)
    assert (found, neutral) == (1, None)
    assert reason in lost
    assert "\n" not in lost
