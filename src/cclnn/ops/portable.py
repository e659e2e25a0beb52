"""Dense attentions in torch's own operators, all scores at once: what files that run without cclnn contain instead.

Unlike `dense.py` and `patches.py`, which define the results, they take memory in proportion to the square of the
pixels. The sparse attention has its own form, `sparse_attention/portable.py`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from cclnn._typing import Float, Tensor
from cclnn.ops import dense, patches


def dense_attend(
    query: Float[Tensor, "b n e"], key: Float[Tensor, "b s e"], value: Float[Tensor, "b s d"], over_queries: bool
) -> Float[Tensor, "b n d"]:
    """Same result as `dense_attention`."""
    q, k, v = dense.wide(query, key, value)
    weights = torch.softmax(q @ k.mT, dim=1 if over_queries else 2)
    return (weights @ v).to(value.dtype)


def patch_attend(
    query: Float[Tensor, "b e h w"],
    key: Float[Tensor, "b e hk wk"],
    value: Float[Tensor, "b d hk wk"],
    weight: Float[Tensor, "b hk wk"],
) -> Float[Tensor, "b d h w"]:
    """Same result as `patch_attention`."""
    q, k, v, factor = dense.wide(query, key, value, weight)
    scores = F.unfold(q, 3, padding=1).mT @ F.unfold(k, 3, padding=1) * factor.flatten(1)[:, None]  # b n s
    pasted = F.unfold(v, 3, padding=1) @ torch.softmax(scores, dim=2).mT  # b 9d n
    return F.fold(pasted, query.shape[2:], 3, padding=1).to(value.dtype)


# Operator of ours -> the same in torch's own.
PORTABLE: dict[Any, Callable[..., Tensor]] = {dense.attend_op: dense_attend, patches.attend_op: patch_attend}
