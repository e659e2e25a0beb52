"""Published weights still make what they made when they were published."""

import pytest
from golden_output import golden_output

import cclnn
from cclnn.hub.pretrained import manifest


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_the_same_bytes_as_when_published(name):
    assert golden_output(cclnn.load(name)) == manifest()[name]["golden"]


def test_other_weights_make_other_bytes():
    """One thousandth more in one bias is enough."""
    model = cclnn.load("cclnn-t-x2")
    model.tail[-1].bias.data[0] += 0.002
    found, golden = golden_output(model), manifest()["cclnn-t-x2"]["golden"]
    assert found["sha256"] != golden["sha256"]


@pytest.mark.parametrize("name", cclnn.list_pretrained())
def test_the_manifest_tells_how_they_were_made(name):
    entry = manifest()[name]
    told = {"data", "data_licence", "steps", "hours", "hardware", "seed", "recipe", "commit"}
    assert told <= entry["training"].keys()
    assert entry["training"]["hours"] > 0
    assert {"Set5", "B100"} == entry["measured"].keys()
