"""Images of any size through a network, tile by tile."""

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal, TypeVar

import torch
from einops import reduce, repeat

from cclnn._checks import check_at_least, check_choice
from cclnn._device import usable_device
from cclnn._typing import Float, Tensor
from cclnn.image.arrays import Opened, open_image
from cclnn.image.transparency import REACH, bleed
from cclnn.models import SRModel
from cclnn.ops.resize import imresize
from cclnn.precision import Precision, autocast, choose_dtype, lay_out
from cclnn.pretrained import list_pretrained, load
from cclnn.upscaler.ensemble import self_ensemble
from cclnn.upscaler.memory import CPU_LIMIT, auto_tile, available, bytes_per_pixel
from cclnn.upscaler.tiles import Span, spans, stitch

__all__ = ["Upscaler", "upscale"]

Progress = Callable[[int, int], None]
Tile = int | Literal["auto", "none"]
Alpha = Literal["bicubic", "model"]
ImageT = TypeVar("ImageT")
BICUBIC_REACH = 4  # pixels on either side that bicubic interpolation looks at, and some


class Upscaler:
    """Upscale images with one model; the result is of the same kind as the input, `model.scale` times its size.

    Deterministic: the same input gives the same output, and torch's global random state is neither read nor changed.

    Tiles bound the memory. Neighbours share three times the overlap: of the outer thirds, which touch the cut, nothing
    is used; over the middle third one tile fades into the other (less is shared where `tile` is below 5 * overlap, the
    fading part shrinks then). At the image's edges tiles end with it. So for a network whose receptive field has a
    radius r <= overlap, the result equals that on the whole image but for rounding; EDSR's r is about the number of
    its 3x3 convolutions. A non-local network (NLSN, CCLNN) sees one tile at a time by design: its result depends a
    little on the tile. `tile="auto"` is a fixed number, 512, unless the memory at hand is too small for it.

    Opacity is upscaled apart from colour, after colour has spread from visible pixels into invisible ones.

    Args:
        model: a published name, a folder, a file (see `cclnn.load`), or a model, which is copied.
        tile: pixels per side of a tile of the input. "auto" is the largest of 512, 384, 256, 192, 128, 96 and 64 that
            takes no more than half of the memory at hand, and on a CPU no more than 768 MiB, by what the model is
            measured to take per pixel. "none" takes the whole image at once.
        overlap: pixels of context between a cut and what is used of a tile.
        precision: "auto", "fp32", "bf16" or "fp16"; "auto" is bf16 where the hardware is fast at it, but fp32 for
            16-bit images, whose steps are finer than those of bf16.
        device: "cpu", "cuda", ...; "auto" is the GPU if there is one.
        ensemble: mean over the image's eight flips and transpositions: better by about 0.1 dB, in eight times the time.
        alpha: upscale opacity by "bicubic" interpolation or by the "model".

    Raises:
        ValueError: an option out of range, a device that cannot be used; or as `cclnn.load`. TypeError: no model.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SRModel = "cclnn-t-x2",
        *,
        tile: Tile = "auto",
        overlap: int = 16,
        precision: Precision = "auto",
        device: str = "auto",
        ensemble: bool = False,
        alpha: Alpha = "bicubic",
    ) -> None:
        check_at_least("overlap", overlap, 0)
        if isinstance(tile, int):
            check_at_least("tile", tile, 2 * overlap + 1)
        elif tile not in ("auto", "none"):
            raise ValueError(f"`tile` must be a number of pixels, 'auto' or 'none', got {tile!r}.")
        check_choice("alpha", alpha, ("bicubic", "model"))
        self.tile = tile
        self.overlap = overlap
        self.precision = precision
        self.ensemble = ensemble
        self.alpha = alpha
        if not isinstance(model, (str, os.PathLike, SRModel)):
            raise TypeError(f"`model` must be a name, a path or a model of cclnn, got {type(model).__name__}.")
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = usable_device(automatic if device == "auto" else device)
        self.dtype = choose_dtype(precision, self.device)
        network = copy.deepcopy(model) if isinstance(model, SRModel) else load(model)
        self.model = network.eval().to(self.device)
        lay_out(self.model)
        self._cost: dict[torch.dtype, float] = {}
        self._largest: int | None = None  # side that the memory turned out to allow
        self._warned: set[str] = set()

    @property
    def scale(self) -> int:
        """Output size / input size."""
        return self.model.scale

    def __call__(self, image: ImageT, *, progress: Progress | None = None) -> ImageT:
        """Upscale one image (or a batch of equally large ones, as a tensor).

        Args:
            image: PIL image of mode 1, L, LA, P, RGB, RGBA, CMYK or I;16 (1 comes back as L, P as RGB or RGBA); array
                (h, w) or (h, w, c); tensor (b, c, h, w). c is 1 (grey), 2 (grey, opacity), 3 (RGB) or 4 (RGB,
                opacity); numbers are uint8, uint16 or floating in [0, 1]. It is not changed. A tensor's result is on
                its device.
            progress: called with (tiles done, tiles in all) before the first tile and after each.

        Raises:
            TypeError: another type or dtype. ValueError: another mode, shape or range, an empty image; weights that
                give NaN or infinity even in fp32.
        """
        opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
        height, width = opened.pixels.shape[2:]
        out = opened.empty(height * self.scale, width * self.scale)
        row = 0
        for band in self._bands(opened, progress):
            out[:, :, row : row + band.shape[2]] = band
            row += band.shape[2]
        result: ImageT = opened.rebuild(out)
        return result

    def bands(self, image: ImageT, *, progress: Progress | None = None) -> Iterator[ImageT]:
        """The rows of `self(image)` from top to bottom, a band of some of them at a time, each of the image's kind.

        What is held is a row of tiles, so the memory depends on the tile and the image's width, not on its height.

        Args:
            image: as for a call.
            progress: as for a call.
        """
        opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
        for band in self._bands(opened, progress):
            part: ImageT = opened.rebuild(band)
            yield part

    def tile_side(self, height: int, width: int) -> int:
        """Pixels per side of the tiles that an image of this size is cut into; no less than the image if into none."""
        return self._tile_side(height, width, self.dtype)

    def _tile_side(self, height: int, width: int, dtype: torch.dtype) -> int:
        longest = max(height, width)
        if self.tile == "none":
            return longest
        if self.tile != "auto":
            return self.tile
        least = 2 * self.overlap + 1
        if longest <= least:
            return least
        if dtype not in self._cost:
            self._cost[dtype] = bytes_per_pixel(self.model, dtype, self.device)
        limit = CPU_LIMIT if self.device.type == "cpu" else float("inf")
        return auto_tile(self._cost[dtype], available(self.device), least=least, limit=limit)

    def _bands(self, opened: Opened, progress: Progress | None) -> Iterator[Tensor]:
        """Finished rows, encoded, on the device of the pixels."""
        pixels = opened.pixels
        height, width = pixels.shape[2:]
        fine = pixels.dtype == torch.uint16 and self.precision == "auto"
        dtype = torch.float32 if fine else self.dtype
        side = self._tile_side(height, width, dtype)
        rows, cols = spans(height, side, self.overlap), spans(width, side, self.overlap)
        done, total = 0, len(rows) * len(cols)
        if progress:
            progress(done, total)

        def compute(row: Span, col: Span) -> Tensor:
            nonlocal done
            part = self._read(opened, row, col)
            sr = torch.cat([self._enhance(part[:, list(group)], dtype) for group in self._groups(opened)], dim=1)
            done += 1
            if progress:
                progress(done, total)
            return sr

        first = 0
        for band in _without_gradients(stitch(rows, cols, self.scale, compute)):
            last = first + band.shape[2] // self.scale
            channels = band.to(pixels.device)
            if opened.layout.opacity is not None and self.alpha == "bicubic":
                channels = torch.cat([channels, self._bicubic_opacity(opened, first, last)], dim=1)
            yield opened.encode(channels)
            first = last

    def _groups(self, opened: Opened) -> list[tuple[int, ...]]:
        """Channels that go through the network together."""
        opacity = opened.layout.opacity
        by_model = opacity is not None and self.alpha == "model"
        return [*opened.layout.groups, *([(opacity,)] if by_model and opacity is not None else [])]

    def _read(self, opened: Opened, row: Span, col: Span) -> Float[Tensor, "b c h w"]:
        """A tile's pixels, decoded; colour under invisible pixels is that of visible ones nearby."""
        opacity = opened.layout.opacity
        margin = 0 if opacity is None else REACH
        top, left = max(row.start - margin, 0), max(col.start - margin, 0)
        part = opened.decode(opened.pixels[:, :, top : row.stop + margin, left : col.stop + margin])
        if opacity is not None:
            part = torch.cat([bleed(part[:, :opacity], part[:, opacity:]), part[:, opacity:]], dim=1)
        return part[:, :, row.start - top : row.stop - top, col.start - left : col.stop - left]

    def _bicubic_opacity(self, opened: Opened, first: int, last: int) -> Float[Tensor, "b 1 h w"]:
        """Opacity of source rows first..last, upscaled."""
        top = max(first - BICUBIC_REACH, 0)
        opacity = opened.decode(opened.pixels[:, opened.layout.opacity :, top : last + BICUBIC_REACH])
        return imresize(opacity, self.scale)[:, :, (first - top) * self.scale : (last - top) * self.scale]

    @torch.inference_mode()
    def _enhance(self, x: Float[Tensor, "b c h w"], dtype: torch.dtype) -> Float[Tensor, "b c sh sw"]:
        """A tile of colour (c = 3) or grey (c = 1) through the network; in smaller ones if the memory runs out."""
        channels, height, width = x.shape[1:]
        x = repeat(x, "b 1 h w -> b 3 h w") if channels == 1 else x
        x = x.to(self.device)
        while True:
            side = self._largest or max(height, width)
            try:
                sr = self._in_tiles(x, side, dtype)
            except torch.OutOfMemoryError:
                exhausted = min(side, max(height, width))
            else:
                return reduce(sr, "b c h w -> b 1 h w", "mean") if channels == 1 else sr
            self._halve(exhausted)  # after the exception, which holds the tensors it was raised among

    def _in_tiles(self, x: Tensor, side: int, dtype: torch.dtype) -> Tensor:
        """A tile through the network, in tiles of its own where it is larger than `side`."""

        def one(part: Tensor) -> Tensor:
            return self._finite(part.contiguous(memory_format=torch.channels_last), dtype)

        def compute(row: Span, col: Span) -> Tensor:
            part = x[:, :, row.start : row.stop, col.start : col.stop]
            return self_ensemble(one, part) if self.ensemble else one(part)

        rows, cols = (spans(length, side, self.overlap) for length in x.shape[2:])
        return torch.cat(list(stitch(rows, cols, self.scale, compute)), dim=2)

    def _finite(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The network in `dtype`, in float32 where that gives NaN or infinity."""
        sr = self._forward(x, dtype)
        if not sr.isfinite().all() and dtype != torch.float32:
            self._warn(f"the model gives NaN or infinity in {dtype}: such tiles are computed in float32.")
            sr = self._forward(x, torch.float32)
        if not sr.isfinite().all():
            raise ValueError("the model gives NaN or infinity in float32: its weights are damaged or do not suit it.")
        return sr

    def _forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        with autocast(dtype, self.device):
            sr: Tensor = self.model(x)
        return sr.to(x.dtype)

    def _halve(self, side: int) -> None:
        """Remember that tiles of `side` are too large for the memory."""
        half = side // 2
        if half < 2 * self.overlap + 1:
            raise torch.OutOfMemoryError(
                f"out of memory with tiles of {side} pixels, and smaller ones leave nothing between overlaps of "
                f"{self.overlap}. Use a smaller `overlap`, a smaller model or device='cpu'."
            )
        self._largest = half
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._warn(f"out of memory with tiles of {side} pixels: going on with smaller ones, {half} or less.")

    def _warn(self, text: str) -> None:
        """A warning, once for each of its first two words."""
        kind = " ".join(text.split()[:2])
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def upscale(
    image: ImageT,
    model: str | os.PathLike[str] | SRModel = "cclnn-t-x2",
    *,
    tile: Tile = "auto",
    overlap: int = 16,
    precision: Precision = "auto",
    device: str = "auto",
    ensemble: bool = False,
    alpha: Alpha = "bicubic",
) -> ImageT:
    """Upscale one image; see `Upscaler`, which is the thing to keep for many.

    Args:
        image: PIL image, HWC array or BCHW tensor; the result is of the same kind.
        model: a published name, which is loaded once for several calls; a folder, a file, or a model.
        tile: pixels per side, "auto" or "none".
        overlap: pixels of context between a cut and what is used of a tile.
        precision: "auto", "fp32", "bf16" or "fp16".
        device: "auto", "cpu", "cuda", ...
        ensemble: mean over eight flips and transpositions.
        alpha: opacity by "bicubic" or by the "model".
    """
    settings: dict[str, Any] = {
        "tile": tile,
        "overlap": overlap,
        "precision": precision,
        "device": device,
        "ensemble": ensemble,
        "alpha": alpha,
    }
    if isinstance(model, str) and model in list_pretrained():
        return _make_once(model, **settings)(image)
    return Upscaler(model, **settings)(image)  # what is in a folder or a model may have changed since


@lru_cache(maxsize=2)
def _make_once(name: str, **settings: Any) -> Upscaler:
    return Upscaler(name, **settings)


def _without_gradients(steps: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same, each step computed in inference mode; the caller's code between steps is not."""
    while True:
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step
