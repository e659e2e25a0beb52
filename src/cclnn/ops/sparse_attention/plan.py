"""Stage 1, shared by all backends: decide who meets whom. Integers only, no gradient."""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_floating, check_shape
from cclnn._typing import Float, Int, Tensor
from cclnn.ops._operator import operator

BLOCK = 2**12  # tokens hashed at a time: their projections, the widest tensor of all, stay in the cache


@dataclass(frozen=True)
class LSHPlan:
    """Which token sits in which slot, for every hash round.

    Attributes:
        slots: (b, r, s), the token held by each slot; s = k*m, a whole number of chunks.
        where: (b, r, n), the slot that holds each token; copies that fill the last chunk are in no token's place.
        chunk: m, slots per chunk; a chunk attends to itself and its two neighbours, circularly.
    """

    slots: Int[Tensor, "b r s"]
    where: Int[Tensor, "b r n"]
    chunk: int


def hash_codes(embed: Float[Tensor, "b n e"], rotations: Float[Tensor, "e r half"]) -> Int[Tensor, "b r n"]:
    """Spherical LSH: code = index of the signed axis, of 2*half, nearest to the token after a random rotation.

    code = argmax over [p, -p],  p = embed . rotations; ties take the first index (Mei et al. 2021, Sec. 3).
    Quirk: always computed in float32 with autocast off, so that hashing adds no rounding of its own in low precision.

    Args:
        embed: the match embedding, not normalised, any floating dtype.
        rotations: half axes of each of the r rounds.

    Returns:
        int64 codes in [0, 2 half), without a per-round offset.
    """
    check_floating("embed", embed)
    check_shape("embed", embed, "b n e")
    check_shape("rotations", rotations, "e r half", e=embed.shape[-1])
    with torch.no_grad(), torch.autocast(embed.device.type, enabled=False):
        axes = rearrange(rotations.float(), "e r half -> r half e").contiguous()
        tokens = rearrange(embed, "b n e -> (b n) e")
        codes = [_nearest_axis(axes @ rearrange(part.float(), "n e -> e n")) for part in torch.split(tokens, BLOCK)]
        return rearrange(torch.cat(codes, dim=-1), "r (b n) -> b r n", b=embed.shape[0])


def _nearest_axis(projected: Float[Tensor, "r half n"]) -> Int[Tensor, "r n"]:
    """argmax over [p, -p], the first of equals, without the concatenation. `projected` is overwritten."""
    top, first = _largest(projected)
    bottom, last = _largest(projected.neg_())
    return torch.where(bottom > top, last + projected.shape[1], first)  # on a tie [p, -p] puts the positive axis first


def _largest(x: Float[Tensor, "r half n"]) -> tuple[Float[Tensor, "r n"], Int[Tensor, "r n"]]:
    """x.max(dim=1), values and indices. On a CPU as a max pooling, whose loops are vectorised: ten times as fast."""
    if x.device.type != "cpu":
        values, indices = x.max(dim=1)
        return values, indices
    image = x.unsqueeze(2).permute(0, 3, 1, 2)  # r n half 1, channels last with strides that say so even for r = 1
    values, indices = F.max_pool2d(image, (x.shape[1], 1), return_indices=True)
    return values.flatten(1), indices.flatten(1)


def make_plan(codes: Int[Tensor, "b r n"], *, chunk_size: int) -> LSHPlan:
    """Sort tokens by code, stably, and fill the last chunk by repeating the last tokens.

    Quirks: the sort is stable (the released code's is not); with fewer tokens than `chunk_size` there is one chunk
    of exactly those tokens (the released code crashes).

    Args:
        codes: bucket of each token in each round; any integers.
        chunk_size: m, slots per chunk (144 in NLSN).
    """
    check_shape("codes", codes, "b r n")
    check_at_least("chunk_size", chunk_size, 1)
    return plan_from_order(stable_order(codes), chunk_size=chunk_size)


def _stable_order(codes: Tensor) -> Tensor:
    """codes.argsort(dim=-1, stable=True), int64. On a CPU by NumPy, which sorts small integers by their digits, many
    times as fast as torch compares them.
    """
    if codes.device.type == "cpu" and codes.amin() >= 0:
        for small in (np.uint8, np.uint16):
            if codes.amax() <= np.iinfo(small).max:
                order = codes.numpy().astype(small).argsort(axis=-1, kind="stable")
                return torch.from_numpy(order).contiguous()
    return codes.argsort(dim=-1, stable=True).contiguous()


def _empty_like_order(codes: Tensor) -> Tensor:
    """Contiguous, whatever the strides of `codes`."""
    return codes.new_empty(codes.shape, dtype=torch.int64)


stable_order = operator("cclnn::stable_order", _stable_order, _empty_like_order)


def plan_from_order(order: Int[Tensor, "b r n"], *, chunk_size: int) -> LSHPlan:
    """Plan of tokens already sorted by bucket: `order` is a permutation of 0..n-1 in each row."""
    n = order.shape[-1]
    chunk = min(chunk_size, n)
    missing = -n % chunk
    slots = torch.cat([order, order[..., n - missing :]], dim=-1)
    places = torch.arange(n, device=order.device, dtype=order.dtype).expand_as(order)
    return LSHPlan(slots=slots, where=torch.empty_like(order).scatter_(-1, order, places), chunk=chunk)
