"""Colour conversions with the SR benchmarks' conventions."""

import torch

from cclnn._checks import check_floating, check_shape
from cclnn._typing import Float, Tensor

LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
OFFSET = 16 / 255


def rgb_to_y(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Y = (65.481 R + 128.553 G + 24.966 B + 16) / 255: luma of BT.601 in studio range, as MATLAB's rgb2ycbcr.

    Quirk: not rounded to integers, unlike MATLAB's on uint8 images (as the released SR code measures PSNR).

    Args:
        rgb: floating point, black 0, white 1.

    Returns:
        luma between 16/255 (black) and 235/255 (white), in the dtype of `rgb`.
    """
    check_floating("rgb", rgb)
    check_shape("rgb", rgb, "b c h w", c=3)
    weight = torch.tensor(LUMA, dtype=rgb.dtype, device=rgb.device)
    return torch.einsum("bchw,c->bhw", rgb, weight)[:, None] + OFFSET
