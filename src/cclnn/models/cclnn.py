"""CCLNN: EDSR with channel contrastive attention-based local-nonlocal mutual blocks (Liu et al. 2024)."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch

from cclnn._arguments import Range
from cclnn._typing import Tensor
from cclnn.layers.ccln_block import Branch, CCLNBlock, Sparsity
from cclnn.layers.residual import ResBlock
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import (
    ChunkSize,
    Compared,
    Depth,
    Factor,
    Hashes,
    Scale,
    Seed,
    Stride,
    Switch,
    White,
    Width,
)
from cclnn.models._trunk import LAST, TRUNK, ResidualSR, infer_attention, infer_trunk, with_attentions
from cclnn.ops.sparse_attention import Backend


class CCLNN(ResidualSR):
    """EDSR with a CCLN block before the first residual block and after every 8th.   (Liu et al. 2024, Sec. 3.3)

    `model(x)` gives the image, `model(x, return_loss=True)` also the mean of the blocks' losses (Eq. 6's sum / B).

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_resblocks: residual blocks; 32 give B = 5 CCLN blocks.
        res_scale: factor of every residual branch, NLSA's included.
        reduction: r of the channel attention.
        ratio: n of Eq. 4; None takes the paper's, 0.15 for x2 and x3, 0.10 from x4 on.
        margin: b of Eq. 4.
        match_reduction: NLSA's match embedding has channels // match_reduction channels.
        n_hashes: rounds of hashing.
        chunk_size: pixels per chunk.
        branch: "both", "local" or "nonlocal" (the paper's Table 1).
        sparsity: "contrastive", "l1" or "none" (the paper's Table 2).
        similarity, centre, local_round, stride: options of `NonLocalSparseAttention`; the defaults are the paper's.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        seed: seed of the rotations in evaluation; the i-th CCLN block uses seed + i.
        backend: backend of `cclnn.ops.lsh_attention`; not part of `config`.
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 256,
        n_resblocks: Depth = 32,
        res_scale: Factor = 0.1,
        reduction: Width = 16,
        ratio: Annotated[float, Range(0, 1)] | None = None,
        margin: Annotated[float, Range(-1000, 1000)] = 1.0,
        match_reduction: Width = 4,
        n_hashes: Hashes = 4,
        chunk_size: ChunkSize = 144,
        branch: Branch = "both",
        sparsity: Sparsity = "contrastive",
        similarity: Compared = "dot",
        centre: Switch = False,
        local_round: Switch = False,
        stride: Stride = 1,
        rgb_range: White = 1.0,
        seed: Seed = 0,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        share = (0.15 if scale <= 3 else 0.10) if ratio is None else ratio

        def attention(index: int) -> CCLNBlock:
            return CCLNBlock(
                channels,
                reduction=reduction,
                ratio=share,
                margin=margin,
                match_reduction=match_reduction,
                n_hashes=n_hashes,
                chunk_size=chunk_size,
                res_scale=res_scale,
                branch=branch,
                sparsity=sparsity,
                similarity=similarity,
                centre=centre,
                local_round=local_round,
                stride=stride,
                seed=seed + index,
                backend=backend,
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
        self.config["ratio"] = share  # what the scale decided, so that a file says what it uses


def infer_cclnn(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show: the trunk's, the attentions', the width of the bottleneck, an absent branch."""
    inferred = infer_trunk(tensors, given)
    inferred.update(infer_attention(tensors, inferred["channels"]))
    squeezed = [tensor for name, tensor in tensors.items() if name.endswith("channel_attention.squeeze.weight")]
    if squeezed:
        inferred["reduction"] = inferred["channels"] // squeezed[0].shape[0]
    if not squeezed or "match_reduction" not in inferred:
        inferred["branch"] = "local" if squeezed else "nonlocal"
    return inferred


CCLNN.architecture = Architecture(
    title="CCLNN",
    paper="Liu, Chu, Wei 2024, A Channel Contrastive Attention-based Local-Nonlocal Mutual block on Super-Resolution",
    year=2024,
    url="https://doi.org/10.1587/transinf.2024EDP7009",
    summary=(
        "NLSN's layout with CCLN blocks in place of its attentions. New in it: a local branch (channel attention and a "
        "residual block) beside a non-local one (pixel attention and sparse attention), and a contrastive loss that "
        "drives the channel weights apart. Layers to borrow: `CCLNBlock`, `ChannelContrastiveAttention`."
    ),
    variants={
        "cclnn": {},
        "cclnn-l": {"channels": 128, "n_resblocks": 16},
        "cclnn-t": {"channels": 64, "n_resblocks": 8, "res_scale": 1.0, "chunk_size": 64, "n_hashes": 1},
    },
    parameters={
        "cclnn": {2: 48_068_267, 3: 51_018_667, 4: 50_428_587},
        "cclnn-l": {2: 6_569_491, 3: 7_307_411, 4: 7_159_827},
        "cclnn-t": {2: 963_011},
    },
    receptive_radius="global",
    infer=infer_cclnn,
    unseen=("res_scale", "n_hashes", "chunk_size"),
    released=Released(  # no code was released: NLSN's layout, with a block's parts named pa, nlsa, cca and res
        source="none: NLSN's layout, with a block's parts named pa, nlsa, cca and res",
        license="no code released",
        signature="body.0.pa.conv.weight",
        renames=(
            *TRUNK,
            ("body.{i}.pa.conv.*", "body.{i}.pixel_attention.conv.*"),
            ("body.{i}.nlsa.conv_match.0.*", "body.{i}.nonlocal_attention.conv_match.*"),
            ("body.{i}.nlsa.conv_assembly.0.*", "body.{i}.nonlocal_attention.conv_assembly.*"),
            ("body.{i}.cca.conv_du.0.*", "body.{i}.channel_attention.squeeze.*"),
            ("body.{i}.cca.conv_du.2.*", "body.{i}.channel_attention.excite.*"),
            ("body.{i}.res.body.0.*", "body.{i}.residual.conv1.*"),
            ("body.{i}.res.body.2.*", "body.{i}.residual.conv2.*"),
            *LAST,
        ),
    ),
    small={"channels": 16, "n_resblocks": 2},
)
