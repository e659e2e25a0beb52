"""Image files in memory, upscaled as `cclnn upscale` does it: bytes in, bytes out, for programs that serve them."""

import io
from dataclasses import dataclass
from typing import Any, Literal

from cclnn._checks import check_choice
from cclnn._target import Target
from cclnn.image.compression import read_compression
from cclnn.image.formats import FORMATS, HEAD, FormatName, known_format
from cclnn.image.picture import Picture
from cclnn.image.read import read_picture
from cclnn.image.write import check_fits, convert, encode
from cclnn.precision import Precision
from cclnn.upscaler.automatic import AUTO, Model, Sizer
from cclnn.upscaler.images import Alpha
from cclnn.upscaler.network import Edges, Progress, Tile


@dataclass(frozen=True)
class UpscaledFile:
    """The result of a file.

    content: the bytes of the new file
    format:  its format, a key of `cclnn.image.FORMATS`
    before:  width and height of the source
    after:   width and height of the result
    models:  the weights of every pass, where "auto" chose them
    why:     the reason for the choice, in half a line
    """

    content: bytes
    format: FormatName
    before: tuple[int, int]
    after: tuple[int, int]
    models: tuple[str, ...] = ()
    why: str = ""


class FileUpscaler:
    """Upscale image files given as bytes, with their metadata, bit depth and colour profile; the model is kept.

    Args:
        model: as for `cclnn.upscale`; "auto" chooses the weights by each file's compression.
        scale, width, height, megapixels: the size, as for `cclnn.upscale`.
        photo, strength: as for `cclnn.upscale`.
        format: of the results: "png", "jpeg", "webp", "tiff", "avif", or "same" as each source (PNG where that cannot
            be written).
        quality: 1 to 100 for lossy formats; None is the format's own.
        tile, overlap, precision, device, ensemble, alpha, edges: as for `cclnn.Upscaler`.

    Raises:
        ValueError: an option out of range, more than one size, or as `cclnn.load`.
    """

    def __init__(
        self,
        model: Model = AUTO,
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        megapixels: float | None = None,
        photo: bool | None = None,
        strength: float = 1.0,
        format: FormatName | Literal["same"] = "png",  # noqa: A002  # the field's word
        quality: int | None = None,
        tile: Tile = "auto",
        overlap: int = 16,
        precision: Precision = "auto",
        device: str = "auto",
        ensemble: bool = False,
        alpha: Alpha = "bicubic",
        edges: Edges = "mirror",
    ) -> None:
        check_choice("format", format, (*FORMATS, "same"))
        if quality is not None and not 1 <= quality <= 100:
            raise ValueError(f"`quality` must lie between 1 and 100, got {quality}.")
        self.format, self.quality = format, quality
        target = Target(scale, width, height, megapixels)
        settings: dict[str, Any] = {
            "tile": tile,
            "overlap": overlap,
            "precision": precision,
            "device": device,
            "ensemble": ensemble,
            "alpha": alpha,
            "edges": edges,
        }
        self._sizer = Sizer(model, target, photo=photo, strength=strength, settings=settings)
        self._sizer.prepare()

    def __call__(self, content: bytes, *, name: str = "the image", progress: Progress | None = None) -> UpscaledFile:
        """The file of the upscaled picture.

        Args:
            content: the bytes of an image file.
            name: how messages call it.
            progress: as for `cclnn.upscale`.

        Raises:
            ImageFileError: the file is damaged, no image, an animation, or its result does not fit the format.
            ValueError: the size that is asked for is less than the image's own, or more than 8 times.
        """
        file = io.BytesIO(content)
        picture, compression = read_picture(file, name=name), read_compression(io.BytesIO(content))
        kind = (known_format(content[:HEAD]) or "png") if self.format == "same" else self.format
        target = self._sizer.target
        height, width = picture.height, picture.width
        check_fits(picture, kind, scale=target.factor(height, width) if target.is_given else self._sizer.scale)
        choice = self._sizer.choose(height, width, compression)
        result: Picture = self._sizer(convert(picture, kind), compression=compression, progress=progress)
        written = encode(result, kind, self.quality)
        made = (choice.models, choice.why) if choice else ((), "")
        return UpscaledFile(written, kind, (width, height), (result.width, result.height), *made)
