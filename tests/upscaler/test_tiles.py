"""Tiles cover an axis once, stay inside it, and see enough around what they keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cclnn.upscaler.tiles import spans, tiles


@given(length=st.integers(1, 300), overlap=st.integers(0, 9), extra=st.integers(1, 40))
def test_kept_parts_cover_the_axis_once_with_overlap_around(length, overlap, extra):
    tile = 2 * overlap + extra
    cover = spans(length, tile, overlap)
    kept = [pixel for span in cover for pixel in range(span.keep_from, span.keep_to)]
    assert kept == list(range(length))
    for span in cover:
        assert 0 <= span.start <= span.keep_from < span.keep_to <= span.stop <= length
        assert span.stop - span.start == min(tile, length)
        assert span.start == 0 or span.keep_from - span.start >= overlap
        assert span.stop == length or span.stop - span.keep_to >= overlap


def test_a_short_axis_is_one_tile():
    (only,) = spans(31, 32, 4)
    assert (only.start, only.stop, only.keep_from, only.keep_to) == (0, 31, 0, 31)


@pytest.mark.parametrize(("height", "width", "count"), [(10, 10, 1), (10, 11, 2), (25, 11, 8)])
def test_tiles_go_row_by_row(height, width, count):
    grid = list(tiles(height, width, tile=10, overlap=2))
    assert len(grid) == count
    assert grid == sorted(grid, key=lambda pair: (pair[0].start, pair[1].start))
