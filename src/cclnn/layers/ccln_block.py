"""The CCLN block: a local and a non-local branch side by side (Liu et al. 2024)."""

from typing import Literal, get_args

import torch
from torch import nn

from cclnn._checks import check_choice, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.channel_attention import ChannelContrastiveAttention
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention, Similarity
from cclnn.layers.pixel_attention import PixelAttention
from cclnn.layers.residual import ResBlock
from cclnn.losses.collecting import BlockWithLoss
from cclnn.losses.sparsity import channel_sparsity_loss
from cclnn.ops.sparse_attention import Backend

Branch = Literal["both", "local", "nonlocal"]
BRANCHES: tuple[Branch, ...] = get_args(Branch)
Sparsity = Literal["contrastive", "l1", "none"]
SPARSITIES: tuple[Sparsity, ...] = get_args(Sparsity)


class CCLNBlock(BlockWithLoss, nn.Module):
    """Y = NLSA(PA(X)) + Res(CCA(X)), and the loss of CCA's channel weights.   (Liu et al. 2024, Eq. 2)

    NLSA keeps its own residual and res_scale, Res its skip; there is no further "+ X" (docs/quirks.md): at the default
    initialisation both attentions halve their input, so the block starts near the identity.

    Args:
        channels: C, the number of feature channels.
        reduction: r of the channel attention; must divide channels.
        ratio: n of Eq. 4; 0 < ratio < 0.5.
        margin: b of Eq. 4.
        match_reduction: NLSA's match embedding has channels // match_reduction channels; must divide channels.
        n_hashes: rounds of hashing in NLSA.
        chunk_size: pixels per chunk in NLSA.
        res_scale: factor of NLSA's and of Res' residual branch.
        branch: "both", or one alone for the paper's Table 1: "local" is Res(CCA(X)), "nonlocal" is NLSA(PA(X)).
        sparsity: loss of the channel weights, for the paper's Table 2: "contrastive" (Eq. 4), "l1" (Eq. 7) or "none".
        similarity, centre, local_round, stride: of NLSA; see `NonLocalSparseAttention`.
        return_loss: return `(y, loss)`; False returns `y`, as `nn.Sequential` wants it, and
            `cclnn.losses.collect_losses` finds the loss.
        seed: seed of NLSA's rotations in evaluation.
        backend: of `cclnn.ops.lsh_attention`.
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        `(y, loss)`, features like x and a 0-dim tensor, float32 or wider (zero where there is no loss); or `y`.

    >>> features, loss = CCLNBlock(16, reduction=4, chunk_size=4)(torch.rand(1, 16, 5, 7))
    >>> features.shape, loss.shape
    (torch.Size([1, 16, 5, 7]), torch.Size([]))
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        ratio: float = 0.15,
        margin: float = 1.0,
        match_reduction: int = 4,
        n_hashes: int = 4,
        chunk_size: int = 144,
        res_scale: float = 0.1,
        branch: Branch = "both",
        sparsity: Sparsity = "contrastive",
        similarity: Similarity = "dot",
        centre: bool = False,
        local_round: bool = False,
        stride: int = 1,
        return_loss: bool = True,
        seed: int = 0,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_choice("branch", branch, BRANCHES)
        check_choice("sparsity", sparsity, SPARSITIES)
        self.channels = channels
        self.branch = branch
        self.sparsity = sparsity
        self.return_loss = return_loss
        if branch != "local":
            check_divides("match_reduction", match_reduction, "channels", channels)
            self.pixel_attention = PixelAttention(channels, device=device, dtype=dtype)
            self.nonlocal_attention = NonLocalSparseAttention(
                channels,
                reduction=match_reduction,
                n_hashes=n_hashes,
                chunk_size=chunk_size,
                res_scale=res_scale,
                similarity=similarity,
                centre=centre,
                local_round=local_round,
                stride=stride,
                seed=seed,
                backend=backend,
                device=device,
                dtype=dtype,
            )
        if branch != "nonlocal":
            self.channel_attention = CHANNEL_ATTENTION[sparsity](
                channels, reduction=reduction, ratio=ratio, margin=margin, device=device, dtype=dtype
            )
            self.residual = ResBlock(channels, res_scale=res_scale, device=device, dtype=dtype)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"] | tuple[Float[Tensor, "b c h w"], Float[Tensor, ""]]:
        check_shape("x", x, "b c h w", c=self.channels)
        if self.branch == "nonlocal":
            y, loss = self.nonlocal_attention(self.pixel_attention(x)), x.new_zeros((), dtype=torch.float32)
        else:
            weighted, loss = self.channel_attention(x)
            y = self.residual(weighted)
            if self.branch == "both":
                y = self.nonlocal_attention(self.pixel_attention(x)) + y
        return self.result(y, loss)

    def extra_repr(self) -> str:
        return f"{self.channels}, branch={self.branch!r}, sparsity={self.sparsity!r}, return_loss={self.return_loss}"


class _SparseAttention(ChannelContrastiveAttention):
    """Channel attention with the loss of Eq. 7 instead of Eq. 4."""

    def loss(self, weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
        return channel_sparsity_loss(weights)


class _FreeAttention(ChannelContrastiveAttention):
    """Channel attention without a loss."""

    def loss(self, weights: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
        return weights.new_zeros((), dtype=torch.float32)


CHANNEL_ATTENTION: dict[Sparsity, type[ChannelContrastiveAttention]] = {
    "contrastive": ChannelContrastiveAttention,
    "l1": _SparseAttention,
    "none": _FreeAttention,
}
