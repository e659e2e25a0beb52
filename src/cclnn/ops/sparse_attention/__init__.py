"""Spherical-LSH sparse attention: a plan (which tokens attend to which) and interchangeable ways to attend."""

from typing import Literal, get_args

import torch

from cclnn._autocast import autocast_dtype, without_autocast
from cclnn._checks import check_choice, check_floating, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops._operator import why_no_operator
from cclnn.ops.sparse_attention import chunked, fused, portable, reference
from cclnn.ops.sparse_attention.plan import LSHPlan, hash_codes, make_plan, plan_from_order

__all__ = [
    "BACKENDS",
    "Backend",
    "LSHPlan",
    "hash_codes",
    "lsh_attention",
    "make_plan",
    "plan_from_order",
    "why_not",
]

Backend = Literal["auto", "reference", "chunked", "portable", "fused"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def why_not(backend: Backend, query: Tensor, value: Tensor, plan: LSHPlan) -> str | None:
    """Why `backend` cannot run these tensors here; None if it can. The whole support table."""
    check_choice("backend", backend, BACKENDS)
    if backend == "chunked":
        return why_no_operator(query, value)
    if backend == "fused":
        return why_no_operator(query, value) or fused.why_not(query, value, plan)
    return None


def lsh_attention(
    query: Float[Tensor, "b n e"], value: Float[Tensor, "b n d"], plan: LSHPlan, *, backend: Backend = "auto"
) -> Float[Tensor, "b n d"]:
    """out_i = sum_rj exp(q_i . k_j) v_j / sum_rj exp(q_i . k_j),  k_j = q_j / max(|q_j|, 5e-5), over rounds r and
    the tokens j of the three chunks around token i in round r.   (Mei et al. 2021, Sec. 3; derivation: README.md)

    Args:
        query: q, also the keys once normalised; any floating dtype and device.
        value: v, of the same dtype as `query`, else both are promoted; under autocast both take its dtype.
        plan: which tokens attend to which, from `make_plan`.
        backend: "reference" (the released formulation), "chunked" (same result, lean and fast on any device),
            "portable" (same result in torch's own operators, which export to ONNX), "fused" (Triton, for NVIDIA GPUs)
            or "auto": "chunked" as long as "fused" has not been measured on a GPU; "reference" in forward-mode
            differentiation and inside torch.func's transforms, where "chunked" has no derivative.

    Returns:
        the attended values, in the dtype computed in.

    Raises:
        ValueError: wrong rank or sizes, a plan for other tokens, an unknown backend or one that cannot run here.
        TypeError: tensors that are not floating point.
    """
    check_choice("backend", backend, BACKENDS)
    check_floating("query", query)
    check_floating("value", value)
    batch, _, n = plan.where.shape
    check_shape("query", query, "b n e", b=batch, n=n)
    check_shape("value", value, "b n d", b=batch, n=n)
    dtype = autocast_dtype(query) or torch.promote_types(query.dtype, value.dtype)
    with without_autocast(query):
        query, value = query.to(dtype), value.to(dtype)
        if not query.shape[0]:
            backend = "reference"  # the others sum in groups of images
        elif backend == "auto":
            backend = "reference" if why_not("chunked", query, value, plan) else "chunked"
        elif reason := why_not(backend, query, value, plan):
            other = "backend='reference'" if why_no_operator(query, value) else "backend='auto'"
            raise ValueError(f"backend={backend!r} cannot be used here: {reason}. Use {other}.")
        match backend:
            case "reference":
                return reference.attend(query, value, plan)
            case "portable":
                return portable.attend(query, value, plan)
            case "fused":
                return fused.attend(query, value, plan)
            case "chunked":
                return chunked.attend(query, value, plan)
