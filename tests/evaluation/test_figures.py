"""Figures: what is drawn is the data, files are whole and the same every time."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from cclnn import create_model
from cclnn.attribution import attended_pixels, channel_weights, gini, local_attribution_map
from cclnn.attribution.lam import Attribution
from cclnn.evaluation import figures
from cclnn.metrics import psnr, ssim


def drawn(axes):
    """The pixels of the first image in a panel."""
    return axes.images[0].get_array()


def as_bytes(image):
    return (image[0] * 255).round().byte().permute(1, 2, 0).numpy()


@pytest.fixture
def images():
    truth = torch.rand(1, 3, 40, 52)
    return truth, {name: (truth + s * torch.randn(1, 3, 40, 52)).clamp(0, 1) for name, s in [("a", 0.1), ("b", 0.2)]}


def test_comparison_shows_the_box_of_every_image(images):
    truth, results = images
    figure = figures.comparison_figure(results, (7, 11, 13, 17), truth=truth, scale=2)
    whole, *details = figure.axes
    assert np.array_equal(drawn(whole), as_bytes(truth))
    (box,) = whole.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (10.5, 6.5, 17, 13)
    for axes, image in zip(details, [truth, *results.values()], strict=True):
        assert np.array_equal(drawn(axes), as_bytes(image[:, :, 7:20, 11:28]))
    assert details[0].get_xlabel() == "HR\nPSNR/SSIM"
    for axes, (name, image) in zip(details[1:], results.items(), strict=True):
        quality = psnr(image, truth, border=2).item(), ssim(image, truth, border=2).item()
        assert axes.get_xlabel() == "{}\n{:.2f}/{:.4f}".format(name, *quality)


def test_comparison_without_a_truth_has_no_numbers(images):
    _, results = images
    whole, *details = figures.comparison_figure(results, (7, 11, 13, 17)).axes
    assert np.array_equal(drawn(whole), as_bytes(results["a"]))
    assert [axes.get_xlabel() for axes in details] == ["a", "b"]


def test_channel_bars_are_the_weights_in_three_bands():
    blocks = channel_weights(create_model("cclnn", channels=32, n_resblocks=8), torch.rand(1, 3, 9, 11))
    panels = figures.channel_figure(blocks).axes
    assert [axes.get_title() for axes in panels] == ["body.0", "body.9"]
    for axes, block in zip(panels, blocks, strict=True):
        heights = torch.tensor([bar.get_height() for bar in axes.patches])
        assert_close(heights, block.weights.double())
        assert [len(bars) for bars in axes.containers] == [4, 24, 4]  # floor(0.15 * 32)


def test_attention_marks_the_pixel_on_every_panel():
    image = torch.rand(1, 3, 9, 11)
    blocks = attended_pixels(create_model("nlsn", channels=16, n_resblocks=8), image, (3, 7))
    panels = figures.attention_figure(image, (3, 7), blocks).axes
    assert len(panels) == 4
    for axes in panels:
        assert (axes.lines[0].get_xdata()[0], axes.lines[0].get_ydata()[0]) == (7, 3)
    assert np.array_equal(panels[3].images[0].get_array(), blocks[1].buckets[0].numpy())
    assert panels[0].images[1].get_array().argmax() == blocks[0].weights.argmax().item()


def test_attribution_states_the_index_and_the_window():
    image = torch.rand(1, 3, 16, 18)
    found = local_attribution_map(create_model("edsr", channels=8, n_resblocks=1), image, (8, 10, 6), steps=2)
    first, second = figures.attribution_figure(image, {"edsr": found}, (8, 10, 6), scale=2).axes
    assert second.get_xlabel() == f"edsr: DI {found.diffusion_index:.2f}"
    for axes in (first, second):
        (box,) = axes.patches
        assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (4.5, 3.5, 3, 3)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_files_are_the_same_every_time(images, tmp_path, suffix):
    truth, results = images
    for name in "ab":
        figure = figures.comparison_figure(results, (7, 11, 13, 17), truth=truth, scale=2)
        figures.save_figure(figure, tmp_path / f"{name}{suffix}", dpi=50)
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second
    assert len(first) > 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]
    if suffix == ".png":
        with Image.open(tmp_path / "a.png") as image:
            assert image.format == "PNG"


def test_messages(images, tmp_path, rejects, monkeypatch):
    truth, results = images
    with rejects("`box` of row 30, column 0, 13 x 17 pixels must lie in the image of 40 x 52 pixels"):
        figures.comparison_figure(results, (30, 0, 13, 17), truth=truth, scale=2)
    with rejects("`box` of row 0, column -1, 13 x 17 pixels must lie in"):
        figures.comparison_figure(results, (0, -1, 13, 17))
    with rejects("`results` must not be empty"):
        figures.comparison_figure({}, (0, 0, 13, 17))
    with rejects(r"`results` must be of one size \(1, 3, 40, 52\), 'c' has \(1, 3, 39, 52\)"):
        figures.comparison_figure({"c": truth[:, :, 1:]}, (0, 0, 13, 17), truth=truth)
    with rejects("`suffix of the figure` must be one of '.png', '.svg', '.pdf', got '.jpg'"):
        figures.check_figure_path(tmp_path / "a.jpg")
    with rejects("cannot write '.*a.png': there is no folder '.*none'"):
        figures.check_figure_path(tmp_path / "none" / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with rejects(r'figures need matplotlib: pip install "cclnn\[viz\]"', ImportError):
        figures.comparison_figure(results, (0, 0, 13, 17))


def test_an_empty_map_can_be_drawn():
    """Nothing is attributed where the output is flat."""
    nothing = torch.zeros(9, 11)
    found = Attribution(nothing, gini(nothing), 100.0)
    assert len(figures.attribution_figure(torch.rand(1, 3, 9, 11), {"flat": found}, (2, 2, 4), scale=2).axes) == 2
