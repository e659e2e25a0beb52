"""Images to a size that is asked for, with the weights that suit each: chosen, in several passes, then reduced."""

import os
from functools import lru_cache
from typing import Any, TypeVar

import torch

from cclnn._names import AUTO, Alpha
from cclnn._target import Target, passes
from cclnn._typing import Progress
from cclnn.image.arrays import open_image
from cclnn.image.compression import Compression, compression_of
from cclnn.ops.resize import imresize
from cclnn.precision import Precision
from cclnn.pretrained import list_pretrained, load
from cclnn.pretrained.foreign import Network
from cclnn.pretrained.strength import interpolate
from cclnn.upscaler.images import Upscaler
from cclnn.upscaler.network import Edges, Tile, find_device
from cclnn.weights.choice import Choice, choose

DEFAULT = Target(scale=2)  # with model="auto", where no size is asked for
ImageT = TypeVar("ImageT")
Model = str | os.PathLike[str] | Network


def upscale(
    image: ImageT,
    model: Model = AUTO,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    megapixels: float | None = None,
    photo: bool | None = None,
    strength: float | None = None,
    tile: Tile = "auto",
    overlap: int = 16,
    precision: Precision = "auto",
    device: str = "auto",
    ensemble: bool = False,
    alpha: Alpha = "bicubic",
    edges: Edges = "mirror",
    progress: Progress | None = None,
) -> ImageT:
    """Upscale one image, to any size up to 8 times its own; for several with one model, call one `Upscaler`.

    The image goes through as few networks as reach the size (of these, those with the least product of scales) and is
    then reduced by `imresize`. A side that is asked for is met exactly; other sides are rounded, half up.

    Args:
        image: PIL image, HWC array or BCHW tensor; the result is of the same kind.
        model: "auto" chooses published weights: those for photographs where the image was compressed with loss, else
            those for clean images. Or a published name, a folder, a file, or a model.
        scale: output size / input size, 1 to 8, such as 2 or 2.7. By default that of the model, 2 for "auto".
        width, height: pixels of one side of the output, instead of `scale`; the aspect is kept.
        megapixels: millions of pixels of the output, instead of `scale`.
        photo: whether the image was compressed with loss, for "auto". None asks the image: a PIL image from a JPEG
            file tells, arrays and tensors do not and count as clean.
        strength: 0 to 1, from the clean weights to those for photographs, where "auto" chooses the latter. None takes
            what suits a JPEG's quality (1 up to quality 85, 0.9 at 90, 0.7 at 95), and 1 where none is known.
        tile: pixels per side, "auto" or "none".
        overlap: pixels of context between a cut and the part of a tile that is used.
        precision: "auto", "fp32", "bf16" or "fp16".
        device: "auto", "cpu", "cuda", ...
        ensemble: average over eight flips and transpositions.
        alpha: opacity by "bicubic" or by the "model".
        edges: "mirror" the image at its edges, or leave them to the "network"'s own padding.
        progress: called with (tiles done, tiles in all) before the first tile and after each; every pass of a network
            starts anew.
    """
    settings: dict[str, Any] = {
        "tile": tile,
        "overlap": overlap,
        "precision": precision,
        "device": device,
        "ensemble": ensemble,
        "alpha": alpha,
        "edges": edges,
    }
    target = Target(scale, width, height, megapixels)
    return Sizer(model, target, photo=photo, strength=strength, settings=settings)(image, progress=progress)


class Sizer:
    """Upscale images to a target size, keeping the networks that it needs.

    Args:
        model, photo, strength: as for `upscale`.
        target: the size.
        settings: the other arguments of `Upscaler`.
    """

    def __init__(
        self, model: Model, target: Target, *, photo: bool | None, strength: float | None, settings: dict[str, Any]
    ) -> None:
        if strength is not None and not 0 <= strength <= 1:
            raise ValueError(f"`strength` must lie between 0 and 1, got {strength}.")
        self.automatic = isinstance(model, str) and model == AUTO
        self.model, self.photo, self.strength, self.settings = model, photo, strength, settings
        self.target = DEFAULT if self.automatic and not target.is_given else target
        self._own: Upscaler | None = None

    @property
    def scale(self) -> int:
        """Output size / input size of the model that the caller named."""
        return self._upscaler().scale

    def prepare(self) -> None:
        """Load the model that the caller named, and raise the errors that any image would meet."""
        find_device(self.settings["device"])
        if not self.automatic:
            self._upscaler()

    def choose(self, height: int, width: int, compression: Compression | None) -> Choice | None:
        """The published weights for an image; None where the caller named a model."""
        if not self.automatic:
            return None
        lossy = compression is not None and compression.lossy
        photo = lossy if self.photo is None else self.photo
        told = "the image tells nothing of its compression" if compression is None else str(compression)
        because = told if self.photo is None else "asked for"
        quality = compression.quality if compression is not None and self.photo is None else None
        factor = self.target.factor(height, width)
        return choose(factor, photo=photo, because=because, quality=quality, strength=self.strength)

    def __call__(
        self, image: ImageT, *, compression: Compression | None = None, progress: Progress | None = None
    ) -> ImageT:
        """Upscale one image; `compression` is asked of the image itself where it is not given."""
        height, width = open_image(image).pixels.shape[2:]  # type: ignore[arg-type]  # it checks the type itself
        if compression is None and type(image).__module__.startswith("PIL."):
            compression = compression_of(image)
        choice = self.choose(height, width, compression)
        if choice is None:
            own = self._upscaler()
            scales: tuple[int, ...] = (own.scale,)
            if self.target.is_given:
                scales = passes(self.target.factor(height, width), [own.scale], [own.scale])
            upscalers = [own] * len(scales)
        else:
            upscalers = [self._published(name, choice) for name in choice.models]
        for upscaler in upscalers:
            image = upscaler(image, progress=progress)
        return reduced(image, self.target.size(height, width)) if self.target.is_given else image

    def _upscaler(self) -> Upscaler:
        """The upscaler with the model that the caller named."""
        if isinstance(self.model, str) and self.model in list_pretrained():
            return _keep(self.model, None, 1.0, **self.settings)
        if self._own is None:
            self._own = Upscaler(self.model, **self.settings)
        return self._own

    def _published(self, name: str, choice: Choice) -> Upscaler:
        blend = name == choice.photo and choice.strength < 1
        if blend and choice.clean is None:
            raise ValueError(
                f"`strength` must be 1, got {choice.strength}: no clean weights of the network of {name!r} are"
                " published."
            )
        return _keep(name, choice.clean if blend else None, choice.strength if blend else 1.0, **self.settings)


def reduced(image: ImageT, size: tuple[int, int]) -> ImageT:
    """An image of any kind that the upscaler takes, resized to (rows, columns) by `imresize`, a channel at a time."""
    opened = open_image(image)  # type: ignore[arg-type]  # it checks the type itself
    if tuple(opened.pixels.shape[2:]) == size:
        return image
    out = opened.empty(*size)
    with torch.no_grad():
        for channel in range(opened.pixels.shape[1]):
            part = opened.decode(opened.pixels[:, channel : channel + 1])
            out[:, channel : channel + 1] = opened.encode(imresize(part, size=size))
    result: ImageT = opened.rebuild(out)
    return result


@lru_cache(maxsize=4)
def _keep(name: str, clean: str | None, strength: float, **settings: Any) -> Upscaler:
    """An upscaler with published weights, blended with `clean` ones; kept for later calls."""
    return Upscaler(name if clean is None else interpolate(load(clean), load(name), strength), **settings)
