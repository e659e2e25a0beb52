"""PIL images, HWC arrays, BCHW tensors and pictures -> tensors for the network, and back to the same kind of image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange

from cclnn._typing import Float, Tensor
from cclnn.image.picture import Picture, from_pil, to_pil

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage: TypeAlias = "Image | npt.NDArray[Any] | Tensor | Picture"
SLACK = 1e-3  # a float image may overshoot [0, 1] by rounding
WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}
UNKEPT = ("transparency", "palette", "background")  # keys of PIL's `info` that describe the source's own pixels


@dataclass(frozen=True)
class Channels:
    """The meaning of the channels.

    groups:   channels that pass the network together: three (colour), or one (grey), which is repeated three times
    opacity:  the opacity channel
    inverted: white is 0, as in CMYK
    """

    groups: tuple[tuple[int, ...], ...]
    opacity: int | None = None
    inverted: bool = False


GREY = Channels(((0,),))
GREY_ALPHA = Channels(((0,),), opacity=1)
RGB = Channels(((0, 1, 2),))
RGBA = Channels(((0, 1, 2),), opacity=3)
CMYK = Channels(((0, 1, 2), (3,)), inverted=True)
BY_CHANNELS = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGBA}


@dataclass(frozen=True)
class Opened:
    """The pixels of an image, and a function that makes the same kind of image from new pixels.

    pixels:   b c h w in the image's own dtype; a view of the caller's memory where possible, never written to
    channels: the meaning of the c channels
    rebuild:  pixels of the same dtype, any size -> an image of the caller's kind
    by_row:   whether that kind of image holds its pixels as h w c
    """

    pixels: Tensor
    channels: Channels
    rebuild: Callable[[Tensor], Any]
    by_row: bool = False

    @property
    def white(self) -> float:
        """The value of white: 255, 65535 or 1."""
        return WHITE.get(self.pixels.dtype, 1.0)

    def empty(self, height: int, width: int) -> Tensor:
        """Uninitialised pixels of another size, in the memory order of the caller's kind."""
        batch, channels = self.pixels.shape[:2]
        if self.by_row:
            return rearrange(torch.empty(batch, height, width, channels, dtype=self.pixels.dtype), "b h w c -> b c h w")
        return torch.empty(batch, channels, height, width, dtype=self.pixels.dtype, device=self.pixels.device)

    def decode(self, part: Tensor) -> Tensor:
        """Pixels (or a part of them) as float32 or wider, black 0 and white 1."""
        number = torch.promote_types(part.dtype, torch.float32) if part.is_floating_point() else torch.float32
        values = part.to(number) / self.white
        return 1 - values if self.channels.inverted else values

    def encode(self, part: Tensor) -> Tensor:
        """Values, clamped to [0, 1], as pixels of the image's dtype; integers are rounded."""
        values = part.clamp(0, 1)
        values = values.neg_().add_(1) if self.channels.inverted else values
        return (values if self.pixels.is_floating_point() else values.mul_(self.white).round_()).to(self.pixels.dtype)


def open_image(image: AnyImage) -> Opened:
    """Get the pixels of an image; see `Opened`.

    Args:
        image: PIL image (see `picture.to_computable` for modes); numpy array (h, w) or (h, w, c); tensor (b, c, h, w);
            `Picture`. c is 1 (grey), 2 (grey, opacity), 3 (RGB) or 4 (RGB, opacity); numbers are uint8, uint16 or
            floating in [0, 1].

    Raises:
        TypeError: another type or dtype. ValueError: another mode, shape or range, an empty image.
    """
    if isinstance(image, Tensor):
        return _open_tensor(image, "b c h w", lambda x: x)
    if isinstance(image, np.ndarray):
        return _open_array(image)
    if isinstance(image, Picture):
        return _open_picture(image)
    if type(image).__module__.startswith("PIL."):
        return _open_pil(image)
    raise TypeError(f"`image` must be a PIL image, a numpy array or a torch tensor, got {type(image).__name__}.")


def to_tensor(image: AnyImage) -> Float[Tensor, "b c h w"]:
    """The pixels as a network takes them: (1, c, h, w), or a tensor's own batch; black 0 and white 1.

    Args:
        image: PIL image, array (h, w) or (h, w, c), tensor (b, c, h, w) or `Picture`; uint8, uint16 or floating point.

    >>> to_tensor(np.full((5, 7, 3), 255, np.uint8)).shape
    torch.Size([1, 3, 5, 7])
    """
    opened = open_image(image)
    return opened.decode(opened.pixels)


def _open_pil(image: "Image") -> Opened:
    picture = from_pil(image)
    info = {key: value for key, value in image.info.items() if key not in UNKEPT}

    def rebuild(result: Picture) -> "Image":
        new = to_pil(result)
        new.info.update(info)
        return new

    opened = _open_picture(picture)
    return Opened(opened.pixels, opened.channels, lambda x: rebuild(opened.rebuild(x)), by_row=True)


def _open_picture(picture: Picture) -> Opened:
    opened = _open_array(picture.pixels)
    channels = CMYK if picture.mode == "CMYK" else opened.channels
    return Opened(opened.pixels, channels, lambda x: picture.with_pixels(opened.rebuild(x)), by_row=True)


def _open_array(array: npt.NDArray[Any]) -> Opened:
    if array.ndim not in (2, 3):
        raise ValueError(f"`image` must have shape (h w) or (h w c), got {array.shape}.")
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise TypeError(f"`image` must hold uint8, uint16 or floating-point numbers, got {array.dtype}.")
    readable = array.flags.writeable and all(step > 0 for step in array.strides) and array.dtype.isnative
    tensor = torch.from_numpy(array if readable else array.astype(array.dtype.newbyteorder("="), order="C", copy=True))
    if array.ndim == 2:
        return _open_tensor(tensor[None, None], "b c h w", lambda x: x[0, 0].numpy())
    return _open_tensor(
        rearrange(tensor, "h w c -> 1 c h w"),
        "h w c",
        lambda x: rearrange(x, "1 c h w -> h w c").contiguous().numpy(),
        by_row=True,
    )


def _open_tensor(tensor: Tensor, axes: str, rebuild: Callable[[Tensor], Any], *, by_row: bool = False) -> Opened:
    if tensor.ndim != 4 or tensor.shape[1] not in BY_CHANNELS or 0 in tensor.shape:
        shape = tuple(tensor.shape) if axes == "b c h w" else tuple(rearrange(tensor, "1 c h w -> h w c").shape)
        raise ValueError(f"`image` must have shape ({axes}) with c = 1, 2, 3 or 4, none of them 0, got {shape}.")
    if tensor.is_floating_point():
        low, high = tensor.min().item(), tensor.max().item()
        if not (low >= -SLACK and high <= 1 + SLACK):  # fails on NaN too
            raise ValueError(f"`image` must lie in [0, 1] where it is floating point, got {low:.4g} to {high:.4g}.")
    elif tensor.dtype not in WHITE:
        raise TypeError(f"`image` must hold uint8, uint16 or floating-point numbers, got {tensor.dtype}.")
    return Opened(tensor, BY_CHANNELS[tensor.shape[1]], rebuild, by_row)
