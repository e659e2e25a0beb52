"""Image files in memory, upscaled as `cclnn upscale` does it: bytes in, bytes out, for programs that serve them."""

import io
import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from cclnn._checks import check_choice
from cclnn._names import AUTO, Alpha
from cclnn._target import Target
from cclnn._typing import Progress
from cclnn.image.compression import read_compression
from cclnn.image.formats import FORMATS, HEAD, FormatName, ImageFileError, known_format
from cclnn.image.picture import Picture
from cclnn.image.read import read_picture
from cclnn.image.write import check_fits, convert, encode
from cclnn.precision import Precision
from cclnn.upscaler.automatic import Model, Sizer
from cclnn.upscaler.network import Edges, Tile


@dataclass(frozen=True)
class UpscaledFile:
    """The result of a file.

    content: the bytes of the new file
    format:  its format, a key of `cclnn.image.FORMATS`
    before:  width and height of the source
    after:   width and height of the result
    models:  the weights of every pass that "auto" chose, else the one that the caller named, () for a network
    why:     the reason for the choice, in half a line
    seconds: reading, upscaling and encoding
    """

    content: bytes
    format: FormatName
    before: tuple[int, int]
    after: tuple[int, int]
    models: tuple[str, ...] = ()
    why: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """`48 x 40 to 96 x 80 in 0.4 s. Weights: cclnn-s-x2 (PNG, lossless: clean weights).`"""
        before, after = (f"{width} x {height}" for width, height in (self.before, self.after))
        why = f" ({self.why})" if self.why else ""
        weights = f" Weights: {' then '.join(self.models)}{why}." if self.models else ""
        return f"{before} to {after} in {self.seconds:.1f} s.{weights}"


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

        max_input, max_output: the most pixels of a source, which is refused before it is decoded, and of a result,
            refused before it is computed; for programs that take files from strangers. None is no limit of its own.

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
        strength: float | None = None,
        format: FormatName | Literal["same"] = "png",  # noqa: A002  # the field's word
        quality: int | None = None,
        tile: Tile = "auto",
        overlap: int = 16,
        precision: Precision = "auto",
        device: str = "auto",
        ensemble: bool = False,
        alpha: Alpha = "bicubic",
        edges: Edges = "mirror",
        max_input: int | None = None,
        max_output: int | None = None,
    ) -> None:
        check_choice("format", format, (*FORMATS, "same"))
        if quality is not None and not 1 <= quality <= 100:
            raise ValueError(f"`quality` must lie between 1 and 100, got {quality}.")
        self.format, self.quality = format, quality
        self.max_input, self.max_output = max_input, max_output
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
        self._named = (str(model),) if isinstance(model, (str, os.PathLike)) else ()

    def __call__(self, content: bytes, *, name: str = "the image", progress: Progress | None = None) -> UpscaledFile:
        """The file of the upscaled picture.

        Args:
            content: the bytes of an image file.
            name: how messages call it.
            progress: as for `cclnn.upscale`.

        Raises:
            ImageFileError: the file is damaged, no image, an animation, larger than allowed, or its result is, or does
                not fit the format.
            ValueError: the size that is asked for is less than the image's own, or more than 8 times.
        """
        started = time.perf_counter()
        picture = read_picture(io.BytesIO(content), name=name, max_pixels=self.max_input)
        compression = read_compression(io.BytesIO(content))
        kind = (known_format(content[:HEAD]) or "png") if self.format == "same" else self.format
        height, width = picture.height, picture.width
        factor = self._factor(height, width)
        if self.max_output is not None and round(height * width * factor**2) > self.max_output:
            limit = f"at most {self.max_output / 1e6:g} megapixels are made"
            raise ImageFileError(f"{factor:.3g} times {name}, of {width} x {height} pixels, is too large: {limit}.")
        check_fits(picture, kind, scale=factor)
        choice = self._sizer.choose(height, width, compression)
        result: Picture = self._sizer(convert(picture, kind), compression=compression, progress=progress)
        written = encode(result, kind, self.quality)
        made = (choice.models, choice.why) if choice else (self._named, "")
        seconds = time.perf_counter() - started
        return UpscaledFile(written, kind, (width, height), (result.width, result.height), *made, seconds)

    def _factor(self, height: int, width: int) -> float:
        """Output size / input size."""
        target = self._sizer.target
        return target.factor(height, width) if target.is_given else self._sizer.scale
