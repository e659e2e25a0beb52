"""Colour spreads from visible pixels into invisible ones, no further than it must."""

import torch
from torch.testing import assert_close

from cclnn.image.transparency import REACH, bleed


def test_a_case_worked_by_hand():
    """One visible pixel: its colour goes everywhere within reach, and what lies beyond keeps its own."""
    colour = torch.full((1, 3, 1, 40), 0.25)
    opacity = torch.zeros(1, 1, 1, 40)
    colour[..., 5], opacity[..., 5] = 0.75, 0.01
    expected = torch.full((1, 3, 1, 40), 0.25)
    expected[..., : 5 + REACH + 1] = 0.75
    assert_close(bleed(colour, opacity), expected)


def test_takes_the_mean_of_visible_neighbours():
    colour = torch.tensor([[[[0.2, 9.0, 0.6]]]])
    opacity = torch.tensor([[[[1.0, 0.0, 0.5]]]])
    assert_close(bleed(colour, opacity), torch.tensor([[[[0.2, 0.4, 0.6]]]]))


def test_visible_pixels_keep_their_colour():
    colour, opacity = torch.rand(2, 3, 17, 23), torch.rand(2, 1, 17, 23).sub(0.5).clamp(min=0)
    visible = (opacity > 0).expand_as(colour)
    assert_close(bleed(colour, opacity)[visible], colour[visible])


def test_a_part_with_its_surroundings_is_as_in_the_whole():
    colour, opacity = torch.rand(1, 3, 80, 9), torch.zeros(1, 1, 80, 9)
    opacity[:, :, [5, 33, 61], [2, 7, 3]] = 1
    whole = bleed(colour, opacity)
    part = slice(30 - REACH, 50 + REACH)
    assert_close(bleed(colour[:, :, part], opacity[:, :, part])[:, :, REACH:-REACH], whole[:, :, 30:50])


def test_nothing_or_everything_visible_changes_nothing():
    colour = torch.rand(1, 3, 5, 7)
    for opacity in (torch.zeros(1, 1, 5, 7), torch.ones(1, 1, 5, 7)):
        assert torch.equal(bleed(colour, opacity), colour)
