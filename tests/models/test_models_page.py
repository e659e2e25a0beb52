"""docs/models.md and its diagrams are what the records say."""

import pytest
from models_page import DIAGRAMS, PAGE, called, diagrams, page

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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_diagram_names_the_blocks(name):
    text = (DIAGRAMS / f"{name.lower()}.svg").read_text()
    assert text.startswith("<svg")
    assert "Conv2d" in text
