"""NLSN: EDSR with non-local sparse attention (Mei et al. 2021)."""

from collections.abc import Mapping
from typing import Any

import torch

from cclnn._typing import Tensor
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
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


class NLSN(ResidualSR):
    """EDSR with an NLSA before the first residual block and after every 8th.   (Mei et al. 2021, Fig. 2)

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_resblocks: residual blocks; 32 give 5 attentions.
        res_scale: factor of each block's and attention's residual branch.
        match_reduction: the match embedding has channels // match_reduction channels.
        n_hashes: rounds of hashing.
        chunk_size: pixels per chunk.
        similarity, centre, local_round, stride: options of `NonLocalSparseAttention`; the defaults are the paper's.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        seed: seed of the rotations in evaluation; the i-th attention uses seed + i.
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
        match_reduction: Width = 4,
        n_hashes: Hashes = 4,
        chunk_size: ChunkSize = 144,
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
        def attention(index: int) -> NonLocalSparseAttention:
            return NonLocalSparseAttention(
                channels,
                reduction=match_reduction,
                n_hashes=n_hashes,
                chunk_size=chunk_size,
                res_scale=res_scale,
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


def infer_nlsn(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show: the trunk's, and the attentions'."""
    inferred = infer_trunk(tensors, given)
    return {**inferred, **infer_attention(tensors, inferred["channels"])}


NLSN.architecture = Architecture(
    title="NLSN",
    paper="Mei et al. 2021, Image Super-Resolution with Non-Local Sparse Attention",
    year=2021,
    url="https://doi.org/10.1109/CVPR46437.2021.00352",
    summary=(
        "EDSR with five non-local sparse attentions. New in it: pixels are hashed by the direction of their features, "
        "sorted by bucket and cut into chunks, so that each attends to pixels like itself anywhere in the image at a "
        "cost linear in their number. Layer to borrow: `NonLocalSparseAttention`."
    ),
    variants={"nlsn": {}, "nlsn-l": {"channels": 128, "n_resblocks": 16}},
    parameters={"nlsn": {2: 41_796_187, 3: 44_746_587, 4: 44_156_507}},
    receptive_radius="global",
    infer=infer_nlsn,
    unseen=("res_scale", "n_hashes", "chunk_size"),
    released=Released(
        source="https://github.com/HarukiYqM/Non-Local-Sparse-Attention",
        license="none found",
        signature="body.0.conv_match.0.weight",
        renames=(
            *TRUNK,
            ("body.{i}.conv_match.0.*", "body.{i}.conv_match.*"),
            ("body.{i}.conv_assembly.0.*", "body.{i}.conv_assembly.*"),
            *LAST,
        ),
    ),
    small={"channels": 16, "n_resblocks": 2},
)
