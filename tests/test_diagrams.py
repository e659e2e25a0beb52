"""docs/figures/{block,network,attention-stages}.svg are what benchmarks/diagrams.py draws of the code as it is."""

import re
from xml.etree import ElementTree

import pytest
from diagrams import DIAGRAMS, FIGURES
from drawing import Box, Link, draw

import cclnn

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_is_up_to_date(name):
    assert (FIGURES / f"{name}.svg").read_text() == DIAGRAMS[name](), "run benchmarks/diagrams.py"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_no_text_leaves_its_box_or_the_picture(name):
    """By the estimate of 7 pixels a character, which is generous for a font of 12 pixels."""
    root = ElementTree.fromstring((FIGURES / f"{name}.svg").read_text())
    assert root.find(f"{SVG}title").text
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in root.iter(f"{SVG}rect")]
    for text in root.iter(f"{SVG}text"):
        x, y, half = float(text.get("x")), float(text.get("y")), 3.5 * len(text.text)
        assert half <= x <= width - half
        assert 10 <= y <= height
        for left, top, wide, tall in boxes:
            if left < x < left + wide and top < y < top + tall:
                assert left <= x - half
                assert x + half <= left + wide


def test_the_block_names_its_parts():
    parts = {type(module).__name__ for module in cclnn.CCLNBlock(16).children()}
    assert parts <= set(re.findall(r">(\w+)</text>", DIAGRAMS["block"]()))


def test_an_arrow_ends_at_the_box_it_points_to():
    picture = draw([Box(("a",), 0, 0, "first"), Box(("b",), 1, 1, "second")], [Link(0, 1)], title="two")
    boxes = [tuple(map(int, found)) for found in re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)"', picture)]
    (start,) = re.findall(r'<path d="M(\d+) \d+H', picture)
    (tip,) = re.findall(r'<path d="M(\d+) \d+l', picture)
    assert int(start) == boxes[0][0] + boxes[0][2]
    assert int(tip) == boxes[1][0]
