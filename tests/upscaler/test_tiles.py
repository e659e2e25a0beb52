"""Tiles cover an axis, see enough around what they keep, and blend into each other with factors that sum to one."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from cclnn.upscaler.tiles import mirrored, spans, stitch, with_context


@given(length=st.integers(1, 300), overlap=st.integers(0, 9), extra=st.integers(1, 40), scale=st.integers(1, 4))
def test_factors_sum_to_one_where_tiles_see_enough(length, overlap, extra, scale):
    tile = 2 * overlap + extra
    cover = spans(length, tile, overlap)
    total = torch.zeros(length * scale)
    for span in cover:
        assert 0 <= span.start <= span.keep_from < span.keep_to <= span.stop <= length
        assert span.stop - span.start == min(tile, length)
        assert span.start == 0 or span.keep_from - span.start >= overlap
        assert span.stop == length or span.stop - span.keep_to >= overlap
        factors = span.blend_factors(scale)
        assert factors.min() >= 0
        total[span.keep_from * scale : span.keep_to * scale] += factors
    assert_close(total, torch.ones_like(total))
    assert cover[0].keep_from == 0
    assert cover[-1].keep_to == length
    for a, b in pairwise(cover):
        assert a.keep_to - b.keep_from == a.fade_out == b.fade_in
    for a, b in zip(cover, cover[2:], strict=False):
        assert a.keep_to <= b.keep_from


def test_a_short_axis_is_one_tile():
    (only,) = spans(31, 32, 4)
    assert (only.start, only.stop, only.keep_from, only.keep_to) == (0, 31, 0, 31)


def test_a_case_worked_by_hand():
    """40 pixels in tiles of 22 that share 12 or more: 0..22, 9..31, 18..40; 13 are shared, 4 of them blended."""
    first, second, third = spans(40, 22, 4)
    assert [(span.start, span.stop) for span in (first, second, third)] == [(0, 22), (9, 31), (18, 40)]
    assert (first.keep_from, first.keep_to) == (0, 17)
    assert (second.keep_from, second.keep_to) == (13, 26)
    assert (third.keep_from, third.keep_to) == (22, 40)
    ramp = [(1 - math.cos(math.pi * (i + 0.5) / 4)) / 2 for i in range(4)]
    assert_close(second.blend_factors(1), torch.tensor([*ramp, *[1.0] * 5, *ramp[::-1]]))


@pytest.mark.parametrize(("height", "width", "count"), [(10, 10, 1), (10, 11, 2), (25, 11, 10)])
def test_stitches_row_by_row_and_holds_one_row_of_tiles(height, width, count):
    image = torch.rand(2, 3, height, width)
    seen, bands = [], []

    def compute(row, col):
        seen.append((row.start, col.start))
        return image[:, :, row.start : row.stop, col.start : col.stop].repeat_interleave(2, 2).repeat_interleave(2, 3)

    for band in stitch(spans(height, 10, 2), spans(width, 10, 2), 2, compute):
        bands.append(band)
        assert len({row for row, _ in seen}) == len(bands)
    assert_close(torch.cat(bands, dim=2), image.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert len(seen) == count
    assert seen == sorted(seen)


@given(length=st.integers(1, 200), overlap=st.integers(0, 9), extra=st.integers(1, 40), data=st.data())
def test_what_is_left_of_an_axis_is_covered_from_where_it_was_left(length, overlap, extra, data):
    finished = data.draw(st.integers(0, length - 1))
    tile = 2 * overlap + extra
    cover = spans(length, tile, overlap, finished)
    assert (cover[0].keep_from, cover[-1].keep_to) == (finished, length)
    assert cover[0].start == max(finished - overlap, 0)
    assert cover[0].fade_in == 0
    for span in cover:
        assert span.start <= span.keep_from < span.keep_to <= span.stop <= length
        assert span.stop - span.start <= tile
    for a, b in pairwise(cover):
        assert a.keep_to - b.keep_from == a.fade_out == b.fade_in


def test_only_spans_at_the_ends_reach_beyond_the_axis():
    inside, beyond = spans(100, 40, 5), with_context(spans(100, 40, 5), 100, 7)
    assert [span.start for span in beyond] == [-7, *(span.start for span in inside[1:])]
    assert [span.stop for span in beyond] == [*(span.stop for span in inside[:-1]), 107]
    assert [(a.keep_from, a.keep_to) for a in beyond] == [(a.keep_from, a.keep_to) for a in inside]


@pytest.mark.parametrize("length", [1, 2, 7, 30])
def test_mirroring_is_that_of_numpy(length):
    expected = np.pad(np.arange(length), 16, mode="symmetric")
    assert mirrored(-16, length + 16, length).tolist() == expected.tolist()
    assert mirrored(0, length, length).tolist() == list(range(length))
