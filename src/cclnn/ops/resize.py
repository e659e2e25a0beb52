"""Bicubic resizing exactly as MATLAB's imresize, which made the images of every SR benchmark."""

import math
from functools import lru_cache
from typing import Any, Literal, get_args

import torch

from cclnn._checks import check_at_least, check_choice, check_shape
from cclnn._typing import Float, Int, Tensor

Border = Literal["replicate", "symmetric"]
BORDERS: tuple[Border, ...] = get_args(Border)


def imresize(
    image: Tensor,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
    border: Border = "replicate",
) -> Tensor:
    """MATLAB's bicubic imresize: out_i = sum_j w_ij x_j along one axis, then along the other, with
    w_ij = s k(s (u_i - j)) / sum_j,  u_i = (i + 1/2) / scale - 1/2,  s = min(scale, 1),  k Keys' cubic, a = -1/2.

    Floating-point images are differentiable and not rounded. uint8 images are computed in float64 and rounded, half
    up, after each of the two passes, as MATLAB does: bit for bit the LR images of Set5. The axis with the smaller scale
    comes first, rows if the scales are equal.

    Compiles and exports, to ONNX too: one graph for all images at a given `scale`, or at a `size` that enlarges.

    Args:
        image: (b, c, h, w), floating point (any range) or uint8.
        scale: output size / input size, the same for both axes; the output has ceil(h * scale) rows.
        size: (h, w) of the output, instead of `scale`; each axis is then scaled by its own ratio.
        antialias: stretch the kernel when reducing (s above); False keeps s = 1, as MATLAB's option does.
        border: what lies outside the image: "replicate" (the edge; older MATLAB, and the benchmark files) or
            "symmetric" (the mirrored image; newer MATLAB).

    Raises:
        ValueError: not exactly one of `scale` and `size`, or one below the smallest; wrong rank; unknown border.
    """
    check_shape("image", image, "b c h w")
    check_choice("border", border, BORDERS)
    if (scale is None) == (size is None):
        raise ValueError(f"exactly one of `scale` and `size` is needed, got scale={scale} and size={size}.")
    if scale is not None:
        if not (0 < scale < math.inf):
            raise ValueError(f"`scale` must be positive and finite, got {scale}.")
        targets = [(axis, math.ceil(image.shape[axis] * scale), scale) for axis in (2, 3)]
    else:
        assert size is not None  # one of the two is given
        for length in size:
            check_at_least("size", length, 1)
        targets = [(axis, target, target / image.shape[axis]) for axis, target in zip((2, 3), size, strict=True)]
        if targets[1][2] < targets[0][2]:
            targets.reverse()
    if not (image.is_floating_point() or image.dtype == torch.uint8):
        raise TypeError(f"`image` must be floating point or uint8, got {image.dtype}.")
    exact = image.dtype == torch.uint8
    x = image.double() if exact else image
    for axis, target, ratio in targets:
        weights, sources = _taps_of(x, axis, target, ratio, antialias, border)
        x = _resize_axis(x, axis, weights, sources)
        if exact:
            x = x.add(0.5).floor().clamp(0, 255)
    return x.to(image.dtype)


def _taps_of(
    x: Tensor, axis: int, target: int, ratio: float, antialias: bool, border: Border
) -> tuple[Float[Tensor, "out p"], Int[Tensor, "out p"]]:
    """Weights and sources from the cache; in compiled code, whose sizes are symbols, computed in line."""
    if torch.compiler.is_compiling():
        return _compute_taps(x.shape[axis], target, ratio, antialias, border, x.device)
    return _taps(x.shape[axis], target, ratio, antialias, border)


def _resize_axis(x: Tensor, axis: int, weights: Float[Tensor, "out p"], sources: Int[Tensor, "out p"]) -> Tensor:
    """out[i] = sum_p weights[i, p] x[sources[i, p]] along `axis`."""
    weights, sources = weights.to(x), sources.to(x.device)
    column = [-1, *[1] * (x.ndim - 1 - axis)]
    out: Tensor | None = None
    for p in range(weights.shape[1]):
        term = x.index_select(axis, sources[:, p]) * weights[:, p].reshape(column)
        out = term if out is None else out + term
    assert out is not None  # a kernel has at least one tap
    return out


@lru_cache(maxsize=64)
def _taps(length: int, target: int, ratio: float, antialias: bool, border: Border) -> tuple[Tensor, Tensor]:
    """As `_compute_taps`, without taps that are zero."""
    with torch.inference_mode(mode=False), torch.device("cpu"):  # what is kept must serve any later call
        weights, sources = _compute_taps(length, target, ratio, antialias, border, torch.device("cpu"))
        used = weights.ne(0).any(dim=0)
        return weights[:, used], sources[:, used]


def _compute_taps(
    length: int, target: int, ratio: float, antialias: bool, border: Border, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Weight and source pixel of every tap of every output pixel, (target, p) each."""
    shrink = min(ratio, 1.0) if antialias else 1.0
    p = math.ceil(4 / shrink) + 2
    ratio, shrink = (_held(x, device) for x in (ratio, shrink))
    centre = (torch.arange(target, dtype=torch.float64, device=device) + 0.5) / ratio - 0.5
    first = torch.floor(centre - 2 / shrink)
    pixels = first[:, None] + torch.arange(p, device=device)
    weights = shrink * _cubic(shrink * (centre[:, None] - pixels))
    weights = weights / weights.sum(dim=1, keepdim=True)
    if border == "replicate":
        sources = pixels.clamp(0, length - 1)
    else:
        sources = pixels.remainder(2 * length)
        sources = torch.minimum(sources, 2 * length - 1 - sources)
    return weights, sources.long()


def _held(x: float, device: torch.device) -> Any:
    """x; in compiled code as a tensor, since ONNX would round the number to float32."""
    if torch.compiler.is_compiling() and isinstance(x, float):
        return torch.tensor(x, dtype=torch.float64, device=device)
    return x


def _cubic(x: Float[Tensor, "out p"]) -> Float[Tensor, "out p"]:
    """Keys' cubic convolution kernel with a = -1/2."""
    a = x.abs()
    near = 1.5 * a**3 - 2.5 * a**2 + 1
    far = -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2
    return torch.where(a <= 1, near, torch.where(a <= 2, far, 0.0))
