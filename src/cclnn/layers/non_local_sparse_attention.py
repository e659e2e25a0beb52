"""Non-local sparse attention (NLSA, Mei et al. 2021)."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops.sparse_attention import BACKENDS, Backend, hash_codes, lsh_attention, make_plan
from cclnn.precision import cast_once

MAX_BUCKETS = 128


class NonLocalSparseAttention(nn.Module):
    """NLSA(x) = x + res_scale * A(x): every pixel attends to its neighbours in the order of hash buckets.

    q = conv_match(x) (3x3), v = conv_assembly(x) (1x1), A = lsh_attention(q, v) over `n_hashes` rounds of spherical LSH
    into max(2, min(even(h w // chunk_size), 128)) buckets, sorted and cut into chunks.   (Mei et al. 2021, Sec. 3)

    Works for any h, w >= 1. Evaluation is deterministic: the rotations are drawn once on the CPU from `seed`, so every
    call and every device uses the same ones; training draws new ones from torch's default generator in each call.

    Quirks: the sort is stable; fewer pixels than `chunk_size` are one chunk, that is plain attention; evaluation uses
    fixed rotations; hashing is always float32 (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        reduction: the match embedding has channels // reduction channels; must divide channels.
        n_hashes: r, rounds of hashing; time and quality grow with it.
        chunk_size: m, pixels per chunk; a pixel meets 3 chunks in each round.
        res_scale: factor of the attention; 0.1 in wide networks, 1 in narrow ones.
        seed: seed of the rotations used in evaluation.
        backend: of `cclnn.ops.lsh_attention`; changes speed and memory, never the state dict.
        device, dtype: of the parameters, as for torch's own layers; the rotations stay float32.
    """

    rotations: Tensor

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        n_hashes: int = 4,
        chunk_size: int = 144,
        res_scale: float = 1.0,
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
        check_choice("backend", backend, BACKENDS)
        self.channels = channels
        self.reduction = reduction
        self.embed_width = channels // reduction
        self.n_hashes = n_hashes
        self.chunk_size = chunk_size
        self.res_scale = res_scale
        self.seed = seed
        self.backend: Backend = backend
        self.conv_match = nn.Conv2d(channels, self.embed_width, 3, padding=1, device=device, dtype=dtype)
        self.conv_assembly = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)
        rotations = self._seeded_rotations()
        if (
            not self.conv_match.weight.is_meta
        ):  # weights may still be assigned to a layer on "meta", constants never are
            rotations = rotations.to(self.conv_match.weight.device)
        self.register_buffer("rotations", rotations, persistent=False)

    def forward(
        self, x: Float[Tensor, "b c h w"], *, rotations: Float[Tensor, "e r half"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Attend; `rotations`, of n_buckets // 2 axes at least, replaces the layer's own (leading axes are used)."""
        check_shape("x", x, "b c h w", c=self.channels)
        height, width = x.shape[2:]
        half = self.n_buckets(height * width) // 2
        if rotations is None:
            rotations = self._drawn_rotations(half, x.device) if self.training else self.rotations
        elif rotations.shape[-1] < half:
            raise ValueError(
                f"`rotations` must have at least {half} axes for {height} x {width} pixels, got {rotations.shape[-1]}."
            )
        features = cast_once(x)
        query = rearrange(self.conv_match(features), "b e h w -> b (h w) e")
        value = rearrange(self.conv_assembly(features), "b c h w -> b (h w) c")
        codes = hash_codes(query.detach(), rotations[..., :half])
        plan = make_plan(codes, chunk_size=self.chunk_size)
        attended = lsh_attention(query, value, plan, backend=self.backend)
        return torch.add(x, rearrange(attended, "b (h w) c -> b c h w", h=height), alpha=self.res_scale)

    def n_buckets(self, n: int) -> int:
        """Buckets for n pixels: n // chunk_size made even, at least 2, at most 128."""
        chunks = n // self.chunk_size
        return max(2, min(chunks + chunks % 2, MAX_BUCKETS))

    def _drawn_rotations(self, half: int, device: torch.device) -> Float[Tensor, "e r half"]:
        return torch.randn(self.embed_width, self.n_hashes, half, device=device)

    def _seeded_rotations(self) -> Float[Tensor, "e r half"]:
        generator = torch.Generator(device="cpu").manual_seed(self.seed)
        size = (self.embed_width, self.n_hashes, MAX_BUCKETS // 2)
        return torch.randn(size, generator=generator, device="cpu", dtype=torch.float32)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "NonLocalSparseAttention":
        """Move or cast the layer; the rotations follow the device but stay float32, whatever the layer's dtype."""
        drawn = self.rotations
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.rotations = (self._seeded_rotations() if drawn.is_meta else drawn).to(self.rotations.device)
        return self

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, reduction={self.reduction}, n_hashes={self.n_hashes}, chunk_size={self.chunk_size}, "
            f"res_scale={self.res_scale}, seed={self.seed}, backend={self.backend!r}"
        )
