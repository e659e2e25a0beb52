"""Stage 2, lean and fast on any device: one hash round and a few chunks at a time.

Differs from reference.py in the order of summation only (README.md has the derivation):
- scores are shifted by their known bound q_i . k_i (|q_i|, up to rounding) instead of their maximum, so two sums over
  all rounds and keys, a numerator and a denominator ("mass"), are the whole layer;
- the shift is one more column of the matrix product: [q_i, -|q_i|] . [k_j, 1] (three in bfloat16);
- float16 is computed in float32 throughout, which holds every sum and which CPUs multiply many times as fast;
- with one chunk of halo on each side, the 3m keys of a chunk are an overlapping view of the sorted rows, no copy;
- backward keeps q, v, the output and the mass, and computes the scores again.
Chunks are processed in groups. Only the rows of one group are held in sorted order, in buffers that all groups share;
about WORKSPACE scores are held at once, instead of b * r * s * 3m.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._autocast import without_autocast
from cclnn._typing import Float, Tensor
from cclnn.ops._operator import operator
from cclnn.ops.sparse_attention.plan import LSHPlan
from cclnn.ops.sparse_attention.reference import EPS

WORKSPACE = 2**20  # scores held at once
LOG2E = 1.4426950408889634  # exp(x) = 2^(x log2 e), and powers of two are three times as fast on a CPU


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Same result as reference.attend."""
    out: Tensor = attend_op(q, v, plan.slots, plan.chunk)[0]
    return out


def _attend(q: Tensor, v: Tensor, slots: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """(output, mass, what rounding took off the output), as one node that torch.compile and torch.export do not look
    into.
    """
    with without_autocast(q):
        exact, mass = _forward(q.to(_computed(q.dtype)), v.to(_computed(v.dtype)), slots, chunk)
        out = exact.to(v.dtype)
        return out, mass, (exact - out).to(v.dtype) if _is_half(v.dtype) else out.new_empty(0)


def _empty_like_output(_q: Tensor, v: Tensor, _slots: Tensor, _chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    mass = v.new_empty((*v.shape[:2], 1), dtype=_wide(v.dtype))
    return v.new_empty(v.shape), mass, v.new_empty(v.shape if _is_half(v.dtype) else 0)


attend_op = operator("cclnn::chunked_attend", _attend, _empty_like_output)


def _attend_backward(
    grad: Tensor, q: Tensor, v: Tensor, slots: Tensor, chunk: int, out: Tensor, mass: Tensor, rest: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of q and v."""
    with without_autocast(q):
        exact = out.to(mass.dtype) + rest if _is_half(v.dtype) else out
        g, wide_q, wide_v = (x.to(_computed(x.dtype)) for x in (grad, q, v))
        grad_q, grad_v = _backward(g, wide_q, wide_v, slots, chunk, exact, mass)
        return grad_q.to(q.dtype), grad_v.to(v.dtype)


def _empty_like_gradients(
    _grad: Tensor, q: Tensor, v: Tensor, _slots: Tensor, _chunk: int, _out: Tensor, _mass: Tensor, _rest: Tensor
) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), v.new_empty(v.shape)


backward_op = operator("cclnn::chunked_attend_backward", _attend_backward, _empty_like_gradients)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, v, slots, ctx.chunk = inputs
    ctx.save_for_backward(q, v, slots, *output)


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    q, v, slots, out, mass, rest = ctx.saved_tensors
    return *backward_op(grad, q, v, slots, ctx.chunk, out, mass, rest), None, None


def _refuse(_ctx: Any, *_grads: Tensor) -> None:
    raise NotImplementedError("lsh_attention has no second derivative with backend='chunked'; use backend='reference'.")


torch.library.register_autograd("cclnn::chunked_attend", _differentiate, setup_context=_remember)
torch.library.register_autograd("cclnn::chunked_attend_backward", _refuse)


def _forward(q: Tensor, v: Tensor, slots: Tensor, chunk: int) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 1"]]:
    """Output and mass, float32 or wider."""
    wide, d = _wide(q.dtype), v.shape[-1]
    queries, keys, _ = _shifted(q)
    values = rearrange(v, "b n d -> (b n) d").contiguous()
    total = values.new_zeros(len(values) + 1, d, dtype=wide)  # the last row is padding: it takes what is discarded
    mass = values.new_zeros(len(values) + 1, dtype=wide)
    workspace = _Workspace(slots, chunk, tokens=v.shape[1], like=values)
    columns = queries.shape[-1]
    query_rows, key_rows, value_rows = workspace.queries(columns), workspace.keys(columns), workspace.keys(d)
    scores, sums = workspace.scores(), workspace.queries(d)
    wide_scores, wide_sums = workspace.scores(wide), workspace.queries(d, wide)
    for group in workspace.groups():
        query = group.chunks(_take(queries, group.queries, query_rows))
        weights = group.products(query, group.windows(_take(keys, group.keys, key_rows)).mT, scores).exp2_()
        sums_v = group.products(weights, group.windows(_take(values, group.keys, value_rows)), group.chunks(sums))
        total.index_add_(0, group.targets, _widen(sums_v.flatten(0, 1), wide_sums))
        mass.index_add_(0, group.targets, _widen(weights, wide_scores).sum(dim=-1).flatten())
    total = rearrange(total[:-1], "(b n) d -> b n d", b=len(q))
    mass = rearrange(mass[:-1], "(b n) -> b n 1", b=len(q))
    return total.div_(mass), mass


def _backward(
    grad: Tensor, q: Tensor, v: Tensor, slots: Tensor, chunk: int, out: Tensor, mass: Tensor
) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b n d"]]:
    """ds_ij = p_ij (g_i . v_j - g_i . out_i),  p_ij = exp(s_ij - |q_i|) / mass_i over all rounds."""
    wide, e, d = _wide(q.dtype), q.shape[-1], v.shape[-1]
    queries, keys, norm = _shifted(q)
    share = (grad.to(wide) / mass).to(v.dtype)  # g_i / mass_i
    offset = _columns(-(share * out).sum(dim=-1, keepdim=True), v.dtype)
    shares = torch.cat([share, *offset], dim=-1)
    shares = F.pad(rearrange(shares, "b n d -> (b n) d"), (0, 0, 0, 1))  # the padding row has no gradient
    values = rearrange(F.pad(v, (0, len(offset)), value=1.0), "b n d -> (b n) d")
    # shares . values = (g_i . v_j - g_i . out_i) / mass_i
    grad_q, grad_k, grad_v = (keys.new_zeros(len(shares), width, dtype=wide) for width in (e, e, d))
    workspace = _Workspace(slots, chunk, tokens=v.shape[1], like=values)
    query_rows, share_rows = workspace.queries(queries.shape[-1]), workspace.queries(shares.shape[-1])
    key_rows, value_rows = workspace.keys(keys.shape[-1]), workspace.keys(values.shape[-1])
    scores, slopes, wide_dq = workspace.scores(), workspace.scores(), workspace.queries(e, wide)
    dq_rows, dk_windows, dv_windows = workspace.queries(e), workspace.windows(e), workspace.windows(d)
    dk_rows, dv_rows = workspace.keys(e, wide), workspace.keys(d, wide)
    for group in workspace.groups():
        query = group.chunks(_take(queries, group.queries, query_rows))
        key = group.windows(_take(keys, group.keys, key_rows))
        weights = group.products(query, key.mT, scores).exp2_()
        weighted = group.chunks(_take(shares, group.targets, share_rows))
        slope = group.products(weighted, group.windows(_take(values, group.keys, value_rows)).mT, slopes).mul_(weights)
        dv = group.products(weights.mT, weighted[..., :d], dv_windows)
        dk = group.products(slope.mT, query[..., :e], dk_windows)
        dq = group.products(slope, key[..., :e], group.chunks(dq_rows))
        grad_v.index_add_(0, group.keys, group.sum_windows(dv, dv_rows))
        grad_k.index_add_(0, group.keys, group.sum_windows(dk, dk_rows))
        grad_q.index_add_(0, group.targets, _widen(dq.flatten(0, 1), wide_dq))
    grad_q, grad_k, grad_v = (rearrange(x[:-1], "(b n) e -> b n e", b=len(q)) for x in (grad_q, grad_k, grad_v))
    unit = q / norm
    along = unit * (unit * grad_k).sum(dim=-1, keepdim=True)  # the norm's own gradient, none where it is clamped
    grad_q = grad_q / LOG2E + (grad_k - along.masked_fill_(norm <= EPS, 0.0)) / norm
    return grad_q.to(q.dtype), grad_v.to(v.dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Sums and norms of half-precision tensors are kept in float32."""
    return torch.promote_types(dtype, torch.float32)


def _computed(dtype: torch.dtype) -> torch.dtype:
    """The dtype of products. float16 ends at 65504, which sums over keys pass where tokens are alike."""
    return torch.float32 if dtype == torch.float16 else dtype


def _is_half(dtype: torch.dtype) -> bool:
    return dtype.itemsize == 2


def _columns(x: Float[Tensor, "b n 1"], dtype: torch.dtype) -> list[Float[Tensor, "b n 1"]]:
    """Columns of a product in `dtype` that sum to x. bfloat16 holds 8 of float32's 24 bits: there they are three.

    With one, the shift would be off by up to 2**-8 |q_i|, and weights, powers of 2 of it, would overflow.
    """
    columns = [x.to(dtype)]
    for _ in range(2 if dtype == torch.bfloat16 else 0):
        x = x - columns[-1]  # what the columns so far leave, exactly
        columns.append(x.to(dtype))
    return columns


def _shifted(q: Tensor) -> tuple[Float[Tensor, "bn wider"], Float[Tensor, "bn wider"], Float[Tensor, "b n 1"]]:
    """[q_i, -q_i . k_i], [k_j, 1] and the clamped norms, with keys times log2 e: products of the first two are the
    exponents of 2 in exp(s_ij - s_ii), at most 0 up to rounding.
    """
    norm = q.to(_wide(q.dtype)).norm(dim=-1, keepdim=True).clamp_min(EPS)
    keys = (q * (LOG2E / norm)).to(q.dtype)
    bound = (q.to(norm.dtype) * keys).sum(dim=-1, keepdim=True)  # of the rounded values that enter the product
    shift = _columns(-bound, q.dtype)
    queries = torch.cat([q, *shift], dim=-1)
    return queries.flatten(0, 1), F.pad(keys, (0, len(shift)), value=1.0).flatten(0, 1), norm


def _take(x: Float[Tensor, "bn e"], rows: Tensor, buffer: Float[Tensor, "rows e"]) -> Float[Tensor, "taken e"]:
    """These rows of x, written to `buffer`."""
    return torch.index_select(x, 0, rows, out=buffer[: len(rows)])


def _widen(x: Tensor, buffer: Tensor) -> Tensor:
    """x in the dtype of `buffer`: x itself, or a copy in `buffer`."""
    return x if x.dtype == buffer.dtype else buffer[: len(x)].copy_(x)


@dataclass(frozen=True)
class _Group:
    """Neighbouring chunks of one round. Tokens are numbered through the batch: image * n + token.

    keys:    (k + 2) m, the token in each slot, with one chunk of halo on either side
    queries: k m, the same without the halo
    targets: k m, the token whose sums each slot adds to; b * n, the padding row, where the result is discarded (slots
             that hold copies, and halo between two images)
    """

    keys: Tensor
    queries: Tensor
    targets: Tensor
    m: int

    def chunks(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "k m e"]:
        return rearrange(rows[: len(self.queries)], "(k m) e -> k m e", m=self.m)

    def windows(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "k window e"]:
        """The three chunks of rows around each chunk, as an overlapping view."""
        return rows.unfold(0, 3 * self.m, self.m).mT

    def products(self, left: Tensor, right: Tensor, buffer: Float[Tensor, "most m w"]) -> Float[Tensor, "k m w"]:
        return torch.bmm(left, right, out=buffer[: len(left)])

    def sum_windows(self, x: Float[Tensor, "k window e"], buffer: Float[Tensor, "most e"]) -> Float[Tensor, "rows e"]:
        """For each row, the sum over the windows that contain it."""
        total = buffer[: len(self.keys)].zero_()
        for t in range(3):
            part = rearrange(total[t * self.m :][: len(self.queries)], "(k m) e -> k m e", m=self.m)
            part += x[:, t * self.m : (t + 1) * self.m]
        return total


class _Workspace:
    """Divides a plan into groups of chunks and allocates the buffers that the groups share.

    The slots of all images of a batch stand in one sequence, each image with its halo. At each border two windows
    contain slots of two images. They belong to halo rows: they are computed, and their results are discarded.
    """

    def __init__(self, slots: Tensor, chunk: int, *, tokens: int, like: Tensor) -> None:
        self.slots, self.m, self.n, self.like = slots, chunk, tokens, like
        batch, _, length = slots.shape
        self.chunks = batch * (length // chunk + 2) - 2
        self.step = min(self.chunks, max(1, WORKSPACE // (3 * chunk * chunk)))  # chunks per group

    def queries(self, width: int, dtype: torch.dtype | None = None) -> Float[Tensor, "rows e"]:
        return self.like.new_empty(self.step * self.m, width, dtype=dtype)

    def keys(self, width: int, dtype: torch.dtype | None = None) -> Float[Tensor, "rows e"]:
        return self.like.new_empty((self.step + 2) * self.m, width, dtype=dtype)

    def windows(self, width: int) -> Float[Tensor, "k window e"]:
        return self.like.new_empty(self.step, 3 * self.m, width)

    def scores(self, dtype: torch.dtype | None = None) -> Float[Tensor, "k m window"]:
        return self.like.new_empty(self.step, self.m, 3 * self.m, dtype=dtype)

    def groups(self) -> Iterator[_Group]:
        m, n, (batch, rounds, _) = self.m, self.n, self.slots.shape
        first = torch.arange(batch, device=self.like.device)[:, None] * n
        for r in range(rounds):
            slots = self.slots[:, r] + first
            keys = torch.cat([slots[:, -m:], slots, slots[:, :m]], dim=1).flatten()
            targets = F.pad(slots[:, :n], (m, keys.numel() // batch - m - n), value=batch * n).flatten()
            for start in range(0, self.chunks, self.step):
                stop = min(start + self.step, self.chunks)
                inner = slice((start + 1) * m, (stop + 1) * m)
                yield _Group(keys[start * m : (stop + 2) * m], keys[inner], targets[inner], m)
