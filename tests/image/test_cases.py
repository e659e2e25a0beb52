"""Files that go wrong, or could: small cases, each a kind of fault, and what is right for each, in every format.

The picture of a result is the source's with every pixel doubled, as a network of scale 2 would give its size.
"""

import io
import re
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image import zoo
from PIL import Image, ImageCms

from cclnn.image import (
    FORMATS,
    ImageFileError,
    Picture,
    check_fits,
    convert,
    exif,
    png,
    read_picture,
    save,
    tiff,
    write_picture,
    xmp,
)
from cclnn.image.exif_tree import read_tree

CASES = Path(__file__).parent / "cases"
DEEP = "holds 8 bits per channel, the picture has 16"
OPAQUE = "cannot hold transparency"
pytest.importorskip("pyvips", reason='16-bit colour needs the extra "io16"')


@dataclass(frozen=True)
class Written:
    """A file was written: its path and format, what was read, and the warnings on the way."""

    path: Path
    format: str
    source: Picture
    told: str

    @property
    def result(self):
        return read_picture(self.path)

    @property
    def exif(self):
        return self.result.metadata.exif

    def entry(self, *path):
        return exif.find(self.exif, *path) if self.exif else None


def read(case):
    path = CASES / case
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        picture = read_picture(path)
    return picture, "; ".join(str(x.message) for x in told)


def write(picture, told, format_name, folder):
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        check_fits(picture, format_name, scale=2)
        fitting = convert(picture, format_name)
        larger = fitting.with_pixels(fitting.pixels.repeat(2, axis=0).repeat(2, axis=1))
        path = folder / f"out{FORMATS[format_name].suffixes[0]}"
        save(larger, path, format_name)
    written = Written(path, format_name, picture, "; ".join([told, *(str(x.message) for x in more)]))
    same_picture(written, larger)
    return written


def same_picture(written, larger):
    """The file opens with other code than ours, shows the picture, and says nothing about turning it."""
    with Image.open(written.path) as image:
        image.load()
        assert image.format == FORMATS[written.format].pillow
        assert image.size == (larger.width, larger.height)
        assert image.getexif().get(0x0112, 1) == 1
    again = written.result  # upright a second time
    assert (again.width, again.height) == (larger.width, larger.height)
    if again.mode == larger.mode and larger.width > 8:
        error = np.abs(again.pixels.astype(float) - larger.pixels).mean() * (255 / (2**again.bits - 1))
        assert error == 0 if FORMATS[written.format].quality is None else error < 5
    if again.metadata.xmp:
        assert xmp.neutral(again.metadata.xmp)[0] == 1


FORMAT_NAMES = tuple(FORMATS)
MINUS_JPEG = tuple(x for x in FORMATS if x != "jpeg")
FINE = ("png", "tiff")

# case -> formats that hold it; None: all. The others refuse it with one of DEEP, OPAQUE or a limit.
HOLDS = {
    **dict.fromkeys(
        (
            *(f"colour/orient_{kind}_{n}.tif" for kind in ("grey16", "rgb16") for n in (1, 4, 6)),
            *("colour/grey_minwhite_16.tif", "colour/planar_strip_16.tif", "colour/rgb_16_pred3_lzw.tif"),
            "damage/png16_orientation6.png",
        ),
        FINE,
    ),
    "colour/rgba_assoc_8.tif": MINUS_JPEG,
    "sizes/s_8192x2.png": ("png", "jpeg", "tiff", "avif"),
    "sizes/s_16400x2.png": ("png", "jpeg", "tiff"),
    "sizes/s_32760x2.png": FINE,
}
# case -> the message of one line that refuses it
REFUSED = {
    "colour/cmyk_16.tif": r"cannot use .*16-bit TIFFs are read as grey or RGB",
    "colour/cmyk_alpha.tif": r"TIFFs of its kind \(CMYK, 5 channels of 8-bit integers\) are not supported",
    "colour/grey_alpha_16.tif": r"TIFFs of its kind \(grey, 2 channels of 16-bit integers\) are not supported",
    "colour/rgb_float32.tif": r"TIFFs of its kind \(RGB, 3 channels of 32-bit floating point\) are not supported",
    "colour/grey_float32.tif": "it holds 32-bit floating-point numbers; 8 and 16 bits are supported",
    "colour/planar_tiled_16.tif": "cannot use .*tiled separate planes not supported",
    "damage/size_200mp.png": "more than 179 megapixels, which may be an attack; --max-megapixels raises the limit",
    "damage/dib_headerless.dib": "it is a bitmap without a file header, which is not supported",
    "damage/jp2_named.png": "it is JPEG 2000, which is not supported",
    "damage/real.jp2": "it is JPEG 2000, which is not supported",
    "damage/jxl_named.jpg": "it is JPEG XL, which is not supported",
    **dict.fromkeys(("damage/one_byte.png", "damage/text.png", "damage/html.jpg"), "it is not an image in a known"),
    **dict.fromkeys(
        (
            *(f"damage/{x}" for x in ("avif_half.avif", "bmp_half.bmp", "gif_half.gif", "jpeg_half.jpg")),
            *(f"damage/{x}" for x in ("png16_half.png", "png_half.png", "tiff_half.tif", "webp_half.webp")),
            *(f"damage/{x}" for x in ("png_flipped_byte.png", "png16_flipped_byte.png", "jpeg_half_with_eoi.jpg")),
        ),
        r"the file is damaged \(",
    ),
}
ALL = sorted(str(path.relative_to(CASES)) for path in CASES.glob("*/*"))


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused_in_one_line(case):
    with pytest.raises(ImageFileError, match=REFUSED[case]) as caught:
        read(case)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("case", [case for case in ALL if case not in REFUSED])
def test_written(tmp_path, case, format_name):
    """Every case that can be read is written in every format that holds it; what is right besides is below."""
    picture, told = read(case)
    if format_name not in HOLDS.get(case, FORMATS):
        with pytest.raises(ImageFileError, match=f"{DEEP}|{OPAQUE}|pixels per side, .* are needed") as caught:
            check_fits(picture, format_name, scale=2)
        assert "\n" not in str(caught.value)
        return
    written = write(picture, told, format_name, tmp_path)
    for check in CHECKS.get(case, ()):
        check(written)


def told(pattern, *, formats=FORMAT_NAMES):
    """A warning names the loss, where the format is one of these."""

    def check(written):
        assert bool(re.search(pattern, written.told)) == (written.format in formats), written.told

    return check


def silent(written):
    assert written.told.strip("; ") == ""


def same_entry(*path, kind=None, data=None, formats=FORMAT_NAMES):
    """An EXIF entry has the type and the bytes it had."""

    def check(written):
        if written.format not in formats:
            return
        old = exif.find(written.source.metadata.exif, *path)
        new = written.entry(*path)
        assert old is not None
        assert new is not None
        assert (new.kind, new.count) == (old.kind, old.count)
        swapped = exif_tree_swapped(old.data, old.kind, written.source.metadata.exif, written.exif)
        assert new.data == swapped
        assert kind is None or new.kind == kind
        assert data is None or data in new.data

    return check


def exif_tree_swapped(data, kind, old, new):
    """A value in the byte order of another block, by struct."""
    form = {3: "H", 4: "I", 5: "I", 8: "h", 9: "i", 10: "i", 12: "d"}.get(kind)
    if form is None:
        return data
    count = len(data) // struct.calcsize("=" + form)
    return struct.pack(
        f"{exif.byte_order(new)}{count}{form}", *struct.unpack(f"{exif.byte_order(old)}{count}{form}", data)
    )


def srgb(path):
    """What a viewer that manages colour shows of a file, by LittleCMS; cICP of a PNG counts."""
    with Image.open(path) as image:
        image.load()
        profile, colour = image.info.get("icc_profile"), image.convert("RGB") if image.mode != "L" else image
    if profile is None:
        chunks = dict(png.read_parts(path.read_bytes()).chunks) if path.suffix == ".png" else {}
        if chunks.get(b"cICP", b"")[:2] != b"\x0c\x0d":
            return np.asarray(colour.convert("RGB"), dtype=float)
        profile = DISPLAY_P3
    if profile[16:20] == b"GRAY":
        colour = colour.convert("L")
    shown = ImageCms.profileToProfile(colour, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(shown, dtype=float)


def _display_p3():
    """Display P3 by the numbers of its published profile (Apple's), not by our own arithmetic."""
    columns = {"r": (0.51512, 0.2412, -0.00105), "g": (0.29198, 0.69225, 0.04189), "b": (0.1571, 0.06657, 0.78407)}
    curve = (
        b"para"
        + bytes(4)
        + struct.pack(">HH5i", 3, 0, *(round(x * 65536) for x in (2.4, 0.94787, 0.05213, 0.0774, 0.04045)))
    )
    tags = {b"wtpt": (0.9642, 1.0, 0.8249), **{f"{k}XYZ".encode(): v for k, v in columns.items()}}
    tags = {k: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(x * 65536) for x in v)) for k, v in tags.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    text = "P3".encode("utf-16-be")
    tags |= dict.fromkeys(
        (b"desc", b"cprt"), b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 4, 28) + text
    )
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", 128 + len(table + body), bytes(4), 0x04200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return (head + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + table + body


DISPLAY_P3 = _display_p3()


def shows_the_same(case, *, source=None):
    """Colours as LittleCMS gives them for the source and for the result."""

    def check(written):
        expected = source(CASES / case) if source else srgb(CASES / case)
        shown = srgb(written.path)[::2, ::2]
        lossy = FORMATS[written.format].quality is not None
        assert np.abs(shown - expected).mean() < (5 if lossy else 1.5), written.format

    return check


def p3_of_avif(path):
    with Image.open(path) as image:
        colour = image.convert("RGB")
    shown = ImageCms.profileToProfile(colour, io.BytesIO(DISPLAY_P3), ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(shown, dtype=float)


def no_profile_of(space):
    def check(written):
        with Image.open(written.path) as image:
            icc, mode = image.info.get("icc_profile"), image.mode
        assert not (icc and icc[16:20] == space and mode != "L"), mode

    return check


def hdr_stays_in_png(written):
    if written.format == "png":
        chunks = dict(written.result.metadata.chunks)
        source = dict(written.source.metadata.chunks)
        assert {b"cICP", b"mDCV", b"cLLI"} <= set(source)
        assert all(chunks[name] == source[name] for name in (b"cICP", b"mDCV", b"cLLI"))


def aspect(written):
    if written.format in ("png", "jpeg"):
        across, down = written.result.metadata.aspect
        old = written.source.metadata.aspect
        assert across * old[1] == down * old[0]


def metres_per_pixel(written):
    entry = written.entry(tiff.PIXEL_SCALE)
    assert (entry is not None) == (written.format == "tiff")
    if entry:
        assert struct.unpack("<3d", entry.data)[:2] == (5.0, 5.0)


def no_description(written):
    assert written.entry(tiff.DESCRIPTION) is None


def description_stays_or_goes(written):
    entry = written.entry(tiff.DESCRIPTION)
    assert entry is None or entry.data == exif.find(written.source.metadata.exif, tiff.DESCRIPTION).data


def note_is_readable(written):
    """The text that the note points to by a position in the block is there; in TIFF the note is gone, and told."""
    note = written.entry(exif.EXIF_IFD, exif.MAKER_NOTE)
    assert (note is None) == (written.format == "tiff")
    old = exif.find(written.source.metadata.exif, exif.EXIF_IFD, exif.MAKER_NOTE)
    if note:
        assert (note.data, note.start) == (old.data, old.start)
        assert read_tree(written.exif) == read_tree(exif.with_size(written.source.metadata.exif, 96, 64))


def comment(written):
    text = written.source.metadata.comment
    if written.format == "jpeg":
        assert written.result.metadata.comment == text
    if written.format == "png":
        with Image.open(written.path) as image:
            image.load()
            assert image.text["Comment"] == text.decode("latin-1")


def iptc(written):
    if written.format in ("jpeg", "tiff"):
        assert written.result.metadata.iptc == written.source.metadata.iptc


def iptc_is_there(written):
    for word in (b"\x1c\x02\x05", b"\x1c\x02\x19"):  # title, keyword
        assert word in written.source.metadata.iptc


def dpi(written):
    assert written.result.metadata.dpi == pytest.approx((299.72, 299.72), rel=2e-3)


def texts(written):
    if written.format == "png":
        with Image.open(written.path) as new:
            new.load()
            assert new.text
            assert written.result.metadata.chunks == written.source.metadata.chunks


def properties(written):
    document = xmp._parse(written.result.metadata.xmp)
    return {item.name[1]: item.value for item in xmp._properties(document)}


def panorama(written):
    found = properties(written)
    assert (found["FullPanoWidthPixels"], found["FullPanoHeightPixels"]) == ("128", "64")
    assert (found["CroppedAreaImageWidthPixels"], found["CroppedAreaImageHeightPixels"]) == ("128", "64")
    assert (found["CroppedAreaLeftPixels"], found["ProjectionType"]) == ("0", "equirectangular")


def xmp_sizes(written):
    found = properties(written)
    assert (found["ImageWidth"], found["ImageLength"]) == ("64", "128")
    assert (found["PixelXDimension"], found["PixelYDimension"]) == ("64", "128")


def no_video(written):
    assert not any(name.startswith("MicroVideo") for name in properties(written))
    assert b"ftyp" not in written.path.read_bytes()[100:] or written.format == "avif"


def xmp_stays(written):
    if written.format != "jpeg":
        assert written.result.metadata.xmp == written.source.metadata.xmp


def turned(width, height):
    def check(written):
        assert (written.source.width, written.source.height) == (width, height)

    return check


def deep_where_possible(written):
    assert written.result.bits == 16


def no_resolution_of(number):
    def check(written):
        found = written.result.metadata.dpi
        assert found is None or max(found) < number

    return check


GREY_ICC = ("colour/grey_greyicc.jpg", "colour/grey_greyicc.png", "colour/one_greyicc.png")
TURNED_XMP = ("png_orientation_exif_and_xmp.png", "xmp_and_exif_orientation.jpg", "xmp_orientation_only_attr.jpg")
TURNED_XMP += ("xmp_orientation_single_quotes.jpg", "xmp_single_quotes_and_exif.jpg")
CHECKS = {
    "colour/bigtiff_description.tif": (description_stays_or_goes, silent),
    "colour/bigtiff_plain.tif": (silent,),
    "colour/cmyk_noicc.jpg": (silent,),
    "colour/geotiff.tif": (metres_per_pixel, told("GeoTIFF", formats=("png", "jpeg", "webp", "avif"))),
    **{case: (no_profile_of(b"GRAY"), shows_the_same(case)) for case in GREY_ICC},
    "colour/grey_minwhite_16.tif": (deep_where_possible,),
    "colour/hdr_cicp_mdcv.png": (hdr_stays_in_png, told("cICP 9, 16", formats=("jpeg", "webp", "tiff", "avif"))),
    "colour/imagej.tif": (description_stays_or_goes,),
    "colour/lab_icc.tif": (no_profile_of(b"Lab "), silent),
    **{f"colour/orient_{kind}_6.tif": (turned(32, 48),) for kind in ("rgb8", "rgb16", "grey16")},
    **{f"colour/orient_{kind}_4.tif": (turned(48, 32),) for kind in ("rgb8", "rgb16", "grey16")},
    "colour/p3_cicp.png": (shows_the_same("colour/p3_cicp.png"), silent),
    "colour/p3_nclx.avif": (shows_the_same("colour/p3_nclx.avif", source=p3_of_avif), silent),
    "colour/palette_greyicc.png": (no_profile_of(b"GRAY"), told("a colour profile for GRAY pixels")),
    "colour/rgb_greyicc.jpg": (no_profile_of(b"GRAY"), told("a colour profile for GRAY pixels")),
    "colour/phys_unknown_unit.png": (aspect, told("aspect ratio", formats=("webp", "tiff", "avif"))),
    "colour/planar_strip_16.tif": (deep_where_possible,),
    "colour/rgb_16_pred3_lzw.tif": (deep_where_possible,),
    "colour/rgb_8_zstd.tif": (no_description, silent),
    "colour/thumbnail_page.tif": (turned(48, 32), silent),
    "exif/exif_bias_minus2_3.jpg": (same_entry(exif.EXIF_IFD, 0x9204, kind=10), silent),
    "exif/exif_bias_minus2_0.jpg": (same_entry(exif.EXIF_IFD, 0x9204, kind=10), silent),
    "exif/exif_dpi_huge.jpg": (no_resolution_of(2**31),),
    "exif/exif_empty.jpg": (silent,),
    "exif/exif_loop.jpg": (told("EXIF directory EXIF"),),
    "exif/exif_make_rational.jpg": (same_entry(0x010F), silent),
    "exif/exif_makernote_canon.jpg": (note_is_readable, told("MakerNote", formats=("tiff",)), same_entry(0x010F)),
    **{f"exif/exif_orientation_{n}.jpg": (turned(*((32, 48) if 5 <= n <= 8 else (48, 32))), silent) for n in range(10)},
    **{f"exif/exif_orientation_{kind}.jpg": (turned(32, 48), silent) for kind in ("byte", "long")},
    "exif/exif_usercomment.jpg": (same_entry(exif.EXIF_IFD, 0x9286, kind=7), silent),
    "exif/exif_utf8.jpg": (*(same_entry(tag, kind=2) for tag in (0x010E, 0x013B, 0x8298)), silent),
    "exif/exif_xp.jpg": (same_entry(0x9C9B), same_entry(0x4746), silent),
    "exif/gps_altitude_negative.jpg": (same_entry(exif.GPS_IFD, 6), silent),
    "exif/gps_ascii.jpg": (same_entry(exif.GPS_IFD, 2), silent),
    "meta/comment_latin1.jpg": (comment, told("the comment", formats=("webp", "tiff", "avif"))),
    "meta/comment_max.jpg": (comment, told("the comment", formats=("webp", "tiff", "avif"))),
    "meta/description_big.tif": (
        same_entry(tiff.DESCRIPTION, formats=MINUS_JPEG),
        told("0x010e of 70001 bytes", formats=("jpeg",)),
    ),
    "meta/exif_big_private_tag.tif": (
        same_entry(0xFDE8, formats=MINUS_JPEG),
        told("0xfde8 of 70000 bytes", formats=("jpeg",)),
    ),
    "meta/iptc.jpg": (iptc_is_there, iptc, told("IPTC", formats=("png", "webp", "avif"))),
    "meta/jfif_cm.jpg": (dpi, silent),
    "meta/ome.ome.tif": (no_description, told("a program's description")),
    **{f"meta/{name}": (turned(32, 64), silent) for name in TURNED_XMP},
    **{
        f"meta/{name}": (texts, told("text ", formats=("jpeg", "webp", "tiff", "avif")))
        for name in ("text_ai.png", "text_after_idat.png")
    },
    "meta/xmp_big.png": (xmp_stays, told("XMP of more than 63 KB", formats=("jpeg",))),
    "meta/xmp_gpano.jpg": (panorama, silent),
    "meta/xmp_motion.jpg": (no_video, told("video of a motion photo")),
    "meta/xmp_sizes.jpg": (xmp_sizes, turned(32, 64), silent),
    "damage/png16_orientation6.png": (turned(64, 96), deep_where_possible, silent),
    "damage/jpeg_trailing_garbage.jpg": (silent,),
}


DAMAGED = [case for case in ALL if case.startswith(("exif/", "meta/")) and not re.search("big|max", case)]
DAMAGED += [
    "colour/geotiff.tif",
    "colour/imagej.tif",
    "colour/p3_cicp.png",
    "colour/grey_greyicc.png",
    "colour/p3_nclx.avif",
]


def test_every_case_is_used():
    assert set(REFUSED) <= set(ALL)
    assert set(CHECKS) <= set(ALL)
    assert set(HOLDS) <= set(ALL)


def test_the_page_of_a_tiff_is_chosen():
    picture = read_picture(CASES / "colour" / "thumbnail_page.tif", page=1)
    assert picture.width > read_picture(CASES / "colour" / "thumbnail_page.tif", page=2).width
    with pytest.raises(ImageFileError, match="it has 2 pages, page 3 is asked for"):
        read_picture(CASES / "colour" / "thumbnail_page.tif", page=3)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_large_profile_is_kept_whole_or_told(tmp_path, format_name):
    """1.1 MB, sound: Pillow reads no more than 1 MB from a PNG."""
    profile = zoo.ICC + bytes(1_100_000 - len(zoo.ICC))
    profile = struct.pack(">I", len(profile)) + profile[4:]
    zoo.png(zoo.pixels(3), tmp_path / "in.png", chunks=[(b"iCCP", b"x\0\0" + zlib.compress(profile))])
    picture, said = read(tmp_path / "in.png")
    assert picture.metadata.icc == profile
    written = write(picture, said, format_name, tmp_path)
    if format_name == "png":
        assert "a colour profile of more than 1 MB" in written.told
    else:
        assert written.result.metadata.icc == profile


@pytest.mark.filterwarnings("ignore::cclnn.image.formats.ImageFileWarning")
@pytest.mark.filterwarnings("ignore:Metadata Warning, tag")  # Pillow's, of a count in EXIF that was kept as it is
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_metadata_never_escape_as_another_error(tmp_path, data):
    """Bytes of EXIF, XMP, GeoTIFF, ... are changed; the file is refused in one line, or read and written."""
    case = data.draw(st.sampled_from(DAMAGED))
    content = bytearray((CASES / case).read_bytes())
    longest = min(len(content), 1000) if case.endswith(("jpg", "png")) else len(content)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, longest - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 8, 0x7F, 0xFF, content[at] ^ 1]))
    with suppress(ImageFileError):
        picture = read_picture(io.BytesIO(bytes(content)), name="x")
        name = data.draw(st.sampled_from(FORMAT_NAMES))
        write_picture(picture, tmp_path / "out", format=name)
        with Image.open(tmp_path / "out") as image:
            image.load()
