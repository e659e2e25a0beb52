"""ENLCN: EDSR with efficient non-local contrastive attention (Xia et al. 2022)."""

from collections.abc import Mapping
from typing import Any

import torch

from cclnn._typing import Tensor
from cclnn.layers.efficient_non_local_attention import EfficientNonLocalContrastiveAttention
from cclnn.layers.residual import ResBlock
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Factor, Scale, Seed, White, Width
from cclnn.models._taking import take
from cclnn.models._trunk import LAST, TRUNK, ResidualSR, infer_trunk, with_attentions


class ENLCN(ResidualSR):
    """EDSR with an ENLCA before the first residual block and after every 8th.   (Xia et al. 2022, Fig. 2)

    The loss is the mean of the attentions' contrastive losses; it is computed in training mode only. Memory of one
    attention: see `EfficientNonLocalContrastiveAttention`; linear in the number of pixels, with the loss too. Training
    also keeps the features of all residual blocks, as EDSR's does.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_resblocks: residual blocks; 32 give 5 attentions.
        res_scale: factor of each block's and attention's residual branch.
        match_reduction: queries and keys have channels // match_reduction channels.
        n_features: random features of each attention.
        amplification: k, the factor of the cosine in a score.
        margin: b of the contrastive loss.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        seed: seed of the random features; the i-th attention uses seed + i.
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 256,
        n_resblocks: Depth = 32,
        res_scale: Factor = 0.1,
        match_reduction: Width = 4,
        n_features: Width = 128,
        amplification: Factor = 6.0,
        margin: Factor = 1.0,
        rgb_range: White = 1.0,
        seed: Seed = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        def attention(index: int) -> EfficientNonLocalContrastiveAttention:
            return EfficientNonLocalContrastiveAttention(
                channels,
                reduction=match_reduction,
                n_features=n_features,
                amplification=amplification,
                margin=margin,
                res_scale=res_scale,
                seed=seed + index,
                device=device,
                dtype=dtype,
            )

        def residual() -> ResBlock:
            return ResBlock(channels, res_scale=res_scale, device=device, dtype=dtype)

        super().__init__(
            scale,
            channels=channels,
            blocks=with_attentions(n_resblocks, residual, attention),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )


def infer_enlcn(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show: the trunk's, and the sizes of the first attention's embedding."""
    inferred = infer_trunk(tensors, given)
    (projection,) = take(tensors, "body.0.projection", of="an ENLCN")
    return {
        **inferred,
        "n_features": projection.shape[0],
        "match_reduction": inferred["channels"] // projection.shape[1],
    }


ENLCN.architecture = Architecture(
    title="ENLCN",
    paper="Xia et al. 2022, Efficient Non-Local Contrastive Attention for Image Super-Resolution",
    year=2022,
    url="https://arxiv.org/abs/2201.03794",
    summary=(
        "EDSR with five efficient non-local attentions, at NLSN's places. New in it: exponential scores are estimated "
        "by random features, which makes attention linear in the number of pixels, and a contrastive loss pushes the "
        "scores of relevant and irrelevant pixels apart: the source of CCLN's loss. Layer to borrow: "
        "`EfficientNonLocalContrastiveAttention`."
    ),
    variants={"enlcn": {}},
    parameters={"enlcn": {2: 41_223_067, 3: 44_173_467, 4: 43_583_387}},
    receptive_radius="global",
    infer=infer_enlcn,
    unseen=("res_scale", "amplification", "margin", "seed"),
    released=Released(
        source="https://github.com/Zj-BinXia/ENLCA",
        license="none found",
        signature="body.0.attn_fn.projection_matrix",
        renames=(
            *TRUNK,
            ("body.{i}.conv_match1.0.*", "body.{i}.conv_match1.*"),
            ("body.{i}.conv_match2.0.*", "body.{i}.conv_match2.*"),
            ("body.{i}.conv_assembly.0.*", "body.{i}.conv_assembly.*"),
            ("body.{i}.attn_fn.projection_matrix", "body.{i}.projection"),
            *LAST,
        ),
    ),
    small={"channels": 32, "n_resblocks": 2, "margin": 20.0},
)
