"""CSNLN: what is computed, padding, memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.models import create_model

SMALL = {"channels": 8, "depth": 2}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_is_the_cell_again_and_again_and_a_convolution_of_all_it_gives(scale):
    model = create_model("csnln", scale=scale, channels=4, depth=3).double().eval()
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    features, found = model.head(model.sub_mean(x)), []
    for _ in range(3):
        features, large = model.cell(features)
        found.append(large)
    image = F.conv2d(torch.cat(found, dim=1), model.tail.weight, model.tail.bias, padding=1)
    assert_close(model(x), model.add_mean(image))


def test_white_at_255_is_the_same_with_smaller_weights():
    """The head sees 255 times as much, and the tail's image is divided again."""
    model, white = (create_model("csnln", **SMALL, rgb_range=value).double().eval() for value in (1.0, 255.0))
    white.load_state_dict({**model.state_dict(), **{k: v for k, v in white.state_dict().items() if "mean" in k}})
    with torch.no_grad():
        white.head[0][0].weight /= 255
        white.tail.weight *= 255
        white.tail.bias *= 255
    x = torch.rand(1, 3, 5, 7, dtype=torch.float64)
    assert_close(white(x), model(x))


@pytest.mark.parametrize("scale", [2, 3])
def test_multiples_of_the_scale_are_not_padded(scale, monkeypatch):
    """And other sizes are, in the cross-scale attention alone, so that no pixel of the image is lost."""
    padded, select = [], torch.Tensor.index_select
    monkeypatch.setattr(torch.Tensor, "index_select", lambda x, dim, at: padded.append(dim) or select(x, dim, at))
    model = create_model("csnln", scale=scale, **SMALL).eval()
    with torch.no_grad():
        for rows, columns, dims in ((2 * scale, 3 * scale, []), (2 * scale + 1, 3 * scale - 1, [2, 3])):
            assert model(torch.rand(1, 3, rows, columns)).shape == (1, 3, scale * rows, scale * columns)
            assert padded == dims * model.depth


def peak(name, size, **arguments):
    found = peak_memory(create_model(name, **arguments), size)
    if found is None:
        pytest.skip("this system does not report the peak of a process")
    return found


@pytest.mark.parametrize(("scale", "size"), [(2, (96, 80)), (4, (64, 48))])
def test_memory_is_the_stated_one_and_does_not_hold_all_scores(scale, size):
    """The scores of the last in-scale attention at once would take 225 and 576 MiB."""
    pixels = size[0] * size[1]
    scores = 4 * (pixels * (scale // 2) ** 2) ** 2
    stated = 24 * 128 * scale**2 * pixels + 2**27
    assert peak("csnln", size, scale=scale, depth=1) < stated < scores + 2**20


def test_memory_does_not_grow_with_depth_in_inference():
    """Kept, 48 maps of h would take 72 MiB."""
    few, many = (peak("csnln", (64, 48), channels=32, depth=depth) for depth in (1, 48))
    assert many < few + 36 * 2**20
