"""Images of any size through a network, tile by tile."""

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeVar

import torch

from cclnn._checks import check_at_least
from cclnn.hub.pretrained import load
from cclnn.image.arrays import open_image
from cclnn.models._base import SRModel
from cclnn.precision import Precision, autocast, choose_dtype, lay_out
from cclnn.upscaler.tiles import Span, tiles

__all__ = ["Upscaler", "upscale"]

AUTO_TILE = 384
Progress = Callable[[int, int], None]
ImageT = TypeVar("ImageT")


class Upscaler:
    """Upscale images with one model; the result is of the same kind as the input, `model.scale` times its size.

    Deterministic: the same input gives the same output, and torch's global random state is neither read nor changed.
    Tiles bound the memory. A network with a receptive field below `overlap` gives what it gives on the whole image; a
    non-local network (NLSN, CCLNN) sees one tile at a time, so its result depends a little on the tiles.

    Args:
        model: a published name, a folder, a file (see `cclnn.load`), or a model, which is copied.
        tile: pixels per side of a tile of the input; "auto" is 384, "none" takes the whole image at once.
        overlap: pixels that a tile sees around the part it is responsible for.
        precision: "auto", "fp32", "bf16" or "fp16"; "auto" is bf16 where the hardware is fast at it.
        device: "cpu", "cuda", ...; "auto" is the GPU if there is one.
    """

    def __init__(
        self,
        model: str | SRModel = "cclnn-t-x2",
        *,
        tile: int | Literal["auto", "none"] = "auto",
        overlap: int = 16,
        precision: Precision = "auto",
        device: str = "auto",
    ) -> None:
        check_at_least("overlap", overlap, 0)
        if isinstance(tile, int):
            check_at_least("tile", tile, 2 * overlap + 1)
        elif tile not in ("auto", "none"):
            raise ValueError(f"`tile` must be a number of pixels, 'auto' or 'none', got {tile!r}.")
        self.tile = AUTO_TILE if tile == "auto" else None if tile == "none" else tile
        self.overlap = overlap
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = choose_dtype(precision, self.device)
        network = copy.deepcopy(model) if isinstance(model, SRModel) else load(model)
        self.model = network.eval().to(self.device)
        lay_out(self.model)

    @property
    def scale(self) -> int:
        """Output size / input size."""
        return self.model.scale

    @torch.inference_mode()
    def __call__(self, image: ImageT, *, progress: Progress | None = None) -> ImageT:
        """Upscale one image (or a batch of equally large ones, as a tensor).

        Args:
            image: PIL image (RGB, L), array (h, w, 3 | 1) or (h, w), or tensor (b, 3 | 1, h, w); uint8, or floating in
                [0, 1]. It is not changed.
            progress: called with (tiles done, tiles in all) before the first tile and after each.
        """
        opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
        pixels, scale = opened.pixels, self.scale
        batch, channels, height, width = pixels.shape
        out = torch.empty(batch, channels, height * scale, width * scale, dtype=pixels.dtype, device=pixels.device)
        parts = list(tiles(height, width, self.tile or max(height, width), self.overlap))
        if progress:
            progress(0, len(parts))
        for done, (rows, cols) in enumerate(parts, start=1):
            part = opened.decode(pixels[:, :, rows.start : rows.stop, cols.start : cols.stop])
            with autocast(self.dtype, self.device):
                sr = self.model(part.to(self.device).contiguous(memory_format=torch.channels_last))
            kept = sr[:, :, _inner(rows, scale), _inner(cols, scale)]
            target = out[:, :, _outer(rows, scale), _outer(cols, scale)]
            target.copy_(opened.encode(kept.to(pixels.device)))
            if progress:
                progress(done, len(parts))
        result: ImageT = opened.rebuild(out)
        return result


def upscale(
    image: ImageT,
    model: str | SRModel = "cclnn-t-x2",
    *,
    tile: int | Literal["auto", "none"] = "auto",
    precision: Precision = "auto",
    device: str = "auto",
) -> ImageT:
    """Upscale one image; see `Upscaler`, which is the thing to keep for many.

    Args:
        image: PIL image, HWC array or BCHW tensor; the result is of the same kind.
        model: a published name, a folder, a file, or a model.
        tile: pixels per side, "auto" or "none".
        precision: "auto", "fp32", "bf16" or "fp16".
        device: "auto", "cpu", "cuda", ...
    """
    if isinstance(model, str):
        return _cached(model, tile, precision, device)(image)
    return Upscaler(model, tile=tile, precision=precision, device=device)(image)


@lru_cache(maxsize=2)
def _cached(model: str, tile: int | Literal["auto", "none"], precision: Precision, device: str) -> Upscaler:
    return Upscaler(model, tile=tile, precision=precision, device=device)


def _inner(span: Span, scale: int) -> slice:
    """The kept part within the tile's own output."""
    return slice((span.keep_from - span.start) * scale, (span.keep_to - span.start) * scale)


def _outer(span: Span, scale: int) -> slice:
    """The kept part within the whole output."""
    return slice(span.keep_from * scale, span.keep_to * scale)
