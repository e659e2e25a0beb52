"""PIL images, HWC arrays and BCHW tensors <-> the one form that is computed on, and back to the same kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat

from cclnn._typing import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage: TypeAlias = "Image | npt.NDArray[Any] | Tensor"
SLACK = 1e-3  # a float image may overshoot [0, 1] by rounding


@dataclass(frozen=True)
class Opened:
    """An image taken apart: its pixels and how to make the same kind of image from new pixels.

    pixels:  b c h w, c = 3, in the image's own dtype; a view of the caller's memory where possible, never written to
    white:   value of white, 255 or 1
    rebuild: pixels of the same dtype, any size -> an image of the caller's kind
    """

    pixels: Tensor
    white: float
    rebuild: Callable[[Tensor], Any]

    def decode(self, part: Tensor) -> Tensor:
        """Pixels (or a part of them) as float32 or wider in [0, 1]."""
        return part.to(torch.promote_types(part.dtype, torch.float32)) / self.white

    def encode(self, part: Tensor) -> Tensor:
        """Values in [0, 1], clamped, as pixels of the image's dtype; integers are rounded."""
        part = part.clamp(0, 1) * self.white
        return (part if self.pixels.is_floating_point() else part.round()).to(self.pixels.dtype)


def open_image(image: AnyImage) -> Opened:
    """Take an image apart; see `Opened`.

    Args:
        image: PIL image of mode RGB or L; numpy array (h, w, 3), (h, w, 1) or (h, w), uint8 or floating in [0, 1];
            tensor (b, 3, h, w) or (b, 1, h, w), uint8 or floating in [0, 1]. Grey is computed as RGB and comes back
            grey.

    Raises:
        TypeError: another type or dtype. ValueError: another mode, shape or range, an empty image.
    """
    if isinstance(image, Tensor):
        return _open_tensor(image, "b c h w", lambda x: x)
    if isinstance(image, np.ndarray):
        return _open_array(image)
    if type(image).__module__.startswith("PIL."):
        return _open_pil(image)
    raise TypeError(f"`image` must be a PIL image, a numpy array or a torch tensor, got {type(image).__name__}.")


def _open_pil(image: "Image") -> Opened:
    from PIL import Image

    if image.mode not in ("RGB", "L"):
        raise ValueError(f"`image` must have mode RGB or L, got {image.mode}. Convert it first: image.convert('RGB').")
    profile = image.info.get("icc_profile")

    def rebuild(pixels: npt.NDArray[Any]) -> Image.Image:
        result = Image.fromarray(pixels)
        if profile:
            result.info["icc_profile"] = profile
        return result

    opened = _open_array(np.asarray(image))
    return Opened(opened.pixels, opened.white, lambda x: rebuild(opened.rebuild(x)))


def _open_array(array: npt.NDArray[Any]) -> Opened:
    if array.ndim not in (2, 3):
        raise ValueError(f"`image` must have shape (h w) or (h w c), got {array.shape}.")
    if array.dtype != np.uint8 and array.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"`image` must hold uint8 or floating-point numbers, got {array.dtype}.")
    source = array if array.flags.writeable and all(step > 0 for step in array.strides) else array.copy()
    tensor = torch.from_numpy(source)
    if array.ndim == 2:
        return _open_tensor(tensor[None, None], "b c h w", lambda x: x[0, 0].numpy())
    return _open_tensor(
        rearrange(tensor, "h w c -> 1 c h w"), "h w c", lambda x: rearrange(x, "1 c h w -> h w c").contiguous().numpy()
    )


def _open_tensor(tensor: Tensor, axes: str, rebuild: Callable[[Tensor], Any]) -> Opened:
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
        shape = tuple(tensor.shape) if axes == "b c h w" else tuple(rearrange(tensor, "1 c h w -> h w c").shape)
        raise ValueError(f"`image` must have shape ({axes}) with c = 1 or 3, none of them 0, got {shape}.")
    if tensor.is_floating_point():
        low, high = tensor.min().item(), tensor.max().item()
        if not (low >= -SLACK and high <= 1 + SLACK):  # fails on NaN too
            raise ValueError(f"`image` must lie in [0, 1] where it is floating point, got {low:.4g} to {high:.4g}.")
        white = 1.0
    elif tensor.dtype == torch.uint8:
        white = 255.0
    else:
        raise TypeError(f"`image` must hold uint8 or floating-point numbers, got {tensor.dtype}.")
    if tensor.shape[1] == 3:
        return Opened(tensor, white, rebuild)
    grey = repeat(tensor, "b 1 h w -> b c h w", c=3)
    return Opened(grey, white, lambda x: rebuild(_to_grey(x)))


def _to_grey(pixels: Tensor) -> Tensor:
    mean = pixels.to(torch.float32).mean(dim=1, keepdim=True) if not pixels.is_floating_point() else None
    return pixels.mean(dim=1, keepdim=True) if mean is None else mean.round().to(pixels.dtype)
