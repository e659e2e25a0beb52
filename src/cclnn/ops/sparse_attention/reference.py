"""Stage 2, the definition: every hash round at once. All other backends must agree with this file."""

import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._typing import Float, Tensor
from cclnn.ops.sparse_attention.plan import LSHPlan

EPS = 5e-5  # norms below this are clamped, as in the released code


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Attention inside sorted chunks, then a softmax over hash rounds (Mei et al. 2021, Sec. 3).

    Norms and log-sum-exps are float32 or wider, products in the dtype of q and v; but float16, which ends at 65504, is
    computed in float32 throughout.
    """
    wide = torch.promote_types(v.dtype, torch.float32)
    if v.dtype == torch.float16:
        return attend(q.to(wide), v.to(wide), plan).to(v.dtype)

    def take(x: Tensor) -> Tensor:  # b n e -> b r k m e
        rows = torch.arange(x.shape[0], device=x.device)[:, None, None]
        return rearrange(x[rows, plan.slots], "b r (k m) e -> b r k m e", m=plan.chunk)

    def with_neighbours(x: Tensor) -> Tensor:  # b r k m e -> b r k 3m e
        return torch.cat([x, x.roll(1, dims=2), x.roll(-1, dims=2)], dim=3)

    def untake(x: Tensor) -> Tensor:  # b r k m e -> b r n e
        x = rearrange(x, "b r k m e -> b r (k m) e")
        return x.gather(2, plan.where[..., None].expand(-1, -1, -1, x.shape[-1]))

    queries = take(q)
    keys = with_neighbours(F.normalize(queries.to(wide), dim=-1, eps=EPS).to(q.dtype))
    values = with_neighbours(take(v))
    scores = torch.einsum("brkie,brkje->brkij", queries, keys).to(wide)
    mass = scores.logsumexp(dim=-1, keepdim=True)  # b r k m 1
    weights = (scores - mass).exp().to(v.dtype)
    out = torch.einsum("brkij,brkjd->brkid", weights, values)
    return (untake(out) * untake(mass).softmax(dim=1)).sum(dim=1).to(v.dtype)
