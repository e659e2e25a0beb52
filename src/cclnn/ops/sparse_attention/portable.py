"""Stage 2 in torch's own operators, for ONNX and for platforms that lack ours; portable_plan.py is its stage 1.

Differs from reference.py in the order of summation only, as chunked.py does (README.md has the derivation), and in its
operators: each of them exports with dynamic sizes; rounds are unrolled. Half precision is computed in float32. It has
derivatives of any order, and in forward mode.
"""

import torch
from torch.nn import functional as F

from cclnn._typing import Float, Tensor
from cclnn.ops.sparse_attention.plan import LSHPlan
from cclnn.ops.sparse_attention.portable_plan import as_tensor
from cclnn.ops.sparse_attention.reference import EPS


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Same result as reference.attend."""
    b, n, _ = q.shape
    wide = torch.promote_types(v.dtype, torch.float32)
    query, value = q.to(wide), F.pad(v.to(wide), (0, 1), value=1.0)  # the sum of the weights is one more value
    key = F.normalize(query, dim=-1, eps=EPS)
    bound = (query * key).sum(dim=-1, keepdim=True).detach()  # any shift gives the same result: no gradient
    query, key = torch.cat([query, -bound], dim=-1), F.pad(key, (0, 1), value=1.0)
    m, s = plan.chunk, plan.slots.shape[-1]
    image = torch.arange(b, device=q.device)[:, None]
    place = torch.arange(3 * s, device=q.device)  # row by row of k 3m
    size = as_tensor(3 * m, q)
    chunks = place.div(size, rounding_mode="floor")
    window = ((chunks - 1) * m + place - chunks * size).remainder(as_tensor(s, q))  # the three chunks around each chunk

    def take(x: Tensor, tokens: Tensor, width: int) -> Tensor:  # b n e, b s -> bk width e
        rows = x.flatten(0, 1).index_select(0, (tokens + image * n).flatten())
        return rows.view(b * (s // m), width, x.shape[-1])

    total = torch.zeros_like(value)
    for slots, where in zip(plan.slots.unbind(1), plan.where.unbind(1), strict=True):
        keys = slots.index_select(1, window)
        weights = (take(query, slots, m) @ take(key, keys, 3 * m).mT).exp()  # bk m 3m
        weighted = weights @ take(value, keys, 3 * m)
        total = total + weighted.view(b * s, -1).index_select(0, (where + image * s).flatten()).view_as(total)
    return (total[..., :-1] / total[..., -1:]).to(v.dtype)
