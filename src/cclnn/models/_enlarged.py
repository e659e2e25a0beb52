"""Networks that refine an image which is enlarged before it enters them: SRCNN and VDSR."""

from typing import Literal

import torch

from cclnn._checks import check_choice
from cclnn._typing import Float, Tensor
from cclnn.models._base import SRModel
from cclnn.ops import imresize, rgb_to_y

Colours = Literal["y", "rgb"]
COLOURS: tuple[Colours, ...] = ("y", "rgb")
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
        enlarged = imresize(x.to(torch.promote_types(x.dtype, torch.float32)), float(self.scale))
        if self.colours == "rgb":
            return self.refine(enlarged), None
        luma = rgb_to_y(enlarged)
        return enlarged + (self.refine(luma) - luma) * (255 / 219), None
