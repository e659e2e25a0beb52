"""Networks that refine an image which is enlarged before it enters them: SRCNN and VDSR."""

import math
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from cclnn._checks import check_choice
from cclnn._typing import Float, Tensor
from cclnn.models._base import SRModel
from cclnn.ops import rgb_to_y

Colours = Literal["y", "rgb"]
COLOURS: tuple[Colours, ...] = get_args(Colours)
BICUBIC = 2  # input pixels to each side that bicubic enlargement looks at


class EnlargedSR(SRModel):
    """The network refines the bicubic image; with `colours="y"` its luma alone, and chroma stays bicubic.

    Y' - Y of BT.601 in studio range adds 255/219 of itself to each of R, G and B, so that RGB goes in and comes out.

    Args:
        scale: output size / input size.
        colours: "y" or "rgb", what the network looks at.
    """

    def __init__(self, scale: int, *, colours: Colours) -> None:
        check_choice("colours", colours, COLOURS)
        super().__init__(scale)
        self.colours: Colours = colours

    def refine(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The enlarged image, luma or RGB, to the result."""
        raise NotImplementedError(f"{type(self).__name__} must define refine.")

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        enlarged = _enlarge(_enlarge(wide, 2, self.scale), 3, self.scale)
        if self.colours == "rgb":
            return self.refine(enlarged), None
        luma = rgb_to_y(enlarged)
        return enlarged + (self.refine(luma) - luma) * (255 / 219), None


def enlarged_radius(steps: int, scale: int) -> int:
    """Input pixels to each side that the enlarged image looks at within `steps` pixels of an input pixel's first."""

    def first(position: int) -> int:
        pixel, phase = divmod(position, scale)
        if 2 * phase + 1 == scale:  # the centre of an input pixel, which is taken as it is
            return pixel
        return pixel + (2 * phase + 1 - scale) // (2 * scale) + 1 - BICUBIC

    return -min(first(position) for position in range(-steps, 1))


def _enlarge(x: Tensor, axis: int, scale: int) -> Tensor:
    """`imresize` to a whole multiple along one axis, from numbers alone, so that it runs on shapes without values."""
    length = x.shape[axis]
    padded = F.pad(x, (0, 0, BICUBIC, BICUBIC) if axis == 2 else (BICUBIC, BICUBIC, 0, 0), mode="replicate")
    phases = []
    for phase in range(scale):
        offset = (phase + 0.5) / scale - 0.5  # of the output pixel from the input pixel that it lies in
        phases.append(
            sum(
                _cubic(offset - tap) * padded.narrow(axis, tap + BICUBIC, length)
                for tap in range(math.floor(offset) - 1, math.floor(offset) + 3)
            )
        )
    return torch.stack([torch.as_tensor(phase) for phase in phases], dim=axis + 1).flatten(axis, axis + 1)


def _cubic(x: float) -> float:
    """Keys' kernel with a = -1/2."""
    a = abs(x)
    if a <= 1:
        return 1.5 * a**3 - 2.5 * a**2 + 1
    return -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2 if a <= BICUBIC else 0.0
