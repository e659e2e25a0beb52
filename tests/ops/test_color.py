"""Luma of BT.601 in studio range, against values worked by hand."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.ops import rgb_to_y

BY_HAND = {  # red, green, blue -> 255 Y
    (0.0, 0.0, 0.0): 16.0,
    (1.0, 1.0, 1.0): 235.0,
    (1.0, 0.0, 0.0): 81.481,
    (0.0, 1.0, 0.0): 144.553,
    (0.0, 0.0, 1.0): 40.966,
    (0.5, 0.5, 0.5): 125.5,
    (0.2, 0.4, 0.6): 95.4970,  # 13.0962 + 51.4212 + 14.9796 + 16
}


@pytest.mark.parametrize(("rgb", "y"), BY_HAND.items(), ids=str)
def test_equals_hand_worked_values(rgb, y, device, dtype):
    image = torch.tensor(rgb, device=device, dtype=dtype).reshape(1, 3, 1, 1)
    expected = torch.full((1, 1, 1, 1), y / 255, device=device, dtype=dtype)
    assert_close(rgb_to_y(image), expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)


def test_every_pixel_is_converted_by_itself():
    image = torch.rand(2, 3, 5, 7)
    out = rgb_to_y(image)
    assert out.shape == (2, 1, 5, 7)
    assert_close(out[1, :, 4:, 2:3], rgb_to_y(image[1:, :, 4:, 2:3])[0])


def test_is_not_rounded_to_bytes():
    step = torch.full((1, 3, 1, 1), 1e-4)
    assert_close(rgb_to_y(step).item(), (16 + 219 * 1e-4) / 255, rtol=0, atol=1e-8)


def test_messages(rejects):
    with rejects(r"`rgb` must have shape \(b c=3 h w\), got \(2, 1, 5, 7\)"):
        rgb_to_y(torch.rand(2, 1, 5, 7))
    with rejects(r"`rgb` must have shape \(b c=3 h w\), got \(3, 5, 7\)"):
        rgb_to_y(torch.rand(3, 5, 7))
    with rejects(r"`rgb` must not be empty, got shape \(2, 3, 0, 7\)"):
        rgb_to_y(torch.rand(2, 3, 0, 7))
    with rejects(r"`rgb` must be a floating-point tensor, got torch\.uint8", TypeError):
        rgb_to_y(torch.zeros(2, 3, 5, 7, dtype=torch.uint8))
