"""Stage 1 in torch's own operators, each of which exports with dynamic sizes. plan.py has the definition.

All axes are projected and the unused ones masked (a slice of dynamic length does not export), a plain sort of unique
keys stands for a stable sort, and copies are found by index arithmetic.
"""

import torch
from einops import rearrange

from cclnn._sizes import smaller
from cclnn._typing import Float, Int, Tensor


def slot_count(n: int, chunk_size: int) -> int:
    """s: whole chunks for n tokens, one at least. In this form torch.export sees that s is at least n."""
    chunk = smaller(chunk_size, n)
    return (1 + (n - 1) // chunk) * chunk


def as_tensor(size: int, like: Tensor) -> Int[Tensor, ""]:
    """A size as a tensor: ONNX has no remainder by a number that is known at run time only."""
    return torch.full((), size, dtype=torch.int64, device=like.device)


def hash_codes(embed: Float[Tensor, "b n e"], rotations: Float[Tensor, "e r axes"], half: int) -> Int[Tensor, "b r n"]:
    """Same result as plan.hash_codes."""
    axes = rearrange(rotations.float(), "e r axes -> r e axes")
    projected = embed.float()[:, None] @ axes  # b r n axes
    unused = torch.arange(rotations.shape[-1], device=embed.device) >= half
    top, first = projected.masked_fill(unused, -torch.inf).max(dim=-1)
    bottom, last = (-projected).masked_fill(unused, -torch.inf).max(dim=-1)
    return torch.where(bottom > top, last + half, first)  # on a tie [p, -p] puts the positive axis first


def sort_tokens(codes: Int[Tensor, "b r n"], chunk_size: int) -> tuple[Int[Tensor, "b r s"], Int[Tensor, "b r n"]]:
    """Slots and places as in plan.make_plan: keys code * n + position are unique, so any sort of them is stable."""
    n = codes.shape[-1]
    slots = slot_count(n, chunk_size)
    positions = torch.arange(n, device=codes.device)
    order = (codes.long() * n + positions).sort(dim=-1).values.remainder(as_tensor(n, codes))
    places = torch.arange(slots, device=codes.device)
    sources = torch.where(places < n, places, places - (slots - n))  # copies repeat the last tokens
    return order.index_select(-1, sources), _inverse(order)


def _inverse(order: Int[Tensor, "b r n"]) -> Int[Tensor, "b r n"]:
    positions = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, positions)
