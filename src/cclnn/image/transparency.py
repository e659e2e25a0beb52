"""Colour under transparent pixels: a file may hold any colour there, which would leak into visible edges."""

import torch.nn.functional as F

from cclnn._typing import Float, Tensor

REACH = 16  # pixels; how far colour spreads


def bleed(colour: Float[Tensor, "b c h w"], opacity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """Colour where `opacity` is 0 replaced by that of the nearest visible pixels, as far as `REACH` pixels go.

    Step by step, an invisible pixel takes the mean of those of its eight neighbours that have a colour already.
    Visible pixels and those beyond `REACH` keep their colour. A result pixel depends on the `REACH` pixels around it.
    """
    known = (opacity > 0).to(colour.dtype)
    if known.all() or not known.any():
        return colour
    filled = colour * known
    for _ in range(REACH):
        weight = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(filled, 3, stride=1, padding=1) / weight.clamp(min=1e-6)
        reached = (weight > 0).to(colour.dtype)
        filled = filled + (reached - known) * mean
        known = reached
    return filled + (1 - known) * colour
