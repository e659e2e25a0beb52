"""Stage 1, shared by all backends: decide who meets whom. Integers only, no gradient."""

from dataclasses import dataclass

import torch
from einops import rearrange

from cclnn._checks import check_at_least, check_floating, check_shape
from cclnn._typing import Float, Int, Tensor

BLOCK = 2**13  # tokens hashed at a time, so that projections, the widest tensor of all, are never held at once


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
        axes = rearrange(rotations.float(), "e r half -> e (r half)")
        tokens = rearrange(embed, "b n e -> (b n) e")
        codes = [_nearest_axis(part.float() @ axes, rounds=rotations.shape[1]) for part in torch.split(tokens, BLOCK)]
        return rearrange(torch.cat(codes), "(b n) r -> b r n", b=embed.shape[0])


def _nearest_axis(projected: Float[Tensor, "n axes"], *, rounds: int) -> Int[Tensor, "n r"]:
    """argmax over [p, -p], the first of equals, without the concatenation."""
    p = rearrange(projected, "n (r half) -> n r half", r=rounds)
    top, first = p.max(dim=-1)
    bottom, last = p.min(dim=-1)
    return torch.where(-bottom > top, last + p.shape[-1], first)  # on a tie [p, -p] puts the positive axis first


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
    return plan_from_order(codes.argsort(dim=-1, stable=True), chunk_size=chunk_size)


def plan_from_order(order: Int[Tensor, "b r n"], *, chunk_size: int) -> LSHPlan:
    """Plan of tokens already sorted by bucket: `order` is a permutation of 0..n-1 in each row."""
    n = order.shape[-1]
    chunk = min(chunk_size, n)
    missing = -n % chunk
    slots = torch.cat([order, order[..., n - missing :]], dim=-1)
    places = torch.arange(n, device=order.device, dtype=order.dtype).expand_as(order)
    return LSHPlan(slots=slots, where=torch.empty_like(order).scatter_(-1, order, places), chunk=chunk)
