"""CCLNN: EDSR with channel contrastive attention-based local-nonlocal mutual blocks (Liu et al. 2024)."""

from collections.abc import Iterator

import torch
from torch import nn

from cclnn._checks import check_at_least
from cclnn._typing import Float, Tensor
from cclnn.layers.ccln_block import Branch, CCLNBlock, Sparsity
from cclnn.layers.residual import ResBlock
from cclnn.models._skeleton import ResidualSR
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
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        seed: seed of the rotations in evaluation; the i-th CCLN block uses seed + i.
        backend: of `cclnn.ops.lsh_attention`; not part of `config`.
    """

    def __init__(
        self,
        scale: int = 2,
        *,
        channels: int = 256,
        n_resblocks: int = 32,
        res_scale: float = 0.1,
        reduction: int = 16,
        ratio: float | None = None,
        margin: float = 1.0,
        match_reduction: int = 4,
        n_hashes: int = 4,
        chunk_size: int = 144,
        branch: Branch = "both",
        sparsity: Sparsity = "contrastive",
        rgb_range: float = 1.0,
        seed: int = 0,
        backend: Backend = "auto",
    ) -> None:
        check_at_least("n_resblocks", n_resblocks, 1)
        share = (0.15 if scale <= 3 else 0.10) if ratio is None else ratio

        def blocks() -> Iterator[nn.Module]:
            for i in range(n_resblocks + 1):
                if i:
                    yield ResBlock(channels, res_scale=res_scale)
                if i % 8 == 0:
                    yield CCLNBlock(
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
                        seed=seed + i // 8,
                        backend=backend,
                    )

        super().__init__(
            scale,
            channels=channels,
            blocks=blocks(),
            rgb_range=rgb_range,
            config={
                "scale": scale,
                "channels": channels,
                "n_resblocks": n_resblocks,
                "res_scale": res_scale,
                "reduction": reduction,
                "ratio": share,
                "margin": margin,
                "match_reduction": match_reduction,
                "n_hashes": n_hashes,
                "chunk_size": chunk_size,
                "branch": branch,
                "sparsity": sparsity,
                "rgb_range": rgb_range,
                "seed": seed,
            },
        )

    def forward(  # type: ignore[override]  # two results only when asked for
        self, x: Float[Tensor, "b 3 h w"], *, return_loss: bool = False
    ) -> Float[Tensor, "b 3 sh sw"] | tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""]]:
        features = self.embed(x)
        deep, losses = features, []
        for block in self.body:
            if isinstance(block, CCLNBlock):
                deep, loss = block(deep)
                losses.append(loss)
            else:
                deep = block(deep)
        sr = self.reconstruct(features + deep).to(x.dtype)
        return (sr, torch.stack(losses).mean()) if return_loss else sr
