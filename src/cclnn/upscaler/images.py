"""Images of every kind through a network: bands of rows, grey, opacity, and back to the kind that came in."""

import copy
import os
from collections.abc import Iterator
from typing import TypeVar

import torch
from einops import reduce, repeat

from cclnn._checks import check_choice
from cclnn._names import ALPHAS, Alpha
from cclnn._threads import use_threads
from cclnn._typing import Float, Progress, Tensor
from cclnn.image.arrays import Opened, open_image
from cclnn.image.transparency import REACH, bleed
from cclnn.models import SRModel
from cclnn.ops.resize import imresize
from cclnn.precision import Precision
from cclnn.pretrained import ForeignModel, OnnxModel, load, load_foreign
from cclnn.pretrained.foreign import Network, is_foreign
from cclnn.pretrained.onnx_file import is_onnx
from cclnn.upscaler.network import Edges, Execution, Tile, TiledNetwork, find_device
from cclnn.upscaler.tiles import Span, mirrored

ImageT = TypeVar("ImageT")
FINEST = 65535.0  # steps between 0 and 1 that count in opacity stored as floating-point numbers
BICUBIC_REACH = 4  # pixels on either side that bicubic interpolation reads, and some


class Upscaler:
    """Upscale images with one model; the result is of the same kind as the input, `model.scale` times its size.

    Deterministic: the same input gives the same output, and torch's global random state is neither read nor changed.

    Tiles bound the memory. Neighbouring tiles share three times the overlap: the outer third on either side, next to
    the cut, is discarded; over the middle third one tile fades into the other (where `tile` is below 5 * overlap, the
    fading part is shorter). So for a network whose receptive field has a radius r <= overlap, the result equals that
    on the whole image but for rounding; EDSR's r is about the number of its 3x3 convolutions. A non-local network
    (NLSN, CCLNN) sees one tile at a time: its result depends a little on the tile. `tile="auto"` is a fixed number,
    512, unless the memory at hand is too small for it.

    Beyond its edges the image is mirrored by 8 pixels, so that flat pictures keep their colour to the corners.
    Opacity is upscaled apart from colour, after colour has spread from visible pixels into invisible ones.

    Args:
        model: a published name, a folder, a file (see `cclnn.load`), or a model, which is copied. A checkpoint file of
            another project (.pth, .safetensors) is loaded through spandrel, see `cclnn.pretrained.load_foreign`.
        tile: pixels per side of a tile of the input. "auto" is the largest of 512, 384, 256, 192, 128, 96 and 64 that
            takes no more than half of the memory at hand, and on a CPU no more than 832 MiB; how the model's memory
            grows is measured on two small images. "none" takes the whole image at once.
        overlap: pixels of context between a cut and the part of a tile that is used.
        precision: "auto", "fp32", "bf16" or "fp16"; "auto" is bf16 where the hardware is fast at it, but fp32 for
            16-bit images, whose steps are finer than those of bf16.
        device: "cpu", "cuda", ...; "auto" is the GPU if there is one.
        ensemble: average over the image's eight flips and transpositions: about 0.1 dB better, in eight times the time.
        alpha: upscale opacity by "bicubic" interpolation, or by the "model" except where bicubic gives 0 or white.
        edges: "mirror" gives the network 8 mirrored pixels beyond the image's edges; "network" gives it none,
            as papers do when they measure: its own padding, mostly zeros, then discolours flat corners.

    Raises:
        ValueError: an option out of range, a device that cannot be used; or as `cclnn.load`. TypeError: no model.
        RuntimeError: the process was forked after networks had run, whose threads do not survive that.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Network = "cclnn-s-x2",
        *,
        tile: Tile = "auto",
        overlap: int = 16,
        precision: Precision = "auto",
        device: str = "auto",
        ensemble: bool = False,
        alpha: Alpha = "bicubic",
        edges: Edges = "mirror",
    ) -> None:
        use_threads()
        check_choice("alpha", alpha, ALPHAS)
        if not isinstance(model, (str, os.PathLike, SRModel, ForeignModel, OnnxModel)):
            raise TypeError(f"`model` must be a name, a path or a model of cclnn, got {type(model).__name__}.")
        execution = Execution(tile, overlap, precision, find_device(device), ensemble, edges)
        self.alpha = alpha
        self.network = TiledNetwork(_network(model), execution)

    @property
    def model(self) -> Network:
        """The network, on its device and in eval mode."""
        return self.network.model

    @property
    def scale(self) -> int:
        """Output size / input size."""
        return self.network.scale

    def __call__(self, image: ImageT, *, progress: Progress | None = None) -> ImageT:
        """Upscale one image (or a batch of equally large ones, as a tensor).

        Args:
            image: PIL image of mode 1, L, LA, P, RGB, RGBA, CMYK or I;16 (1 comes back as L, P as RGB or RGBA); array
                (h, w) or (h, w, c); tensor (b, c, h, w). c is 1 (grey), 2 (grey, opacity), 3 (RGB) or 4 (RGB,
                opacity); numbers are uint8, uint16 or floating in [0, 1]. It is not changed. A tensor's result is on
                its device.
            progress: called with (tiles done, tiles in all) before the first tile and after each.

        Raises:
            TypeError: another type or dtype. ValueError: another mode, shape or range, an empty image; weights that
                give NaN or infinity even in fp32.
        """
        opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
        height, width = opened.pixels.shape[2:]
        out = opened.empty(height * self.scale, width * self.scale)
        row = 0
        for band in self._bands(opened, progress):
            out[:, :, row : row + band.shape[2]] = band
            row += band.shape[2]
        result: ImageT = opened.rebuild(out)
        return result

    def bands(self, image: ImageT, *, progress: Progress | None = None) -> Iterator[ImageT]:
        """The rows of `self(image)` from top to bottom, a band of some of them at a time, each of the image's kind.

        One row of tiles is held at a time, so memory depends on the tile and the image's width, not on its height.

        Args:
            image: as for a call.
            progress: as for a call.
        """
        opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
        for band in self._bands(opened, progress):
            part: ImageT = opened.rebuild(band)
            yield part

    def tile_side(self, height: int, width: int) -> int:
        """Pixels per side of the tiles that an image of this size is cut into; no less than the image if into none."""
        return self.network.tile_side(height, width, self.network.dtype)

    def _bands(self, opened: Opened, progress: Progress | None) -> Iterator[Tensor]:
        """Finished rows, encoded, on the device of the pixels."""
        pixels = opened.pixels
        height, width = pixels.shape[2:]
        fine = pixels.dtype == torch.uint16 and self.network.execution.precision == "auto"
        dtype = torch.float32 if fine else self.network.dtype

        def compute(row: Span, col: Span) -> Tensor:
            part = self._read(opened, row, col)
            return torch.cat([self._enhance(part[:, list(group)], dtype) for group in self._groups(opened)], dim=1)

        first = 0
        for band in self.network.bands((height, width), compute, dtype, progress):
            last = first + band.shape[2] // self.scale
            channels = band.to(pixels.device)
            if opened.channels.opacity is not None:
                bicubic = self._bicubic_opacity(opened, first, last)
                colour, by_model = channels[:, : opened.channels.opacity], channels[:, opened.channels.opacity :]
                opacity = bicubic if self.alpha == "bicubic" else _keep_extremes(by_model, bicubic, opened.white)
                channels = torch.cat([colour, opacity], dim=1)
            yield opened.encode(channels)
            first = last

    def _enhance(self, x: Float[Tensor, "b c h w"], dtype: torch.dtype) -> Float[Tensor, "b c sh sw"]:
        """Colour (c = 3) through the network; grey (c = 1) as three equal channels, of whose results it is the mean."""
        if x.shape[1] == 3:
            return self.network(x, dtype)
        return reduce(self.network(repeat(x, "b 1 h w -> b 3 h w"), dtype), "b c h w -> b 1 h w", "mean")

    def _groups(self, opened: Opened) -> list[tuple[int, ...]]:
        """Channels that go through the network together."""
        opacity = opened.channels.opacity
        by_model = opacity is not None and self.alpha == "model"
        return [*opened.channels.groups, *([(opacity,)] if by_model and opacity is not None else [])]

    def _read(self, opened: Opened, row: Span, col: Span) -> Float[Tensor, "b c h w"]:
        """A tile's pixels, decoded; colour under invisible pixels is that of visible ones nearby."""
        opacity = opened.channels.opacity
        margin = 0 if opacity is None else REACH
        height, width = opened.pixels.shape[2:]
        rows, cols = mirrored(row.start, row.stop, height), mirrored(col.start, col.stop, width)
        top, left = (max(int(positions.min()) - margin, 0) for positions in (rows, cols))
        bottom, right = (int(positions.max()) + 1 + margin for positions in (rows, cols))
        part = opened.decode(opened.pixels[:, :, top:bottom, left:right])
        if opacity is not None:
            part = torch.cat([bleed(part[:, :opacity], part[:, opacity:]), part[:, opacity:]], dim=1)
        return part[:, :, rows - top][:, :, :, cols - left]

    def _bicubic_opacity(self, opened: Opened, first: int, last: int) -> Float[Tensor, "b 1 h w"]:
        """Opacity of source rows first..last, upscaled."""
        top = max(first - BICUBIC_REACH, 0)
        opacity = opened.decode(opened.pixels[:, opened.channels.opacity :, top : last + BICUBIC_REACH])
        return imresize(opacity, self.scale)[:, :, (first - top) * self.scale : (last - top) * self.scale]


def _network(model: str | os.PathLike[str] | Network) -> Network:
    """A network of the upscaler's own: a copy of the caller's, or what is stored under a name or in a file."""
    if isinstance(model, (SRModel, ForeignModel)):
        return copy.deepcopy(model)
    if isinstance(model, OnnxModel):
        return model  # it has no state that a run changes
    if is_onnx(model):
        return OnnxModel(model)
    return load_foreign(model) if is_foreign(model) else load(model)


def _keep_extremes(opacity: Tensor, bicubic: Tensor, white: float) -> Tensor:
    """`opacity`, but 0 and 1 where `bicubic` is stored as such: clear and opaque areas stay what they are."""
    half_a_step = 0.5 / (white if white > 1 else FINEST)
    opacity = torch.where(bicubic <= half_a_step, 0.0, opacity)
    return torch.where(bicubic >= 1 - half_a_step, 1.0, opacity)
