"""Animations: GIF, APNG and WebP as pictures with their timing, and back into the same kind of file."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cclnn._files import write_atomically
from cclnn.image import metadata
from cclnn.image.formats import FORMATS, FormatName, ImageFileError
from cclnn.image.picture import Metadata, Picture, from_pil, to_pil, upright
from cclnn.image.prepare import prepared
from cclnn.image.read import errors_in_one_line, open_with_pillow

LONGEST = {"GIF": 65535, "WEBP": FORMATS["webp"].longest}  # pixels per side
KINDS: dict[str, FormatName] = {"PNG": "png", "WEBP": "webp"}  # Pillow's name -> format whose metadata it holds


@dataclass(frozen=True)
class Animation:
    """Frames of one size, each whole, with the time that each is shown.

    frames:    RGB or RGBA, 8 bits
    durations: milliseconds
    loop:      how often it is played, 0 for ever, None where the file does not say
    kind:      Pillow's name of the file's kind: GIF, PNG or WEBP
    metadata:  of the whole
    """

    frames: tuple[Picture, ...]
    durations: tuple[float, ...]
    loop: int | None
    kind: str
    metadata: Metadata

    def map(self, change: Callable[[Picture], Picture]) -> "Animation":
        """The same animation with other frames."""
        return Animation(tuple(map(change, self.frames)), self.durations, self.loop, self.kind, self.metadata)


def read_animation(path: Path) -> Animation:
    """The animation in a GIF, an APNG or a WebP; a file of one picture has one frame.

    Raises:
        ImageFileError: the file is missing, damaged or of another kind.
    """
    name = repr(str(path))
    try:
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise ImageFileError(f"cannot read {name}: {error.strerror or error}.") from error
    frames, durations = [], []
    with errors_in_one_line(name), open_with_pillow(file, name) as image:
        if image.format not in ("GIF", *KINDS):
            raise ImageFileError(f"cannot read {name}: {image.format} has no animations.")
        found = metadata.of_others(image, file)
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frames.append(image.convert("RGBA"))
            durations.append(float(image.info.get("duration", 0)))
        kind, loop = image.format, image.info.get("loop")
        opaque = all(frame.getextrema()[3][0] == 255 for frame in frames)
        pictures = tuple(from_pil(frame.convert("RGB") if opaque else frame) for frame in frames)
    settled, orientation = found.settle(name)
    turned = tuple(picture.with_pixels(upright(picture.pixels, orientation)) for picture in pictures)
    return Animation(turned, tuple(durations), loop, kind, settled)


def check_animation_fits(animation: Animation, *, scale: float) -> None:
    """Check that the animation's kind of file holds it at `scale` times its size; call it before the work.

    Raises:
        ImageFileError: the kind holds smaller pictures only.
    """
    first, limit = animation.frames[0], LONGEST.get(animation.kind)
    longest = round(max(first.width, first.height) * scale)
    if limit is not None and longest > limit:
        raise ImageFileError(f"{animation.kind} holds {limit} pixels per side, {longest} are needed: ask for less.")


def write_animation(animation: Animation, path: Path, *, quality: int | None = None) -> None:
    """Write an animation in its kind of file. If that fails, what was at `path` before is untouched.

    Raises:
        ImageFileError: the disk cannot hold the file.
    """
    first, *rest = (to_pil(frame) for frame in animation.frames)
    options: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": list(animation.durations)}
    if animation.loop is not None:
        options["loop"] = animation.loop
    lost: list[str] = []
    if animation.kind in KINDS:
        size = animation.frames[0].width, animation.frames[0].height
        held, lost = prepared(animation.metadata, KINDS[animation.kind], *size)
        options.update({key: value for key, value in (("icc_profile", held.icc), ("exif", held.exif)) if value})
    if animation.kind == "WEBP":
        options.update(lossless=animation.metadata.lossless, exact=True, quality=quality or 90)
        if held.xmp:
            options["xmp"] = held.xmp
    if animation.kind == "GIF":
        options.update(disposal=2, optimize=False)
    try:
        write_atomically(path, lambda temporary: first.save(temporary, format=animation.kind, **options))
    except OSError as error:
        raise ImageFileError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    metadata.tell(animation.kind, lost)
