"""CCLNN-S: a small and fast CCLNN of our own, designed by measurement (docs/results.md, "The design of cclnn-s")."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._arguments import Range
from cclnn._typing import Float, Tensor
from cclnn.layers.ccln_block import CCLNBlock
from cclnn.layers.non_local_sparse_attention import Similarity
from cclnn.models._architecture import Architecture
from cclnn.models._arguments import ChunkSize, Depth, Hashes, Scale, Seed, Width
from cclnn.models._base import SRModel
from cclnn.models._taking import take
from cclnn.models._trunk import infer_attention
from cclnn.ops.sparse_attention import Backend

GREY = 0.45  # about the mean of photographs: what the padding of the first convolution stands for
START = 0.1  # of the last convolution's usual size: the network starts near bilinear interpolation


class ResidualUnit(nn.Sequential):
    """y = x + conv(relu(conv(.. relu(conv(x))))), 3x3 each.

    Args:
        channels: c, the number of feature channels.
        n_convs: convolutions.
        device, dtype: where and as what the parameters are made.
    """

    def __init__(
        self, channels: int, n_convs: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(
            *(nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype) for _ in range(n_convs))
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        first, *others = self
        deep: Tensor = first(x)
        for conv in others:
            deep = conv(F.relu(deep))
        return x + deep


class SmallCCLNN(SRModel):
    """sr = bilinear(x) + shuffle(conv(f + body(f))),  f = conv(x): residual units with CCLN blocks among them.

    The blocks stand at equal distances among the units: one after the middle unit, two after a third and two thirds.
    `model(x, return_loss=True)` also gives the mean of the blocks' losses.

    Args:
        scale: output size / input size.
        channels: feature channels.
        n_units: residual units.
        n_convs: convolutions in a unit.
        n_blocks: CCLN blocks; 0 leaves the trunk alone.
        reduction: r of the channel attention.
        ratio: n of Eq. 4.
        match_reduction: NLSA's match embedding has channels // match_reduction channels.
        n_hashes: rounds of hashing.
        chunk_size: tokens per chunk.
        similarity: how NLSA compares, "dot" or "cosine".
        centre: whether NLSA subtracts the mean query.
        stride: side of the block of pixels that is one token of NLSA.
        seed: seed of the rotations in evaluation; the i-th CCLN block uses seed + i.
        backend: backend of `cclnn.ops.lsh_attention`; not part of `config`.
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 48,
        n_units: Depth = 6,
        n_convs: Depth = 3,
        n_blocks: Annotated[int, Range(0, 256)] = 1,
        reduction: Width = 16,
        ratio: Annotated[float, Range(0, 1)] = 0.15,
        match_reduction: Width = 4,
        n_hashes: Hashes = 1,
        chunk_size: ChunkSize = 64,
        similarity: Similarity = "cosine",
        centre: bool = True,
        stride: Annotated[int, Range(1, 16)] = 1,
        seed: Seed = 0,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(scale)

        def block(index: int) -> CCLNBlock:
            return CCLNBlock(
                channels,
                reduction=reduction,
                ratio=ratio,
                match_reduction=match_reduction,
                n_hashes=n_hashes,
                chunk_size=chunk_size,
                res_scale=1.0,
                similarity=similarity,
                centre=centre,
                stride=stride,
                seed=seed + index,
                backend=backend,
                device=device,
                dtype=dtype,
            )

        body: list[nn.Module] = []
        for i in range(1, n_units + 1):
            body.append(ResidualUnit(channels, n_convs, device, dtype))
            body.extend(block(j) for j in range(n_blocks) if (j + 1) * n_units // (n_blocks + 1) == i)
        self.head = nn.Conv2d(3, channels, 3, padding=1, device=device, dtype=dtype)
        self.body = nn.ModuleList(body)
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1, device=device, dtype=dtype)
        with torch.no_grad():
            self.tail.weight.mul_(START)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # it has one

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features = self.head((x - GREY).to(self.head.weight.dtype))
        deep, losses = features, []
        for layer in self.body:
            found = layer(deep)
            deep, loss = found if isinstance(found, tuple) else (found, None)
            if loss is not None:
                losses.append(loss)
        detail = F.pixel_shuffle(self.tail(features + deep), self.scale)
        return self.enlarge(x) + detail, torch.stack(losses).mean() if losses else None

    def enlarge(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """The image that the network adds its detail to."""
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


def infer_small(tensors: Mapping[str, Tensor], _given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show."""
    head, tail, _ = take(tensors, "head.weight", "tail.weight", "body.0.0.weight", of="a SmallCCLNN")
    channels = head.shape[0]
    squeezed = [tensor for name, tensor in tensors.items() if name.endswith("channel_attention.squeeze.weight")]
    return {
        "scale": math.isqrt(tail.shape[0] // 3),
        "channels": channels,
        "n_units": sum(bool(re.fullmatch(r"body\.\d+\.0\.weight", name)) for name in tensors),
        "n_convs": sum(bool(re.fullmatch(r"body\.0\.\d+\.weight", name)) for name in tensors),
        "n_blocks": len(squeezed),
        **({"reduction": channels // squeezed[0].shape[0]} if squeezed else {}),
        **infer_attention(tensors, channels),
    }


SmallCCLNN.architecture = Architecture(
    title="CCLNN-S",
    paper="Liu, Chu, Wei 2024, A Channel Contrastive Attention-based Local-Nonlocal Mutual block on Super-Resolution",
    year=2024,
    url="https://doi.org/10.1587/transinf.2024EDP7009",
    summary=(
        "Ours, not the paper's: a CCLN block in a trunk that was chosen by what pays in equal time. Residual units of "
        "three convolutions, one convolution to the pixels, added to the bilinearly enlarged input; the attention of "
        "the block compares by cosine, without the mean query."
    ),
    variants={"cclnn-s": {}},
    parameters={"cclnn-s": {2: 432_460, 3: 438_955, 4: 448_048}},
    receptive_radius="global",
    infer=infer_small,
    unseen=("n_hashes", "chunk_size", "stride"),
    small={"channels": 32, "n_units": 2},
)
