"""NLSN: EDSR with non-local sparse attention (Mei et al. 2021)."""

from collections.abc import Iterator

from torch import nn

from cclnn._checks import check_at_least
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.layers.residual import ResBlock
from cclnn.models._skeleton import ResidualSR
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
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        seed: seed of the rotations in evaluation; the i-th attention uses seed + i.
        backend: of `cclnn.ops.lsh_attention`; not part of `config`.
    """

    def __init__(
        self,
        scale: int = 2,
        *,
        channels: int = 256,
        n_resblocks: int = 32,
        res_scale: float = 0.1,
        match_reduction: int = 4,
        n_hashes: int = 4,
        chunk_size: int = 144,
        rgb_range: float = 1.0,
        seed: int = 0,
        backend: Backend = "auto",
    ) -> None:
        check_at_least("n_resblocks", n_resblocks, 1)

        def blocks() -> Iterator[nn.Module]:
            for i in range(n_resblocks + 1):
                if i:
                    yield ResBlock(channels, res_scale=res_scale)
                if i % 8 == 0:
                    yield NonLocalSparseAttention(
                        channels,
                        reduction=match_reduction,
                        n_hashes=n_hashes,
                        chunk_size=chunk_size,
                        res_scale=res_scale,
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
                "match_reduction": match_reduction,
                "n_hashes": n_hashes,
                "chunk_size": chunk_size,
                "rgb_range": rgb_range,
                "seed": seed,
            },
        )
