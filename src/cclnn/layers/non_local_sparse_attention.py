"""Non-local sparse attention (NLSA, Mei et al. 2021), and options that make its queries differ more between pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_choice, check_divides, check_shape
from cclnn._sizes import larger, parts, smaller
from cclnn._typing import Float, Int, Tensor
from cclnn.layers.cross_scale_attention import repeat_last
from cclnn.layers.residual import add_scaled
from cclnn.ops.sparse_attention import BACKENDS, Backend, LSHPlan, hash_codes, lsh_attention, make_plan
from cclnn.ops.sparse_attention.reference import EPS
from cclnn.precision import cast_once

Similarity = Literal["dot", "cosine"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
MAX_BUCKETS = 128
FIRST_SCALE = 10.0  # tau at the start and its limit, as for Swin V2's cosine attention (Liu et al. 2022, Sec. 3.2)
LARGEST_SCALE = 100.0
MOMENTUM = 0.1  # of the running mean query, as in torch's BatchNorm2d


@dataclass(frozen=True)
class Match:
    """What the attention decides for one input before it attends.

    query: (b, n, e), the queries that enter `lsh_attention`, and once normalised its keys
    codes: (b, r, n), the bucket of each token in each round
    plan:  which tokens attend to which
    size:  rows and columns of the n tokens: those of the input, divided by `stride` and rounded up
    """

    query: Float[Tensor, "b n e"]
    codes: Int[Tensor, "b r n"]
    plan: LSHPlan
    size: tuple[int, int]


class NonLocalSparseAttention(nn.Module):
    """NLSA(x) = x + res_scale * A(x): each pixel attends to those near it in the order of hash buckets.

    q = conv_match(x) (3x3), v = conv_assembly(x) (1x1), A = lsh_attention(q, v) over `n_hashes` rounds of spherical LSH
    into max(2, min(even(h w // chunk_size), 128)) buckets, sorted and cut into chunks.   (Mei et al. 2021, Sec. 3)

    Works for any h, w >= 1. Evaluation is deterministic: the rotations are drawn once on the CPU from `seed`, so every
    call and every device uses the same ones; training draws new ones from torch's default generator in each call.

    Options, all off by default (the paper's layer); docs/results.md, "Does the attention attend?", has the reasons:

    - `similarity="cosine"`: s_ij = tau k_i . k_j with k_i = (q_i - mu) / |q_i - mu| instead of q_i . q_j / |q_j|. tau =
      exp(min(logit_scale, log 100)) is learned and starts at 10, start and limit being those of Swin V2 (Liu et al.
      2022, Sec. 3.2 and released code): training decides how sharp the softmax is, whatever the norm of q.
    - `centre=True`: mu is the mean query, else 0. Queries that share a direction fall into few buckets; without their
      mean they spread. mu is subtracted before hashing, and with "cosine" before normalising as well. In training it
      is the mean over the pixels of each image, in evaluation a running mean of those (buffer `mean_query`, momentum
      0.1), so that a tile and the whole image use the same.
    - `local_round=True`: the last of the `n_hashes` rounds sorts tokens by position instead of by hash: in vertical
      strips of about sqrt(3 chunk_size) columns, row by row, so that a token attends to all others of its strip up to
      about chunk_size / width of the strip rows away, whatever their content.
    - `stride=2`: tokens are blocks of 2 x 2 pixels (pixel-unshuffled into 4 c channels, from which conv_match and
      conv_assembly make e and c), and conv_expand (1x1) maps a token's result back to its 2 x 2 pixels: a quarter of
      the tokens at the same width. Odd sizes repeat the last row or column.

    Quirks: the sort is stable; fewer pixels than `chunk_size` are one chunk, that is plain attention; evaluation uses
    fixed rotations; hashing is always float32 (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        reduction: the match embedding has channels // reduction channels; must divide channels.
        n_hashes: r, rounds of hashing; time grows with it.
        chunk_size: m, pixels per chunk; a pixel attends to 3 chunks in each round.
        res_scale: factor of the attention; 0.1 in wide networks, 1 in narrow ones.
        similarity: "dot" (the paper's) or "cosine".
        centre: subtract the mean query.
        local_round: sort by position in one round; needs `n_hashes` of at least 2.
        stride: side of the block of pixels that is one token.
        seed: seed of the rotations used in evaluation.
        backend: of `cclnn.ops.lsh_attention`; changes speed and memory, never the state dict.
        device, dtype: of parameters and buffers, as for torch's own layers; the rotations stay float32.

    >>> layer = NonLocalSparseAttention(8, n_hashes=2, chunk_size=4).eval()
    >>> features = torch.rand(1, 8, 5, 7)
    >>> layer(features).shape
    torch.Size([1, 8, 5, 7])
    >>> torch.equal(layer(features), layer(features))
    True
    """

    rotations: Tensor
    mean_query: Tensor

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        n_hashes: int = 4,
        chunk_size: int = 144,
        res_scale: float = 1.0,
        similarity: Similarity = "dot",
        centre: bool = False,
        local_round: bool = False,
        stride: int = 1,
        seed: int = 0,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        check_at_least("n_hashes", n_hashes, 1)
        check_at_least("chunk_size", chunk_size, 1)
        check_choice("similarity", similarity, SIMILARITIES)
        check_at_least("stride", stride, 1)
        check_choice("backend", backend, BACKENDS)
        if local_round and n_hashes < 2:
            raise ValueError(f"`n_hashes`={n_hashes} leaves no round to hash beside local_round=True: take at least 2.")
        self.channels = channels
        self.reduction = reduction
        self.embed_width = channels // reduction
        self._n_hashes = n_hashes
        self.chunk_size = chunk_size
        self.res_scale = res_scale
        self.similarity: Similarity = similarity
        self.centre = centre
        self.local_round = local_round
        self.stride = stride
        self._seed = seed
        self.backend: Backend = backend
        width = channels * stride**2
        self.conv_match = nn.Conv2d(width, self.embed_width, 3, padding=1, device=device, dtype=dtype)
        self.conv_assembly = nn.Conv2d(width, channels, 1, device=device, dtype=dtype)
        if stride > 1:
            self.conv_expand = nn.Conv2d(channels, width, 1, device=device, dtype=dtype)
        if similarity == "cosine":
            self.logit_scale = nn.Parameter(torch.empty((), device=device, dtype=dtype))
            nn.init.constant_(self.logit_scale, math.log(FIRST_SCALE))
        if centre:
            self.register_buffer("mean_query", torch.zeros(self.embed_width, device=device, dtype=dtype))
        rotations = self._seeded_rotations()
        if (
            not self.conv_match.weight.is_meta
        ):  # weights may still be assigned to a layer on "meta", constants never are
            rotations = rotations.to(self.conv_match.weight.device)
        self.register_buffer("rotations", rotations, persistent=False)

    @property
    def n_hashes(self) -> int:
        """Rounds of hashing, fixed with the rotations."""
        return self._n_hashes

    @n_hashes.setter
    def n_hashes(self, value: int) -> None:
        raise AttributeError(_fixed("n_hashes", value))

    @property
    def seed(self) -> int:
        """The number that the rotations used in evaluation are drawn from."""
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        raise AttributeError(_fixed("seed", value))

    def forward(
        self, x: Float[Tensor, "b c h w"], *, rotations: Float[Tensor, "e r half"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Attend; `rotations`, of n_buckets // 2 axes at least, replaces the layer's own (leading axes are used)."""
        features = self._features(x)
        query = self._query(features)
        value = self._values(features)
        mean = self._mean(query)
        if mean is not None and self.training and x.shape[0]:
            self._track(mean)
        match = self._match(query, mean, features.shape[3], rotations)
        return self.add(x, lsh_attention(match.query, value, match.plan, backend=self.backend))

    def match(self, x: Float[Tensor, "b c h w"], *, rotations: Float[Tensor, "e r half"] | None = None) -> Match:
        """What `forward` decides for x before it attends. With `values` and `add` it is the whole layer,

        layer(x) = layer.add(x, lsh_attention(match.query, layer.values(x), match.plan)),  match = layer.match(x),

        in evaluation, or with the same `rotations`. The running mean query stays as it is.
        """
        features = self._features(x)
        query = self._query(features)
        return self._match(query, self._mean(query), features.shape[3], rotations)

    def values(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
        """v of each token of x."""
        return self._values(self._features(x))

    def add(self, x: Float[Tensor, "b c h w"], attended: Float[Tensor, "b n c"]) -> Float[Tensor, "b c h w"]:
        """x + res_scale * A for A given by token."""
        rows, columns = x.shape[2:]
        down, across = parts(rows, self.stride), parts(columns, self.stride)
        pixels = rearrange(attended, "b (h w) c -> b c h w", h=down, w=across)
        if self.stride > 1:
            pixels = F.pixel_shuffle(self.conv_expand(pixels), self.stride)[:, :, :rows, :columns]
        return add_scaled(x, pixels, self.res_scale)

    def n_buckets(self, n: int) -> int:
        """Buckets for n tokens: n // chunk_size made even, at least 2, at most 128."""
        chunks = n // self.chunk_size
        return larger(2, smaller(chunks + chunks % 2, MAX_BUCKETS))

    def _features(self, x: Tensor) -> Float[Tensor, "b cs h w"]:
        """x with blocks of stride x stride pixels in the channels, the last row and column repeated as needed."""
        check_shape("x", x, "b c h w", c=self.channels)
        x = cast_once(x)
        if self.stride == 1:
            return x
        x = repeat_last(x, self.stride)
        blocks: Tensor = F.pixel_unshuffle(x, self.stride)
        return blocks

    def _query(self, features: Tensor) -> Float[Tensor, "b n e"]:
        query: Tensor = rearrange(self.conv_match(features), "b e h w -> b (h w) e")
        return query

    def _values(self, features: Tensor) -> Float[Tensor, "b n c"]:
        value: Tensor = rearrange(self.conv_assembly(features), "b c h w -> b (h w) c")
        return value

    def _mean(self, query: Tensor) -> Float[Tensor, "b 1 e"] | None:
        """mu, float32 or wider: of each image in training, the running mean in evaluation."""
        if not self.centre:
            return None
        wide = torch.promote_types(query.dtype, torch.float32)
        if self.training:
            return query.mean(dim=1, keepdim=True, dtype=wide)
        return self.mean_query.to(wide).expand(query.shape[0], 1, -1)

    @torch.no_grad()
    def _track(self, mean: Float[Tensor, "b 1 e"]) -> None:
        self.mean_query.lerp_(mean.mean(dim=(0, 1)).to(self.mean_query.dtype), MOMENTUM)

    def _match(
        self,
        query: Float[Tensor, "b n e"],
        mean: Tensor | None,
        width: int,
        rotations: Float[Tensor, "e r half"] | None,
    ) -> Match:
        n = query.shape[1]
        half = self.n_buckets(n) // 2
        if rotations is None:
            rotations = self._drawn_rotations(half, query.device) if self.training else self.rotations
        elif rotations.shape[-1] < half:
            raise ValueError(f"`rotations` must have at least {half} axes for {n} tokens, got {rotations.shape[-1]}.")
        direction = query if mean is None else query.to(mean.dtype) - mean
        plain = self.backend == "portable"
        codes = hash_codes(direction, rotations, half=half, plain=plain)
        if self.local_round:
            codes = torch.cat([codes, self._strips(codes, width)], dim=1)
        if self.similarity == "cosine":
            wide = torch.promote_types(query.dtype, torch.float32)
            # lsh_attention takes its keys from the queries and normalises them: tau k_i makes keys k_j, scores
            # tau k_i . k_j and their known bound tau.
            query = (self._scale().to(wide) * F.normalize(direction.to(wide), dim=-1, eps=EPS)).to(query.dtype)
        return Match(query, codes, make_plan(codes, chunk_size=self.chunk_size, plain=plain), (n // width, width))

    def _scale(self) -> Float[Tensor, ""]:
        """tau."""
        scale: Tensor = self.logit_scale.clamp(max=math.log(LARGEST_SCALE)).exp()
        return scale

    def _strips(self, codes: Int[Tensor, "b r n"], width: int) -> Int[Tensor, "b 1 n"]:
        """Codes by position: the vertical strip of each token. A stable sort keeps the rows of a strip in order."""
        strips = parts(width, math.isqrt(3 * self.chunk_size))
        strip = torch.arange(width, device=codes.device, dtype=codes.dtype) * strips // width
        return strip.repeat(codes.shape[2] // width).expand(codes.shape[0], 1, -1)

    def _drawn_rotations(self, half: int, device: torch.device) -> Float[Tensor, "e r half"]:
        return torch.randn(self.embed_width, self._hash_rounds(), half, device=device)

    def _seeded_rotations(self) -> Float[Tensor, "e r half"]:
        generator = torch.Generator(device="cpu").manual_seed(self.seed)
        size = (self.embed_width, self._hash_rounds(), MAX_BUCKETS // 2)
        return torch.randn(size, generator=generator, device="cpu", dtype=torch.float32)

    def _hash_rounds(self) -> int:
        return self.n_hashes - self.local_round

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "NonLocalSparseAttention":
        """Move or cast the layer; the rotations follow the device but stay float32, whatever the layer's dtype."""
        drawn = self.rotations
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.rotations = (self._seeded_rotations() if drawn.is_meta else drawn).to(self.rotations.device)
        return self

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, reduction={self.reduction}, n_hashes={self.n_hashes}, chunk_size={self.chunk_size}, "
            f"res_scale={self.res_scale}, similarity={self.similarity!r}, centre={self.centre}, "
            f"local_round={self.local_round}, stride={self.stride}, seed={self.seed}, backend={self.backend!r}"
        )


def _fixed(name: str, value: int) -> str:
    return (
        f"`{name}` cannot be set later: rotations are drawn when the layer is made. Make a layer with {name}={value} "
        f"and load this one's state dict into it, or give `rotations` to the call."
    )
