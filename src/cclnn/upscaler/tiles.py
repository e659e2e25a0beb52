"""Cut an image into overlapping tiles of one size, and blend what is computed on them without a seam."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from cclnn._typing import Float, Int, Tensor


@dataclass(frozen=True)
class Span:
    """Pixels start..stop along one axis are read, inside the image or beyond it; of these keep_from..keep_to are kept.

    The first `fade_in` of the kept pixels are shared with the tile before, the last `fade_out` with the one after.
    """

    start: int
    stop: int
    keep_from: int
    keep_to: int
    fade_in: int = 0
    fade_out: int = 0

    def blend_factors(self, scale: int) -> Float[Tensor, " n"]:
        """Factor of every kept output pixel: 1, half a cosine where two tiles are blended, whose factors sum to 1."""
        factors = torch.ones((self.keep_to - self.keep_from) * scale)
        if self.fade_in:
            factors[: self.fade_in * scale] = _ramp(self.fade_in * scale)
        if self.fade_out:
            factors[-self.fade_out * scale :] = 1 - _ramp(self.fade_out * scale)
        return factors

    def shifted(self, by: int) -> "Span":
        """The same span `by` pixels further along the axis."""
        moved = {name: getattr(self, name) + by for name in ("start", "stop", "keep_from", "keep_to")}
        return replace(self, **moved)


def spans(length: int, tile: int, overlap: int, finished: int = 0) -> list[Span]:
    """Evenly spread windows of `tile` pixels (fewer if the axis is shorter) that cover pixels finished..length.

    Two neighbours share 2 * overlap + blend pixels or more. The first `overlap` of them are discarded from the later
    window and the last `overlap` from the earlier one; over the `blend` between them the earlier fades into the later.
    blend is `overlap`, less where the tile is too small. So every kept pixel lies `overlap` or more from a cut, and a
    network whose receptive field has no larger radius gives the same there as on the whole image. At the ends of the
    axis the windows end with it; pixels before `finished` are context, at most `overlap` of them.
    """
    if finished:
        start = max(finished - overlap, 0)
        first, *rest = (span.shifted(start) for span in spans(length - start, tile, overlap))
        return [replace(first, keep_from=finished), *rest]
    if length <= tile:
        return [Span(0, length, 0, length)]
    blend = min(overlap, (tile - 2 * overlap) // 3)  # a third: a tile has faded in before it fades out
    step = tile - 2 * overlap - blend
    count = math.ceil((length - tile) / step) + 1
    starts = [i * (length - tile) // (count - 1) for i in range(count)]
    fades = [(a + tile + b - blend) // 2 for a, b in pairwise(starts)]  # where blending begins
    begins, ends = [0, *fades], [*(fade + blend for fade in fades), length]
    return [
        Span(start, start + tile, begin, end, blend if i else 0, blend if i < count - 1 else 0)
        for i, (start, begin, end) in enumerate(zip(starts, begins, ends, strict=True))
    ]


def with_context(cover: list[Span], length: int, outside: int) -> list[Span]:
    """The same spans, those that end with the axis reading `outside` pixels beyond its ends."""
    return [
        replace(
            span,
            start=span.start - outside if span.start == 0 else span.start,
            stop=span.stop + outside if span.stop == length else span.stop,
        )
        for span in cover
    ]


def mirrored(start: int, stop: int, length: int) -> Int[Tensor, " n"]:
    """The pixels at positions start..stop of an axis that is mirrored at both ends, as often as needed.

    The last pixel is repeated: ... 1 0 | 0 1 2 ... length-1 | length-1 length-2 ...
    """
    positions = torch.arange(start, stop) % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def stitch(
    rows: list[Span], cols: list[Span], scale: int, compute: Callable[[Span, Span], Tensor]
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Finished rows of the output, from top to bottom; no more than one row of tiles is held.

    Args:
        rows: the tiles along the height, from `spans`.
        cols: along the width.
        scale: output size / input size.
        compute: (row, col) of a tile -> its output (b, c, scale * height of the tile, scale * width of the tile).
    """
    width = cols[-1].keep_to
    shared: Tensor | None = None  # rows that the next tiles add to
    for row in rows:
        band: Tensor | None = None
        for col in cols:
            sr = compute(row, col)
            if band is None:
                band = sr.new_zeros(*sr.shape[:2], (row.keep_to - row.keep_from) * scale, width * scale)
            factors = row.blend_factors(scale)[:, None] * col.blend_factors(scale)
            kept = sr[:, :, _inner(row, scale), _inner(col, scale)]
            band[:, :, :, col.keep_from * scale : col.keep_to * scale] += kept * factors.to(kept)
        assert band is not None  # there is a column
        if shared is not None:
            band[:, :, : shared.shape[2]] += shared
        done = band.shape[2] - row.fade_out * scale
        shared = band[:, :, done:].clone()
        yield band[:, :, :done]


def _ramp(n: int) -> Float[Tensor, " n"]:
    """(1 - cos(pi t)) / 2 at the centres of n pixels."""
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return ((1 - torch.cos(math.pi * t)) / 2).float()


def _inner(span: Span, scale: int) -> slice:
    """The kept part within the tile's own output."""
    return slice((span.keep_from - span.start) * scale, (span.keep_to - span.start) * scale)
