"""The papers' figures, drawn with matplotlib (extra "viz"). Nothing here runs a network."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from einops import rearrange

from cclnn._checks import check_choice, check_shape
from cclnn._files import write_atomically
from cclnn._typing import Float, Tensor
from cclnn.attribution.blocks import Attended, ChannelWeights
from cclnn.attribution.lam import Attribution, Window
from cclnn.metrics import psnr, ssim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[int, int, int, int]
SUFFIXES = (".png", ".svg", ".pdf")
ACCENT, QUIET = "#d62728", "#7f7f7f"
BANDS = {"relevant": "#d62728", "middle": "#2ca02c", "irrelevant": "#1f77b4"}  # colours of the paper's Figure 2


def comparison_figure(
    results: Mapping[str, Float[Tensor, "1 3 h w"]],
    box: Box,
    *,
    truth: Float[Tensor, "1 3 h w"] | None = None,
    scale: int = 0,
) -> "Figure":
    """The paper's Figure 4: the whole image with a box, and the detail in the box as each model restores it.

    The reference image, if given, is the first detail; the captions of the others state PSNR/SSIM of the whole images.

    Args:
        results: caption -> image in [0, 1], all of one size. Without `truth` the first one is shown as the whole image.
        box: row and column of the top left corner, height and width, in pixels of these images.
        truth: the high-resolution reference image.
        scale: pixels shaved off each side before measuring; see `cclnn.metrics.psnr`.
    """
    if not results:
        raise ValueError("`results` must not be empty.")
    whole = next(iter(results.values())) if truth is None else truth
    check_shape("truth" if truth is not None else "results", whole, "b c h w", b=1, c=3)
    check_box("box", box, *whole.shape[2:])
    details = dict(results) if truth is None else {"HR": truth, **results}
    captions = {}
    for name, image in details.items():
        if image.shape != whole.shape:
            raise ValueError(f"`results` must be of one size {tuple(whole.shape)}, {name!r} has {tuple(image.shape)}.")
        measured = ""
        if truth is not None and name != "HR":
            measured = f"{psnr(image, truth, border=scale).item():.2f}/{ssim(image, truth, border=scale).item():.4f}"
        captions[name] = f"{name}\n{measured or ('PSNR/SSIM' if truth is not None else '')}".rstrip()

    row, column, height, width = box
    lines = 1 if len(details) <= 3 else 2
    columns = math.ceil(len(details) / lines)
    panel = 1.9  # inches, height of a detail; its caption needs 0.45
    tall = lines * (panel + 0.45)
    whole_width, detail_width = tall * whole.shape[3] / whole.shape[2], panel * width / height
    figure = _figure(whole_width + columns * (detail_width + 0.1), tall)
    grid = figure.add_gridspec(lines, columns + 1, width_ratios=[whole_width, *[detail_width] * columns])
    axes = figure.add_subplot(grid[:, 0])
    _show(axes, whole)
    _outline(axes, row, column, height, width)
    for i, (name, image) in enumerate(details.items()):
        axes = figure.add_subplot(grid[i // columns, 1 + i % columns])
        _show(axes, image[:, :, row : row + height, column : column + width])
        axes.set_xlabel(captions[name], fontsize=9)
    return figure


def channel_figure(blocks: Sequence[ChannelWeights]) -> "Figure":
    """The paper's Figure 2 from measured values: sorted weights W of each block, with the bands that Eq. 4 compares."""
    figure = _figure(2.6 * len(blocks) + 0.6, 2.4)
    axes_of = figure.subplots(1, len(blocks), sharey=True, squeeze=False)[0]
    for axes, block in zip(axes_of, blocks, strict=True):
        values, count, k = _array(block.weights), len(block.weights), block.band
        for (name, colour), (start, stop) in zip(
            BANDS.items(), [(0, k), (k, count - k), (count - k, count)], strict=True
        ):
            axes.bar(range(start, stop), values[start:stop], width=1.0, color=colour, label=name)
        axes.set(title=block.block, xlabel="channel, sorted", ylim=(0, 1), xlim=(-0.5, count - 0.5))
    axes_of[0].set_ylabel("weight W")
    axes_of[-1].legend(fontsize=8, frameon=False)
    return figure


def attention_figure(image: Float[Tensor, "1 3 h w"], pixel: tuple[int, int], blocks: Sequence[Attended]) -> "Figure":
    """The weights of one pixel's attention over all pixels in each block, and the hash buckets of the first round."""
    rows, columns = image.shape[2:]
    tall = 2.4
    figure = _figure(len(blocks) * (tall * columns / rows + 0.2), 2 * (tall + 0.3))
    axes_of = figure.subplots(2, len(blocks), squeeze=False)
    for i, block in enumerate(blocks):
        top, bottom = axes_of[:, i]
        _overlay(top, image, block.weights / block.weights.max())
        top.set_title(f"{block.block}: attended by the pixel", fontsize=9)
        bottom.imshow(_array(block.buckets[0]), cmap="nipy_spectral", interpolation="nearest")
        bottom.set_title(f"{block.block}: buckets of the first round", fontsize=9)
        for axes in (top, bottom):
            axes.plot(pixel[1], pixel[0], "+", color="white", markersize=11, markeredgewidth=3)
            axes.plot(pixel[1], pixel[0], "+", color=ACCENT, markersize=10, markeredgewidth=1.5)
            axes.set(xticks=[], yticks=[])
    return figure


def attribution_figure(
    image: Float[Tensor, "1 3 h w"], attributions: Mapping[str, Attribution], window: Window, *, scale: int
) -> "Figure":
    """Local attribution maps over the input, each with its diffusion index, and the input with the window.

    Args:
        image: the low-resolution input in [0, 1].
        attributions: caption -> map.
        window: row, column and side in pixels of the output, `scale` times as large.
        scale: output size / input size.
    """
    rows, columns = image.shape[2:]
    tall = 2.6
    figure = _figure((1 + len(attributions)) * (tall * columns / rows + 0.15), tall + 0.4)
    axes_of = figure.subplots(1, 1 + len(attributions), squeeze=False)[0]
    _show(axes_of[0], image)
    axes_of[0].set_xlabel("input and window", fontsize=9)
    row, column, side = (length / scale for length in window)
    _outline(axes_of[0], row, column, side, side)
    for axes, (name, found) in zip(axes_of[1:], attributions.items(), strict=True):
        _overlay(axes, image, found.map)
        _outline(axes, row, column, side, side)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(f"{name}: DI {found.diffusion_index:.2f}", fontsize=9)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 110) -> None:
    """Write the figure as PNG, SVG or PDF, as the suffix says. Equal figures give equal bytes."""
    from matplotlib import rc_context

    check_figure_path(path)
    kind = Path(path).suffix.lower()[1:]
    _settle(figure)
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}
    with rc_context({"svg.hashsalt": "cclnn"}):
        write_atomically(
            Path(path),
            lambda temporary: figure.savefig(temporary, format=kind, dpi=dpi, metadata=undated[kind]),
        )


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless a figure can be written to `path`; call this before the computation."""
    check_choice("suffix of the figure", Path(path).suffix.lower(), SUFFIXES)
    if not Path(path).parent.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: there is no folder {str(Path(path).parent)!r}.")


def check_box(name: str, box: Box, rows: int, columns: int) -> None:
    """Raise ValueError unless the box is not empty and lies within the image."""
    row, column, height, width = box
    if min(row, column) < 0 or min(height, width) < 1 or row + height > rows or column + width > columns:
        raise ValueError(
            f"`{name}` of row {row}, column {column}, {height} x {width} pixels must lie in the image of {rows} x "
            f"{columns} pixels."
        )


def _figure(width: float, height: float) -> "Figure":
    """Create a figure without pyplot, which would keep it in global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "cclnn[viz]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def _settle(figure: "Figure") -> None:
    """Fix the layout to six decimals: the solver's last digits differ between runs and would show in an SVG."""
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(tuple(round(x, 6) for x in axes.get_position(original=True).bounds))


def _show(axes: "Axes", image: Float[Tensor, "1 3 h w"]) -> None:
    axes.imshow(_pixels(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _overlay(axes: "Axes", image: Float[Tensor, "1 3 h w"], strength: Float[Tensor, "h w"]) -> None:
    """Draw the image in grey and the positive values of `strength` over it, larger ones more opaque."""
    axes.imshow(_pixels(image.mean(dim=1, keepdim=True).expand_as(image)), interpolation="nearest")
    visible = _array(strength).clip(0, 1) ** 0.5  # so that the many small values stay visible
    axes.imshow(visible, cmap="inferno", alpha=visible, vmin=0, vmax=1, interpolation="nearest")


def _outline(axes: "Axes", row: float, column: float, height: float, width: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.5, row - 0.5), width, height, fill=False, edgecolor=ACCENT, linewidth=1.5))


def _pixels(image: Float[Tensor, "1 3 h w"]) -> npt.NDArray[Any]:
    return _array(rearrange((image * 255).round().clamp(0, 255), "1 c h w -> h w c")).astype(np.uint8)


def _array(x: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = x.detach().cpu().numpy()
    return array
