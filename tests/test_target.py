"""The size that is asked for, to the pixel, and the networks that reach it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cclnn._target import LARGEST, PASSES, Target, passes


@pytest.mark.parametrize(
    ("target", "height", "width", "size"),
    [
        ({"scale": 2}, 37, 53, (74, 106)),
        ({"scale": 1.5}, 37, 53, (56, 80)),  # 55.5 and 79.5, half up
        ({"scale": 2.7}, 100, 10, (270, 27)),
        ({"scale": 8}, 1, 3, (8, 24)),
        ({"width": 1920}, 480, 640, (1440, 1920)),
        ({"height": 1000}, 333, 500, (1000, 1502)),
        ({"megapixels": 12}, 1500, 2000, (3000, 4000)),
    ],
)
def test_sizes(target, height, width, size):
    assert Target(**target).size(height, width) == size


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), factor=st.floats(1, LARGEST))
def test_sides_are_met_exactly_and_the_aspect_within_half_a_pixel(height, width, factor):
    wide = math.floor(width * factor)
    if wide >= width:
        rows, columns = Target(width=wide).size(height, width)
        assert columns == wide
        assert abs(rows - height * wide / width) <= 0.5 + 1e-9 or rows == 1
    rows, columns = Target(scale=factor).size(height, width)
    assert abs(rows - height * factor) <= 0.5 + 1e-9
    assert abs(columns - width * factor) <= 0.5 + 1e-9
    product = math.prod(passes(factor, [2, 3, 4], [2, 3, 4]))
    assert rows <= height * product  # what networks give is reduced, never enlarged
    assert columns <= width * product


@pytest.mark.parametrize(
    ("factor", "chain"),
    [(1, 2), (1.5, 2), (2, 2), (2.01, 3), (3, 3), (3.5, 4), (4, 4), (4.1, 6), (6, 6), (7, 8), (8, 8)],
)
def test_few_passes_then_little_to_reduce(factor, chain):
    found = passes(factor, [2, 3, 4], [4, 2, 3])
    assert math.prod(found) == chain
    assert len(found) == (1 if chain <= 4 else 2)


def test_one_network_is_used_again_and_again():
    assert passes(8, [2], [2]) == (2, 2, 2)
    assert passes(5, [3], [3]) == (3, 3)
    assert passes(4, [2], [2, 3, 4]) == (2, 2)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({}, ""),
        ({"scale": 2.0}, "x2"),
        ({"scale": 1.5}, "x1.5"),
        ({"width": 1920}, "w1920"),
        ({"height": 1080}, "h1080"),
        ({"megapixels": 12.5}, "12.5mp"),
    ],
)
def test_labels(given, label):
    assert Target(**given).label == label
    assert Target(**given).is_given is bool(label)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scale": 2, "width": 9},
            "at most one of scale, width, height and megapixels can be given, got `scale`=2 and",
        ),
        ({"scale": 8.1}, "`scale` must lie between 1 and 8, got 8.1"),
        ({"scale": 0.5}, "`scale` must lie between 1 and 8, got 0.5"),
        ({"scale": float("nan")}, "`scale` must lie between 1 and 8, got nan"),
        ({"width": 0}, "`width` must be positive, got 0"),
        ({"megapixels": float("inf")}, "`megapixels` must be positive, got inf"),
    ],
)
def test_messages(given, message, rejects):
    with rejects(message):
        Target(**given)


def test_a_size_that_is_no_enlargement_or_too_large_is_told(rejects):
    with rejects("`width`=90 is 0.9 times an image of 100 x 50 pixels; 1 to 8 is possible."):
        Target(width=90).size(50, 100)
    with rejects("`megapixels`=1 is 14.1 times an image of 100 x 50 pixels; 1 to 8 is possible."):
        Target(megapixels=1).size(50, 100)
    with rejects("networks for x2 do not reach a factor of 17."):
        passes(2**PASSES + 1, [2], [2])
