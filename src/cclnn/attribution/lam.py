"""Local attribution maps: which input pixels a network used for one window of its output (Gu and Dong 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_floating, check_positive, check_shape
from cclnn._mode import evaluating
from cclnn._typing import Float, Progress, Tensor

Window = tuple[int, int, int]
TINY = 1e-5  # the last sigma is 0: its kernel is a point


@dataclass(frozen=True)
class Attribution:
    """A map (h, w) over the input, in [0, 1] with maximum 1 (all 0 where nothing matters), and how widely it spreads.

    gini:            0 where all pixels count alike, near 1 where one counts alone
    diffusion_index: (1 - gini) * 100
    """

    map: Float[Tensor, "h w"]
    gini: float
    diffusion_index: float


@dataclass(frozen=True)
class PointAttribution:
    """The map of one pixel's surroundings.

    image:       the part of the input that the network saw, (1, c, h, w)
    window:      row, column and side, in pixels of the part's output
    attribution: the map over the part
    """

    image: Float[Tensor, "1 c h w"]
    window: Window
    attribution: Attribution


def local_attribution_map(
    model: nn.Module,
    image: Float[Tensor, "1 c h w"],
    window: Window,
    *,
    sigma: float = 1.2,
    steps: int = 50,
    kernel_size: int = 9,
    batch: int = 8,
    progress: Progress | None = None,
) -> Attribution:
    """A = |sum_c mean_i dD(x_i)/dx * dx_i/di| / max,  x_i from a blurred image to the image.   (Gu and Dong 2021)

    D is the sum of gradient magnitudes inside the window of the output. The network runs in eval mode; its modes,
    weights and gradients are as before afterwards. The defaults of `sigma`, `steps` and `kernel_size` are those of
    copies of the authors' notebook; their released code leaves them to the caller.

    Quirks: where the output is flat, D contributes no gradient (the released code sets every gradient to zero that
    such a pixel reaches); gradients that are not finite count as zero, as there.

    Args:
        model: any module from (b, c, h, w) to (b, c', H, W), on the device and in the dtype of `image`.
        image: the low-resolution input in [0, 1].
        window: row, column of its top left corner and side, in pixels of the output.
        sigma: standard deviation of the first blur, pixels of the input.
        steps: images on the path; time grows with it.
        kernel_size: side of the blur kernel, odd; its half must be less than the image's sides.
        batch: images on the path that go through the network at once; memory grows with it.
        progress: called with (images done, images in all).

    Raises:
        ValueError: a window outside the output, an image smaller than the kernel, arguments out of range.
        TypeError: the model does not return one tensor, or the image is not floating point.
    """
    check_floating("image", image)
    check_shape("image", image, "b c h w", b=1)
    check_at_least("batch", batch, 1)
    total = torch.zeros_like(image[0])
    with evaluating(model):
        for start, (images, derivatives) in zip(
            range(0, steps, batch),
            blur_path(image[0], sigma=sigma, steps=steps, kernel_size=kernel_size, batch=batch),
            strict=True,
        ):
            if progress:
                progress(start, steps)
            leaf = images.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(gradient_magnitude(_output(model, leaf), window).sum(), leaf)
            total += (gradient.nan_to_num(0.0, 0.0, 0.0) * derivatives).sum(dim=0)
    if progress:
        progress(steps, steps)
    attributed = (total / steps).sum(dim=0).abs()
    attributed = attributed / attributed.max().clamp_min(torch.finfo(attributed.dtype).tiny)
    index = gini(attributed)
    return Attribution(attributed, index, diffusion_index(attributed))


def point_attribution(
    model: nn.Module,
    image: Float[Tensor, "1 c h w"],
    pixel: tuple[int, int],
    *,
    scale: int,
    part: int = 64,
    side: int = 16,
    steps: int = 50,
    batch: int = 8,
    progress: Progress | None = None,
) -> PointAttribution:
    """The local attribution map of the output around one input pixel, in a part of the image: its time is bounded.

    The part and the window have the pixel in their middle, or, near the image's edges, lie as close to that as they
    fit. Pixels outside the part do not count: a network that looks farther is seen as far as the part reaches.

    Args:
        model, image, steps, batch, progress: as for `local_attribution_map`.
        pixel: row and column in `image`.
        scale: output size / input size of the model.
        part: rows and columns of the part, in pixels of the input; an image with shorter sides is taken whole there.
        side: of the window, in pixels of the output.

    Raises:
        ValueError: a pixel outside the image, or as `local_attribution_map`.
    """
    check_shape("image", image, "b c h w", b=1)
    rows, columns = image.shape[2:]
    row, column = pixel
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"`pixel` must lie in the image of {rows} x {columns} pixels, got {row}, {column}.")
    top, left = (_centred(at, part, length) for at, length in ((row, rows), (column, columns)))
    seen = image[:, :, top : top + part, left : left + part]
    # one row and column are left beside the window, whose gradients need the next ones
    y, x = (
        _centred(at * scale + scale // 2, side, length * scale - 1)
        for at, length in ((row - top, seen.shape[2]), (column - left, seen.shape[3]))
    )
    window = (y, x, side)
    return PointAttribution(
        seen, window, local_attribution_map(model, seen, window, steps=steps, batch=batch, progress=progress)
    )


def gradient_magnitude(image: Float[Tensor, "b c h w"], window: Window) -> Float[Tensor, " b"]:
    """D = sum over the window and the channels of sqrt(dv^2 + dh^2), dv and dh the differences to the next pixel.

    Args:
        image: of at least 2 x 2 pixels.
        window: row, column and side; it must lie in the (h - 1) x (w - 1) pixels that have both differences.
    """
    check_shape("image", image, "b c h w")
    row, column, side = window
    check_at_least("window's side", side, 1)
    rows, columns = image.shape[2] - 1, image.shape[3] - 1
    if min(row, column) < 0 or row + side > rows or column + side > columns:
        raise ValueError(
            f"`window` of row {row}, column {column}, side {side} must lie in the {rows} x {columns} pixels of the "
            "output that have a next row and column."
        )
    part = image[:, :, row : row + side + 1, column : column + side + 1]
    down = part[:, :, 1:, :-1] - part[:, :, :-1, :-1]
    right = part[:, :, :-1, 1:] - part[:, :, :-1, :-1]
    magnitude: Tensor = torch.linalg.vector_norm(torch.stack([down, right]), dim=0)  # whose gradient is 0 at 0
    return magnitude.sum(dim=(1, 2, 3))


def blur_path(
    image: Float[Tensor, "c h w"], *, sigma: float = 1.2, steps: int = 50, kernel_size: int = 9, batch: int = 8
) -> Iterator[tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]]:
    """x_i = K_i * image and dx_i/di = (K_i - K_(i-1)) * image * steps, i = 1..steps, `batch` of them at a time.

    K_i is Gaussian with sigma_i falling linearly from `sigma` (i = 0) to 0 (i = steps, the image itself), cut to
    `kernel_size` and normalised to sum 1. The image is continued by reflection about its border pixels.
    """
    check_shape("image", image, "c h w")
    for name, value, least in (("steps", steps, 1), ("batch", batch, 1), ("kernel_size", kernel_size, 1)):
        check_at_least(name, value, least)
    check_positive("sigma", sigma)
    half = kernel_size // 2
    if kernel_size % 2 == 0 or half >= min(image.shape[1:]):
        raise ValueError(
            f"`kernel_size` must be odd and at most {2 * min(image.shape[1:]) - 1} for an image of {image.shape[1]} x "
            f"{image.shape[2]} pixels, got {kernel_size}."
        )
    kernels = _kernels(sigma, steps, kernel_size)
    padded = F.pad(image[None], (half, half, half, half), mode="reflect")[0].double()

    def blur(some: Float[Tensor, "b k l"]) -> Float[Tensor, "b c h w"]:
        some = some.to(padded.device)
        return F.conv2d(padded[:, None], some[:, None]).transpose(0, 1).to(image.dtype)

    for start in range(1, steps + 1, batch):
        these = kernels[start : start + batch]
        yield blur(these), blur((these - kernels[start - 1 : start - 1 + len(these)]) * steps)


def gini(x: Tensor) -> float:
    """Gini coefficient of all elements: sum_i (2 i - n - 1) a_i / (n sum a),  a = x + 1e-7 ascending, i = 1..n.

    Negative values are first lifted to 0, together with all others.
    """
    check_floating("x", x)
    values = x.detach().double().flatten()
    check_shape("x", values, "n")
    values = (values - values.min().clamp_max(0)).add(1e-7).sort().values
    n = len(values)
    ranks = torch.arange(1, n + 1, dtype=values.dtype, device=values.device)
    return float(((2 * ranks - n - 1) * values).sum() / (n * values.sum()))


def diffusion_index(x: Tensor) -> float:
    """DI = (1 - gini(x)) * 100: 100 where all pixels count alike.   (Gu and Dong 2021, Sec. 3.3)"""
    return (1 - gini(x)) * 100


def _centred(at: int, side: int, length: int) -> int:
    """The start of `side` pixels with `at` in their middle, moved into 0..length where they fit there."""
    return max(0, min(at - side // 2, length - side))


def _kernels(sigma: float, steps: int, size: int) -> Float[Tensor, "n l l"]:
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    squares = offsets[:, None] ** 2 + offsets[None, :] ** 2
    sigmas = torch.linspace(sigma, 0, steps + 1, dtype=torch.float64)[:, None, None] + TINY
    kernels = (-squares / (2 * sigmas**2)).exp()
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def _output(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    if not isinstance(out, Tensor):
        raise TypeError(f"`model` must return one tensor, got {type(out).__name__}.")
    return out
