"""Published weights still make what they made when they were published."""

import pytest
from golden_output import golden_output, margin, steady_place

import cclnn
from cclnn.weights import manifest


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_the_same_bytes_as_when_published(name):
    golden = manifest()[name]["golden"]
    assert golden_output(cclnn.load(name), golden["place"]) == golden


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_no_value_tips_on_other_hardware(name):
    """With other instructions (SSE4.1 for AVX-512) values were seen to differ by 1.1e-4 of a level."""
    assert margin(cclnn.load(name), manifest()[name]["golden"]["place"]) > 4e-4


def test_the_steadiest_place_is_taken(monkeypatch):
    monkeypatch.setattr("golden_output.APART", 120)
    model = cclnn.load("cclnn-s-x4")
    places = [(row, column) for row in (0, 120, 240) for column in (0, 120, 240, 360)]
    assert steady_place(model) == max(places, key=lambda place: margin(model, place))


def test_other_weights_make_other_bytes():
    """One thousandth more in one bias is enough."""
    model = cclnn.load("cclnn-s-x2")
    model.tail.bias.data[0] += 0.002
    golden = manifest()["cclnn-s-x2"]["golden"]
    found = golden_output(model, golden["place"])
    assert found["sha256"] != golden["sha256"]


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_the_manifest_tells_how_they_were_made(name):
    entry = manifest()[name]
    told = {"data", "data_licence", "steps", "hours", "hardware", "seed", "recipe", "commit"}
    assert told <= entry["training"].keys()
    assert entry["training"]["hours"] > 0
    assert {"Set5", "B100"} == entry["measured"].keys()
