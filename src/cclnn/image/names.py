"""Names of image files and of their results in any storage: relative paths with slashes. Standard library only."""

import posixpath
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cclnn.image.formats import FORMATS, HEIC, SUFFIXES, UNREAD, FormatName, reads_heic, way_out


@dataclass(frozen=True)
class ResultNames:
    """Which images of a folder still lack a result, with its name, and which cannot have one.

    todo:    image -> its result, where that does not exist yet
    refused: image -> why it gets none: a kind that is not read, or a result that is another image's
    """

    todo: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def result_name(image: str, format_name: FormatName = "png") -> str:
    """The name of an image's result: its own, with the suffix of the format.

    >>> result_name("2024/May.1/cat.jpg", "webp")
    '2024/May.1/cat.webp'
    """
    return posixpath.splitext(image)[0] + FORMATS[format_name].suffixes[0]


def name_results(files: Iterable[str], existing: Collection[str], format_name: FormatName = "png") -> ResultNames:
    """Which of the files are images whose results are to be made; results keep their images' names and subfolders.

    Hidden files, and those whose suffix is not that of an image, are passed over. Of images with one result the first
    by name gets it.

    Args:
        files: what lies in the source.
        existing: what lies where the results go.
        format_name: of the results.

    >>> names = name_results(["a.jpg", "a.png", "b.jpg", "c.psd", "notes.txt"], existing=["b.png"])
    >>> names.todo
    {'a.jpg': 'a.png'}
    >>> names.refused["a.png"]
    "its result would replace that of 'a.jpg'"
    """
    names, owners, done = ResultNames(), dict[str, str](), frozenset(existing)
    for image in sorted(files):
        suffix = posixpath.splitext(image)[1].lower()
        unread = UNREAD.get(suffix)
        if unread == HEIC and reads_heic():
            unread = None
        if posixpath.basename(image).startswith(".") or not (unread or suffix in SUFFIXES):
            continue
        result = result_name(image, format_name)
        if unread:
            names.refused[image] = f"{unread} {way_out(unread)}"
        elif (owner := owners.setdefault(result, image)) != image:
            names.refused[image] = f"its result would replace that of {owner!r}"
        elif result not in done:
            names.todo[image] = result
    return names
