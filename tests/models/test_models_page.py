"""docs/models.md and its diagrams are what the records say."""

import pytest
from models_page import DIAGRAMS, PAGE, called, diagrams, folded, page

import cclnn
from cclnn.models.registry import ARCHITECTURES


def test_page_is_up_to_date():
    assert PAGE.read_text() == page() + "\n", "run benchmarks/models_page.py"


def test_diagrams_are_up_to_date():
    made = diagrams()
    assert {path.name for path in DIAGRAMS.glob("*.svg")} == {path.name for path in made}
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name}: run benchmarks/models_page.py"


def test_modules_are_shown_in_the_order_of_their_calls():
    order = [part for part, _ in called(cclnn.create_model("rnan", channels=8))]
    assert list(dict.fromkeys(order)) == ["sub_mean", "head", "low", "body", "high", "tail", "add_mean"]


def test_boxes_that_stand_several_times_in_a_row_are_drawn_once():
    head, cell, tail = ("head", "Conv2d", 2), ("cell", "Cell", 1), ("tail", "Conv2d", 1)
    runs = [head, cell, tail, cell, tail, cell, tail, head]
    assert folded(runs) == [head, ("cell, 3 times", "Cell", 1), ("tail, 3 times", "Conv2d", 1), head]
    assert folded([head, cell, tail, cell]) == [head, cell, tail, cell]
    assert folded([]) == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_diagram_names_the_blocks(name):
    text = (DIAGRAMS / f"{name.lower()}.svg").read_text()
    assert text.startswith("<svg")
    assert "Conv2d" in text
