"""Efficient non-local contrastive attention (ENLCA, Xia et al. 2022)."""

import math

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_divides, check_positive, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.residual import add_scaled
from cclnn.losses.collecting import BlockWithLoss
from cclnn.ops import largest_scores

EPS = 5e-5  # smallest norm of an embedding
FLOOR = 1e-4  # added to every random feature
RELEVANT = slice(0, 15)  # entries of a row of scores, sorted in descending order
IRRELEVANT = slice(50, 65)


class EfficientNonLocalContrastiveAttention(BlockWithLoss, nn.Module):
    """ENLCA(x) = x + res_scale phi(Q) (phi(K)^T V) / (phi(Q) phi(K)^T 1), and the contrastive loss of Q K^T.
    (Xia et al. 2022, Eq. 5-9)

    Q = sqrt(k) q / |q| and K likewise, with q = conv_match1(x), key = conv_match2(x), V = conv_assembly(x), all 1x1.
    phi(u) = (exp(F u - |u|^2 / 2) + 1e-4) / sqrt(m): m positive random features, whose products estimate exp(Q K^T), so
    that time and memory grow with h w: 8 m h w bytes, 64 MiB for 256x256 pixels.

    loss = mean over pixels of max(0, b - log(mean exp(15 largest of the pixel's scores) / (mean exp(50th to 64th) +
    1e-6))). It needs all scores, which are computed in blocks: 32 MiB, and 12 * 65 h w bytes for the 65 largest of each
    pixel (`cclnn.ops.largest_scores`; 49 MiB for 256x256 pixels) where all scores at once would take 4 (h w)^2 bytes.
    The forward pass of the layer with its loss takes at most 4 h w (5 c + 2 m + 195) + 32 MiB bytes in float32, forward
    and backward together at most 4 h w (12 c + 10 m + 390) + 64 MiB: 465 MiB and 1.2 GiB for 256x256 pixels and
    256 channels (320 and 851 MiB measured), where the scores alone would be 16 GiB. Time grows with (h w)^2.

    Quirks: fixed counts of relevant and irrelevant pixels, and the hinge, as in the released code, not shares of h w;
    with fewer than 65 pixels the irrelevant ones are the smallest 15, or as many as there are. F is a buffer drawn once
    from `seed`; the released code draws a new one in every 640th call in training: call `redraw()` for that
    (docs/quirks.md). Features and scores are computed in float32 or wider.

    Args:
        channels: c, the number of feature channels.
        reduction: Q and K have channels // reduction channels; must divide channels.
        n_features: m, random features.
        amplification: k, the factor of the cosine in a score.
        margin: b of the loss.
        res_scale: factor of the attention.
        return_loss: return `(out, loss)`; False returns `out`, and `cclnn.losses.collect_losses` finds the loss.
        seed: of F.
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        `(out, loss)`, features like x and a 0-dim tensor, or `out`; in evaluation the loss is zero and costs nothing.

    >>> layer = EfficientNonLocalContrastiveAttention(8)
    >>> out, loss = layer(torch.rand(1, 8, 9, 10))
    >>> out.shape, loss.shape
    (torch.Size([1, 8, 9, 10]), torch.Size([]))
    """

    projection: Tensor

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        n_features: int = 128,
        amplification: float = 6.0,
        margin: float = 1.0,
        res_scale: float = 1.0,
        return_loss: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        check_at_least("n_features", n_features, 1)
        check_positive("amplification", amplification)
        self.channels = channels
        self.reduction = reduction
        self.n_features = n_features
        self.amplification = amplification
        self.margin = margin
        self.res_scale = res_scale
        self.return_loss = return_loss
        self.seed = seed
        width = channels // reduction
        self.conv_match1 = nn.Conv2d(channels, width, 1, device=device, dtype=dtype)
        self.conv_match2 = nn.Conv2d(channels, width, 1, device=device, dtype=dtype)
        self.conv_assembly = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)
        drawn = orthogonal_features(n_features, width, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("projection", drawn.to(torch.empty(0, device=device, dtype=dtype)))

    def forward(
        self, x: Float[Tensor, "b c h w"], *, with_loss: bool | None = None
    ) -> Float[Tensor, "b c h w"] | tuple[Float[Tensor, "b c h w"], Float[Tensor, ""]]:
        """Attend; `with_loss` computes the loss or leaves it zero: None, in training only."""
        check_shape("x", x, "b c h w", c=self.channels)
        query = self._embed(self.conv_match1(x))
        key = self._embed(self.conv_match2(x))
        value = rearrange(self.conv_assembly(x), "b c h w -> b (h w) c")
        with torch.autocast(x.device.type, enabled=False):
            attended = self._attend(query, key, value)
            wanted = self.training if with_loss is None else with_loss
            loss = self._loss(query, key) if wanted else query.new_zeros(())
        attended = rearrange(attended.to(x.dtype), "b (h w) c -> b c h w", h=x.shape[2])
        return self.result(add_scaled(x, attended, self.res_scale), loss)

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw new random features, from torch's default generator unless one is given."""
        drawn = orthogonal_features(*self.projection.shape, generator=generator)
        self.projection.copy_(drawn)

    def _embed(self, features: Float[Tensor, "b e h w"]) -> Float[Tensor, "b n e"]:
        """Rows of norm sqrt(k), in float32 or wider."""
        tokens = rearrange(features, "b e h w -> b (h w) e")
        tokens = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        return F.normalize(tokens, dim=-1, eps=EPS) * math.sqrt(self.amplification)

    def _features(self, embedding: Float[Tensor, "b n e"]) -> Float[Tensor, "b n m"]:
        projected = embedding @ self.projection.to(embedding.dtype).T
        exponent = projected - embedding.square().sum(dim=-1, keepdim=True) / 2
        return (exponent.exp() + FLOOR) / math.sqrt(self.n_features)

    def _attend(
        self, query: Float[Tensor, "b n e"], key: Float[Tensor, "b n e"], value: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b n c"]:
        query_features, key_features = self._features(query), self._features(key)
        context = key_features.mT @ value.to(key_features.dtype)
        return (query_features @ context) / (query_features @ key_features.sum(dim=1)[..., None])

    def _loss(self, query: Float[Tensor, "b n e"], key: Float[Tensor, "b n e"]) -> Float[Tensor, ""]:
        count = min(IRRELEVANT.stop, key.shape[1])
        scores = largest_scores(query, key, count=count).exp()
        relevant = scores[..., RELEVANT].mean(dim=-1)
        irrelevant = scores[..., -(IRRELEVANT.stop - IRRELEVANT.start) :].mean(dim=-1)
        each: Tensor = (self.margin - (relevant / (irrelevant + 1e-6)).log()).relu()
        return each.mean() if each.shape[0] else each.sum()

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, reduction={self.reduction}, n_features={self.n_features}, "
            f"amplification={self.amplification}, margin={self.margin}, res_scale={self.res_scale}, "
            f"return_loss={self.return_loss}, seed={self.seed}"
        )


def orthogonal_features(rows: int, width: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "m e"]:
    """F: blocks of `width` orthogonal directions, each row with the length of a Gaussian vector of its own.

    Directions are uniform: the signs that a QR decomposition prefers are replaced by those of its R.
    """
    with torch.device("cpu"):
        blocks = []
        for _ in range(math.ceil(rows / width)):
            q, r = torch.linalg.qr(torch.randn(width, width, generator=generator))
            blocks.append((q * r.diagonal().sign()).T)
        lengths: Tensor = torch.randn(rows, width, generator=generator).square().sum(dim=1, keepdim=True).sqrt()
    return torch.cat(blocks)[:rows] * lengths
