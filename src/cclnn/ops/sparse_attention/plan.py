"""Stage 1, shared by all backends: decide which tokens attend to which. Integers only, no gradient.

Hashing and sorting are one operator each, so that torch.compile and torch.export see no size that their insides depend
on. portable_plan.py has both in torch's own operators.
"""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._autocast import without_autocast
from cclnn._checks import check_at_least, check_floating, check_integers, check_shape
from cclnn._sizes import smaller
from cclnn._typing import Float, Int, Tensor
from cclnn.ops._operator import operator
from cclnn.ops.sparse_attention import portable_plan

HASHED_TOGETHER = 2**12  # tokens: their projections, the widest tensor of all, stay in the cache


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


def hash_codes(
    embed: Float[Tensor, "b n e"],
    rotations: Float[Tensor, "e r axes"],
    *,
    half: int | None = None,
    plain: bool = False,
) -> Int[Tensor, "b r n"]:
    """Spherical LSH: code = index of the signed axis, of 2*half, nearest to the token after a random rotation.

    code = argmax over [p, -p],  p = embed . rotations; ties take the first index (Mei et al. 2021, Sec. 3).
    Quirk: always computed in float32 with autocast off, so that hashing adds no rounding of its own in low precision.

    Args:
        embed: the match embedding, not normalised, any floating dtype.
        rotations: random axes of each of the r rounds.
        half: how many of them are used, the leading ones; all by default.
        plain: compute in torch's own operators, for exporters.

    Returns:
        int64 codes in [0, 2 half), without a per-round offset.

    Raises:
        ValueError: wrong rank or sizes, `half` beyond the axes. TypeError: tensors that are not floating point.
    """
    check_floating("embed", embed)
    check_shape("embed", embed, "b n e")
    check_shape("rotations", rotations, "e r axes", e=embed.shape[-1])
    if half is None:
        half = rotations.shape[-1]
    else:
        check_at_least("half", half, 1)
        if half > rotations.shape[-1]:
            raise ValueError(f"`half`={half} must be at most the axes of `rotations`, {rotations.shape[-1]}.")
    hashed: Tensor = (portable_plan.hash_codes if plain else hash_op)(embed.detach(), rotations.detach(), half)
    return hashed


def _hash_codes(embed: Tensor, rotations: Tensor, half: int) -> Tensor:
    if not embed.shape[0]:
        return _empty_codes(embed, rotations, half)
    with without_autocast(embed):
        axes = rearrange(rotations[..., :half].float(), "e r half -> r half e").contiguous()
        tokens = rearrange(embed, "b n e -> (b n) e")
        parts = torch.split(tokens, HASHED_TOGETHER)
        codes = [_nearest_axis(axes @ rearrange(part.float(), "n e -> e n")) for part in parts]
        return rearrange(torch.cat(codes, dim=-1), "r (b n) -> b r n", b=embed.shape[0]).contiguous()


def _empty_codes(embed: Tensor, rotations: Tensor, _half: int) -> Tensor:
    return embed.new_empty((embed.shape[0], rotations.shape[1], embed.shape[1]), dtype=torch.int64)


hash_op = operator("cclnn::hash_codes", _hash_codes, _empty_codes)


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


def make_plan(codes: Int[Tensor, "b r n"], *, chunk_size: int, plain: bool = False) -> LSHPlan:
    """Sort tokens by code, stably, and fill the last chunk by repeating the last tokens.

    Quirks: the sort is stable (the released code's is not); with fewer tokens than `chunk_size` there is one chunk
    of exactly those tokens (the released code crashes).

    Args:
        codes: bucket of each token in each round; any integers.
        chunk_size: m, slots per chunk (144 in NLSN).
        plain: compute in torch's own operators, for exporters; then |code| * n must be below 2**63.

    Raises:
        ValueError: wrong rank, or a chunk below one slot. TypeError: codes that are not integers.
    """
    check_integers("codes", codes)
    check_shape("codes", codes, "b r n")
    check_at_least("chunk_size", chunk_size, 1)
    slots, where = (portable_plan.sort_tokens if plain else sort_op)(codes, chunk_size)
    return LSHPlan(slots, where, smaller(chunk_size, codes.shape[-1]))


def _sort_tokens(codes: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    plan = plan_from_order(_stable_order(codes), chunk_size=chunk_size)
    return plan.slots, plan.where


def _stable_order(codes: Tensor) -> Tensor:
    """codes.argsort(dim=-1, stable=True), int64. On a CPU by NumPy, which sorts small integers by their digits, many
    times as fast as torch compares them.
    """
    if codes.device.type == "cpu" and codes.numel() and codes.amin() >= 0:
        for small in (np.uint8, np.uint16):
            if codes.amax() <= np.iinfo(small).max:
                order = codes.numpy().astype(small).argsort(axis=-1, kind="stable")
                return torch.from_numpy(order)
    return codes.argsort(dim=-1, stable=True)


def _empty_slots(codes: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    b, r, n = codes.shape
    slots = portable_plan.slot_count(n, chunk_size)
    return codes.new_empty((b, r, slots), dtype=torch.int64), codes.new_empty((b, r, n), dtype=torch.int64)


sort_op = operator("cclnn::sort_tokens", _sort_tokens, _empty_slots)


def plan_from_order(order: Int[Tensor, "b r n"], *, chunk_size: int) -> LSHPlan:
    """Plan of tokens already sorted by bucket: `order` is a permutation of 0..n-1 in each row."""
    n = order.shape[-1]
    chunk = min(chunk_size, n)
    missing = -n % chunk
    slots = torch.cat([order, order[..., n - missing :]], dim=-1).contiguous()
    places = torch.arange(n, device=order.device, dtype=order.dtype).expand_as(order)
    return LSHPlan(slots=slots, where=order.new_empty(order.shape).scatter_(-1, order, places), chunk=chunk)
