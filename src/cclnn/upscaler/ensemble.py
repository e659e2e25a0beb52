"""Geometric self-ensemble: the mean over the eight flips and transpositions of an image (Timofte et al. 2016)."""

from collections.abc import Callable

from einops import rearrange

from cclnn._typing import Float, Tensor

Enhance = Callable[[Tensor], Tensor]


def self_ensemble(enhance: Enhance, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c sh sw"]:
    """mean over t of t^-1(enhance(t(x))), t one of the eight symmetries of the square: the "+" of EDSR+.

    The eight are computed one after the other: the time of eight calls, the memory of one.
    """
    total: Tensor | None = None
    for transposed in (False, True):
        for flips in ((), (2,), (3,), (2, 3)):
            turned = _transpose(x) if transposed else x
            sr = enhance(turned.flip(flips)).flip(flips)
            sr = _transpose(sr) if transposed else sr
            total = sr if total is None else total + sr
    assert total is not None  # eight were added
    return total / 8


def _transpose(x: Tensor) -> Tensor:
    return rearrange(x, "b c h w -> b c w h")
