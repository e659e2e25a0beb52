"""SRFBN: a feedback network, whose hidden state refines the image step by step (Li et al. 2019)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cclnn._checks import check_at_least, check_choice
from cclnn._typing import Float, Tensor
from cclnn.layers.feedback_block import GEOMETRIES, SLOPE, FeedbackBlock
from cclnn.layers.projection import convolve, enlarge
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._feedback import FeedbackSR
from cclnn.models._taking import take


class SRFBN(FeedbackSR):
    """sr_t = bilinear(x) + out(enlarge(h_t)),  h_t = block(f, h_{t-1}),  f = head(x), t = 1..T.   (Li et al. 2019)

    The last image, sr_T, is the result; `steps(x)` gives them all, which training compares with the true image. The
    network's weights are the same in every step, so that their number does not depend on T.

    Args:
        scale: 2, 3, 4 or 8.
        channels: feature channels.
        n_groups: groups of the feedback block.
        n_steps: T.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_groups: Depth = 6,
        n_steps: Depth = 4,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("scale", scale, GEOMETRIES)
        check_at_least("channels", channels, 1)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            scale,
            channels=channels,
            head=nn.Sequential(
                convolve(3, 4 * channels, 3, slope=SLOPE, **made),
                convolve(4 * channels, channels, 1, slope=SLOPE, **made),
            ),
            n_steps=n_steps,
            rgb_range=rgb_range,
            **made,
        )
        self.block = FeedbackBlock(channels, n_groups=n_groups, scale=scale, **made)
        self.enlarge = enlarge(channels, GEOMETRIES[scale], slope=SLOPE, **made)

    def iterate(self, features: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c sh sw"]]:
        hidden = None
        for _ in range(self.n_steps):
            hidden = self.block(features, hidden)
            yield self.enlarge(hidden)


def infer_srfbn(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The scale by the kernel of the enlarging convolution, the width, the groups."""
    up, _ = take(tensors, "enlarge.0.weight", "tail.weight", of="SRFBN's")
    channels, _, kernel, _ = up.shape
    scales = {geometry.kernel: scale for scale, geometry in GEOMETRIES.items()}
    if "scale" not in given and kernel not in scales:
        raise ValueError(f"`state_dict`: a kernel of {kernel} pixels belongs to no scale of SRFBN.")
    groups = sum(bool(re.fullmatch(r"block\.enlarge\.\d+\.0\.weight", name)) for name in tensors)
    return {"scale": scales.get(kernel), "channels": channels, "n_groups": groups}


def srfbn_radius(model: SRFBN) -> int:
    """1 pixel for the head, what each group's kernels share with their neighbours', and the tail's 1 enlarged pixel."""
    shape = GEOMETRIES[model.scale]
    per_group = (shape.kernel - 1) // shape.stride
    return 1 + model.n_steps * model.block.n_groups * per_group + (shape.kernel - shape.padding) // shape.stride


SRFBN.architecture = Architecture(
    title="SRFBN",
    paper="Li et al. 2019, Feedback Network for Image Super-Resolution",
    year=2019,
    url="https://arxiv.org/abs/1903.09814",
    summary=(
        "One feedback block, run four times, whose hidden state carries what was found to the next run. New in it: "
        "later features correct earlier ones through the feedback, with weights shared by all steps. The block that "
        "LNFSR and DLNFN rest on. Layer to borrow: `FeedbackBlock`."
    ),
    variants={"srfbn": {}, "srfbn-s": {"channels": 32, "n_groups": 3}},
    parameters={
        "srfbn": {2: 2_140_534, 3: 2_832_758, 4: 3_631_478},
        "srfbn-s": {2: 282_442, 3: 375_626, 4: 483_146},
    },
    receptive_radius=srfbn_radius,
    input_range=255.0,
    infer=infer_srfbn,
    unseen=("n_steps", "rgb_range"),
    released=Released(
        source="https://github.com/Paper99/SRFBN_CVPR19",
        license="mit",
        signature="block.upBlocks.0.0.weight",
        renames=(
            ("sub_mean.*", "sub_mean.*"),
            ("add_mean.*", "add_mean.*"),
            ("conv_in.**", "head.0.**"),
            ("feat_in.**", "head.1.**"),
            ("block.compress_in.**", "block.compress_in.**"),
            ("block.compress_out.**", "block.compress_out.**"),
            ("block.upBlocks.**", "block.enlarge.**"),
            ("block.downBlocks.**", "block.reduce.**"),
            ("block.uptranBlocks.**", "block.mix_low.**"),
            ("block.downtranBlocks.**", "block.mix_high.**"),
            ("out.**", "enlarge.**"),
            ("conv_out.0.*", "tail.*"),
        ),
    ),
    small={"channels": 8, "n_groups": 2, "n_steps": 2},
)
