"""Cut an image into overlapping tiles of one size, each responsible for a part of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product


@dataclass(frozen=True)
class Span:
    """Pixels start..stop along one axis are read; keep_from..keep_to of them are kept."""

    start: int
    stop: int
    keep_from: int
    keep_to: int


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Windows of `tile` pixels (fewer if the axis is shorter) that share at least 2 * overlap with their neighbours;
    what is kept runs from the middle of one shared part to the middle of the next, without gap or overlap.
    """
    if length <= tile:
        return [Span(0, length, 0, length)]
    step = tile - 2 * overlap
    starts = [*range(0, length - tile, step), length - tile]
    cuts = [0, *((a + tile + b) // 2 for a, b in pairwise(starts)), length]
    return [Span(start, start + tile, *keep) for start, keep in zip(starts, pairwise(cuts), strict=True)]


def tiles(height: int, width: int, tile: int, overlap: int) -> Iterator[tuple[Span, Span]]:
    """(rows, cols) of every tile, row by row."""
    yield from product(spans(height, tile, overlap), spans(width, tile, overlap))
