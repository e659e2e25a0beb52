"""A tensor through a network: precision, tiles, self-ensemble, and recovery from NaN and from a lack of memory."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from cclnn._checks import check_at_least, check_choice
from cclnn._device import usable_device
from cclnn._machine import memory_at_hand
from cclnn._names import TILE_RULES, TileRule
from cclnn._threads import use_threads
from cclnn._typing import Float, Progress, Tensor
from cclnn.precision import PRECISIONS, Precision, autocast, choose_dtype, lay_out
from cclnn.pretrained.foreign import Network
from cclnn.pretrained.onnx_file import OnnxModel
from cclnn.upscaler.ensemble import self_ensemble
from cclnn.upscaler.memory import Growth, auto_tile, budget, measure
from cclnn.upscaler.tiles import Span, spans, stitch, with_context

Tile = int | TileRule
Edges = Literal["mirror", "network"]
EDGES: tuple[Edges, ...] = get_args(Edges)
OUTSIDE = 8  # mirrored pixels beyond the image's edges: with more, flat corners come out no better
WarningKey = Literal["not finite", "out of memory"]


@dataclass(frozen=True)
class Execution:
    """How a network is run; checked when it is made, before any weights are loaded. See `Upscaler` for the arguments.

    tile:      pixels per side of a tile, "auto" or "none"
    overlap:   pixels of context between a cut and the part of a tile that is used
    precision: "auto", "fp32", "bf16" or "fp16"
    device:    where the network runs
    ensemble:  average over the eight flips and transpositions of every tile
    edges:     "mirror" the image at its edges, or leave them to the "network"'s own padding
    """

    tile: Tile
    overlap: int
    precision: Precision
    device: torch.device
    ensemble: bool
    edges: Edges

    def __post_init__(self) -> None:
        check_at_least("overlap", self.overlap, 0)
        if isinstance(self.tile, int):
            check_at_least("tile", self.tile, 2 * self.overlap + 1)
        elif self.tile not in TILE_RULES:
            raise ValueError(f"`tile` must be a number of pixels, 'auto' or 'none', got {self.tile!r}.")
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("edges", self.edges, EDGES)

    @property
    def outside(self) -> int:
        """Mirrored pixels that a tile at an edge of the image reads beyond it."""
        return OUTSIDE if self.edges == "mirror" else 0


def find_device(device: str) -> torch.device:
    """The device, known to be usable; "auto" is the GPU if there is one."""
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return usable_device(automatic if device == "auto" else device)


class TiledNetwork:
    """A network that takes tensors of any size, a tile at a time.

    Args:
        model: taken over: moved to the device, put in eval mode and laid out in channels_last.
        execution: precision, tiles, device, self-ensemble.
    """

    def __init__(self, model: Network, execution: Execution) -> None:
        self.execution = execution
        self.dtype = _dtype(model, execution)
        self.model = model.eval().to(execution.device)
        lay_out(self.model)
        self._growth: dict[torch.dtype, Growth] = {}
        self._largest: int | None = None  # pixels per side of the largest tile that memory turned out to allow
        self._warned: set[WarningKey] = set()

    @property
    def scale(self) -> int:
        """Output size / input size."""
        return self.model.scale

    @torch.inference_mode()
    def __call__(self, x: Float[Tensor, "b 3 h w"], dtype: torch.dtype) -> Float[Tensor, "b 3 sh sw"]:
        """The whole of `x` through the network in `dtype`; in float32 where that gives NaN or infinity."""

        def enhance(part: Tensor) -> Tensor:
            return self._finite(part.contiguous(memory_format=torch.channels_last), dtype)

        x = x.to(self.execution.device)
        return self_ensemble(enhance, x) if self.execution.ensemble else enhance(x)

    def bands(
        self,
        size: tuple[int, int],
        compute: Callable[[Span, Span], Tensor],
        dtype: torch.dtype,
        progress: Progress | None = None,
    ) -> Iterator[Tensor]:
        """Finished rows of the output, from top to bottom, stitched from the tiles of an image.

        When memory runs out, the rows that are not finished are cut again, into tiles of half the side.

        Args:
            size: height and width of the image.
            compute: (row, col) of a tile, which may reach beyond the image -> its output, by calling this object.
            dtype: what the network runs in; it decides which tile fits the memory.
            progress: called with (tiles done, tiles in all) before the first tile and after each; the latter may grow.
        """
        use_threads()
        (height, width), overlap = size, self.execution.overlap
        finished = done = 0  # rows of the image, tiles
        while finished < height:
            side = self.tile_side(height, width, dtype)
            rows = with_context(spans(height, side, overlap, finished), height, self.execution.outside)
            cols = with_context(spans(width, side, overlap), width, self.execution.outside)
            total = done + len(rows) * len(cols)
            if progress:
                progress(done, total)

            def counted(row: Span, col: Span, total: int = total) -> Tensor:
                nonlocal done
                sr = compute(row, col)
                done += 1
                if progress:
                    progress(done, total)
                return sr

            try:
                for band in _without_gradients(stitch(rows, cols, self.scale, counted)):
                    yield band
                    finished += band.shape[2] // self.scale
            except torch.OutOfMemoryError:
                pass
            if finished < height:  # after the exception, which holds the tensors it was raised among
                self._halve(min(side, max(height, width)))

    def tile_side(self, height: int, width: int, dtype: torch.dtype) -> int:
        """Pixels per side of the tiles that an image of this size is cut into; no less than the image if into none."""
        longest, tile = max(height, width), self.execution.tile
        side = longest if tile == "none" else self._automatic_side(longest, dtype) if tile == "auto" else tile
        return side if self._largest is None else min(side, self._largest)

    def _automatic_side(self, longest: int, dtype: torch.dtype) -> int:
        device, least = self.execution.device, 2 * self.execution.overlap + 1
        if longest <= least:
            return least
        if isinstance(self.model, OnnxModel) and self.model.tile is not None:  # its memory cannot be seen from here
            return max(self.model.tile, least)
        limit = budget(memory_at_hand(device), device)
        if dtype not in self._growth:
            self._growth[dtype] = measure(self.model, dtype, device, limit=limit)
        return auto_tile(self._growth[dtype], limit, least=least, outside=self.execution.outside)

    def _finite(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        sr = self._forward(x, dtype)
        if not sr.isfinite().all() and dtype != torch.float32:
            self._warn("not finite", f"the model gives NaN or infinity in {dtype}: such tiles are computed in float32.")
            sr = self._forward(x, torch.float32)
        if not sr.isfinite().all():
            raise ValueError("the model gives NaN or infinity in float32: its weights are damaged or do not suit it.")
        return sr

    def _forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        with autocast(dtype, self.execution.device):
            sr: Tensor = self.model(x)
        return sr.to(x.dtype)

    def _halve(self, side: int) -> None:
        """Remember that tiles of `side` pixels are too large for the memory."""
        half = side // 2
        if half < 2 * self.execution.overlap + 1:
            raise torch.OutOfMemoryError(
                f"out of memory with tiles of {side} pixels, and smaller ones leave nothing between overlaps of "
                f"{self.execution.overlap}. Use a smaller `overlap`, a smaller model or device='cpu'."
            )
        self._largest = half
        if self.execution.device.type == "cuda":
            torch.cuda.empty_cache()
        self._warn(
            "out of memory",
            f"out of memory with tiles of {side} pixels: going on with smaller ones, {half} or less.",
        )

    def _warn(self, key: WarningKey, text: str) -> None:
        """A warning, once for each key."""
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _dtype(model: Network, execution: Execution) -> torch.dtype:
    """The dtype that is asked for; with precision "auto" bfloat16 only where the model's record says that it works."""
    dtype = choose_dtype(execution.precision, execution.device)
    record = getattr(model, "architecture", None)  # a class of the user's may have none
    unsupported = record is not None and "bf16" not in record.low_precision
    return torch.float32 if execution.precision == "auto" and unsupported else dtype


def _without_gradients(steps: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same, each step computed in inference mode; the caller's code between steps is not."""
    while True:
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step
