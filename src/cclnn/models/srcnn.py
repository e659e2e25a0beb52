"""SRCNN: the first convolutional network for super-resolution (Dong et al. 2014)."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._arguments import Range
from cclnn._checks import check_at_least
from cclnn._typing import Float, Tensor
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Scale
from cclnn.models._enlarged import Colours, EnlargedSR, enlarged_radius
from cclnn.models._taking import take

WIDTHS = (64, 32)
OUTER, LAST = 9, 5  # kernel sizes of the first and the last convolution


class SRCNN(EnlargedSR):
    """y = conv5(relu(conv_f(relu(conv9(x))))) on the luma of the bicubic image.   (Dong et al. 2014, Eq. 1-3)

    The image is continued by its edge pixels in front of every convolution, as in the authors' test code.

    Quirk: of 9-1-5 (`srcnn`) and 9-5-5 (`srcnn-955`) on luma neither has the 0.02 M parameters of CCLN's Table 5: they
    have 8,129 and 57,281; 9-1-5 on RGB has them (20,099) (docs/quirks.md).

    Args:
        scale: 1 or more; the network is the same for each.
        kernel: f, size of the middle kernel: 1, 3 or 5.
        colours: "y" or "rgb".
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        kernel: Annotated[int, Range(1, 9)] = 1,
        colours: Colours = "y",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("kernel", kernel, 1)
        if kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, got {kernel}.")
        super().__init__(scale, colours=colours)
        ends = 3 if colours == "rgb" else 1
        self.conv1 = nn.Conv2d(ends, WIDTHS[0], OUTER, device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(*WIDTHS, kernel, device=device, dtype=dtype)
        self.conv3 = nn.Conv2d(WIDTHS[1], ends, LAST, device=device, dtype=dtype)

    def refine(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        deep = image.to(self.conv1.weight.dtype)
        for i, conv in enumerate((self.conv1, self.conv2, self.conv3)):
            margin = conv.kernel_size[0] // 2
            deep = conv(F.pad(deep.relu() if i else deep, (margin,) * 4, mode="replicate"))
        return deep.to(image.dtype)


def infer_srcnn(tensors: Mapping[str, Tensor], _given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show; the scale is none of them."""
    first, middle = take(tensors, "conv1.weight", "conv2.weight", of="an SRCNN")
    return {
        "kernel": middle.shape[-1],
        "colours": "rgb" if first.shape[1] == 3 else "y",
    }


def srcnn_radius(model: SRCNN) -> int:
    """The three kernels, in enlarged pixels."""
    reach = OUTER // 2 + int(model.config["kernel"]) // 2 + LAST // 2
    return enlarged_radius(reach, model.scale)


SRCNN.architecture = Architecture(
    title="SRCNN",
    paper="Dong et al. 2014, Learning a Deep Convolutional Network for Image Super-Resolution",
    year=2014,
    url="https://arxiv.org/abs/1501.00092",
    summary=(
        "Three convolutions on the luma of the image enlarged by bicubic interpolation: extract patches, map them, put "
        "them together. New in it: that a network does this at all; everything here descends from it. One network "
        "serves every scale. Layer to borrow: none."
    ),
    variants={"srcnn": {}, "srcnn-955": {"kernel": 5}},
    scales=(2, 3, 4),
    parameters={
        "srcnn": {2: 8_129, 3: 8_129, 4: 8_129},
        "srcnn-955": {2: 57_281, 3: 57_281, 4: 57_281},
    },
    receptive_radius=srcnn_radius,
    upscaling=(),
    input_channels="y",
    infer=infer_srcnn,
    unseen=("scale",),
    released=Released(
        source="http://mmlab.ie.cuhk.edu.hk/projects/SRCNN.html",
        license="academic use",
        signature="conv3.weight",
        renames=(("conv1.*", "conv1.*"), ("conv2.*", "conv2.*"), ("conv3.*", "conv3.*")),
    ),
)
