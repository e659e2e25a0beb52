"""Stage 2, lean and fast on any device: one hash round and a few chunks at a time.

Differs from reference.py in the order of summation only (README.md has the derivation):
- scores are shifted by their known bound q_i . k_i (|q_i|, up to rounding) instead of their maximum, so two sums over
  all rounds and keys, a numerator and a denominator ("mass"), are the whole layer;
- the shift is one more column of the matrix product: [q_i, -|q_i|] . [k_j, 1];
- with one chunk of halo on each side, the 3m keys of a chunk are an overlapping view of the sorted rows, no copy;
- backward keeps q, v, the output and the mass, and computes the scores again.
The scores held at once are about WORKSPACE elements, instead of b * r * s * 3m.
"""

from typing import Any

import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._typing import Float, Tensor
from cclnn.ops.lsh_attention.plan import LSHPlan
from cclnn.ops.lsh_attention.reference import EPS

WORKSPACE = 2**20


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Same result as reference.attend."""
    out: Tensor = attend_op(q, v, plan.slots, plan.where, plan.chunk)[0]
    return out


@torch.library.custom_op("cclnn::chunked_attend", mutates_args=())
def attend_op(q: Tensor, v: Tensor, slots: Tensor, where: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """(output, mass), as one node that torch.compile and torch.export do not look into."""
    with torch.autocast(q.device.type, enabled=False):
        return _forward(q, v, LSHPlan(slots, where, chunk))


@attend_op.register_fake
def _(_q: Tensor, v: Tensor, _slots: Tensor, _where: Tensor, _chunk: int) -> tuple[Tensor, Tensor]:
    return v.new_empty(v.shape), v.new_empty((*v.shape[:2], 1), dtype=_wide(v.dtype))


@torch.library.custom_op("cclnn::chunked_attend_backward", mutates_args=())
def backward_op(
    grad: Tensor, q: Tensor, v: Tensor, slots: Tensor, where: Tensor, chunk: int, out: Tensor, mass: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of q and v."""
    with torch.autocast(q.device.type, enabled=False):
        return _backward(grad, q, v, LSHPlan(slots, where, chunk), out, mass)


@backward_op.register_fake
def _(
    _grad: Tensor, q: Tensor, v: Tensor, _slots: Tensor, _where: Tensor, _chunk: int, _out: Tensor, _mass: Tensor
) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), v.new_empty(v.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, v, slots, where, ctx.chunk = inputs
    ctx.save_for_backward(q, v, slots, where, *output)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, v, slots, where, out, mass = ctx.saved_tensors
    return *backward_op(grad, q, v, slots, where, ctx.chunk, out, mass), None, None, None


def _refuse(_ctx: Any, *_grads: Tensor) -> None:
    raise NotImplementedError("lsh_attention has no second derivative with backend='chunked'; use backend='reference'.")


attend_op.register_autograd(_differentiate, setup_context=_remember)
backward_op.register_autograd(_refuse)


def _forward(q: Tensor, v: Tensor, plan: LSHPlan) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 1"]]:
    queries, keys, _ = _shifted(q)
    v = v.contiguous()  # once, not in every round
    lines = [_Line(plan, r) for r in range(plan.slots.shape[1])]
    rows_q, rows_k, rows_v, rows_out = (lines[0].rows(x) for x in (queries, keys, v, v))
    rows_mass = rows_v.new_empty(rows_v.shape[0], 1, dtype=_wide(v.dtype))
    scores = lines[0].workspace(v)
    total, mass = torch.zeros_like(v, dtype=_wide(v.dtype)), rows_mass.new_zeros(*v.shape[:2], 1)
    for line in lines:
        line.take(queries, rows_q)
        line.take(keys, rows_k)
        line.take(v, rows_v)
        for group in line.groups():
            weights = group.scores(rows_q, rows_k, scores).exp_()
            torch.bmm(weights, group.windows(rows_v), out=group.own(rows_out))
            torch.sum(weights, dim=-1, keepdim=True, dtype=rows_mass.dtype, out=group.own(rows_mass))
        total += line.untake(rows_out)
        mass += line.untake(rows_mass)
    return total.div_(mass).to(v.dtype), mass


def _backward(
    grad: Tensor, q: Tensor, v: Tensor, plan: LSHPlan, out: Tensor, mass: Tensor
) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b n d"]]:
    """ds_ij = p_ij (g_i . v_j - g_i . out_i),  p_ij = exp(s_ij - |q_i|) / mass_i over all rounds."""
    wide = _wide(q.dtype)
    queries, keys, norm = _shifted(q)
    share = grad.to(wide) / mass  # g_i / mass_i
    offset = (share * out).sum(dim=-1, keepdim=True)
    shares = torch.cat([share, -offset], dim=-1).to(v.dtype)
    values = F.pad(v, (0, 1), value=1.0)  # so that shares . values = (g_i . v_j - g_i . out_i) / mass_i
    e, d = q.shape[-1], v.shape[-1]
    lines = [_Line(plan, r) for r in range(plan.slots.shape[1])]
    rows_q, rows_k, rows_v, rows_g = (lines[0].rows(x) for x in (queries, keys, values, shares))
    rows_dq = rows_q.new_empty(rows_q.shape[0], e)
    rows_dk, rows_dv = (rows_q.new_empty(rows_q.shape[0], width, dtype=wide) for width in (e, d))
    scores, slopes = lines[0].workspace(v), lines[0].workspace(v)
    grad_q, grad_k, grad_v = (torch.zeros_like(x, dtype=wide) for x in (q, q, v))
    for line in lines:
        line.take(queries, rows_q)
        line.take(keys, rows_k)
        line.take(values, rows_v)
        line.only_tokens(line.take(shares, rows_g))  # nobody reads what copies and halo attend to
        rows_dk.zero_()
        rows_dv.zero_()
        for group in line.groups():
            weights = group.scores(rows_q, rows_k, scores).exp_()
            group.add_windows(rows_dv, torch.bmm(weights.mT, group.own(rows_g)[..., :d]))
            slope = group.scores(rows_g, rows_v, slopes).mul_(weights)
            torch.bmm(slope, group.windows(rows_k)[..., :e], out=group.own(rows_dq))
            group.add_windows(rows_dk, torch.bmm(slope.mT, group.own(rows_q)[..., :e]))
        grad_q += line.untake(rows_dq)
        grad_k += line.untake(line.fold(rows_dk))
        grad_v += line.untake(line.fold(rows_dv))
    unit = q / norm
    along = unit * (unit * grad_k).sum(dim=-1, keepdim=True)  # the norm's own gradient, none where it is clamped
    grad_q += (grad_k - along.masked_fill_(norm <= EPS, 0.0)) / norm
    return grad_q.to(q.dtype), grad_v.to(v.dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Sums and norms of half-precision tensors are kept in float32."""
    return torch.promote_types(dtype, torch.float32)


def _shifted(q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[q_i, -q_i . k_i], [k_j, 1] and the clamped norms: products of the first two are scores <= 0, up to rounding."""
    norm = q.to(_wide(q.dtype)).norm(dim=-1, keepdim=True).clamp_min(EPS)
    unit = (q / norm).to(q.dtype)
    bound = (q.to(norm.dtype) * unit).sum(dim=-1, keepdim=True)  # of the rounded values that enter the product
    return torch.cat([q, -bound.to(q.dtype)], dim=-1), F.pad(unit, (0, 1), value=1.0), norm


class _Line:
    """The rows of one hash round in sorted order, image after image, each with a chunk of halo on both sides.

    Windows of three chunks slide along the whole line. The two windows per border that straddle two images fill
    halo rows only, which `untake` and `fold` never read.
    """

    def __init__(self, plan: LSHPlan, r: int) -> None:
        slots, where = plan.slots[:, r], plan.where[:, r]
        self.m = plan.chunk
        self.b, self.n = where.shape
        self.s = slots.shape[1]
        images = torch.arange(self.b, device=slots.device)[:, None]
        haloed = torch.cat([slots[:, -self.m :], slots, slots[:, : self.m]], dim=1)
        self.tokens = rearrange(haloed + images * self.n, "b s -> (b s)")
        self.places = rearrange(where + self.m + images * (self.s + 2 * self.m), "b n -> (b n)")

        self.windows = len(self.tokens) // self.m - 2
        self.step = min(self.windows, max(1, WORKSPACE // (3 * self.m * self.m)))

    def groups(self) -> list["_Group"]:
        starts = range(0, self.windows, self.step)
        return [_Group(start, min(start + self.step, self.windows), self.m) for start in starts]

    def workspace(self, like: Tensor) -> Float[Tensor, "k m window"]:
        """Room for the scores of one group, reused by all."""
        return like.new_empty(self.step, self.m, 3 * self.m)

    def rows(self, like: Float[Tensor, "b n e"]) -> Float[Tensor, "rows e"]:
        """Room for the rows of one line, reused by all."""
        return like.new_empty(len(self.tokens), like.shape[-1])

    def take(self, x: Float[Tensor, "b n e"], rows: Float[Tensor, "rows e"]) -> Float[Tensor, "rows e"]:
        """Fill `rows` with the tokens of x in sorted order, halo included."""
        return torch.index_select(rearrange(x, "b n e -> (b n) e"), 0, self.tokens, out=rows)

    def untake(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "b n e"]:
        return rearrange(rows.index_select(0, self.places), "(b n) e -> b n e", b=self.b)

    def only_tokens(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "rows e"]:
        """Zero the halo and the copies that fill the last chunk, in place."""
        lines = rearrange(rows, "(b s) e -> b s e", b=self.b)
        lines[:, : self.m] = 0
        lines[:, self.m + self.n :] = 0
        return rows

    def fold(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "rows e"]:
        """Add the halo and the copies that fill the last chunk to the rows they were copied from, in place."""
        m, end, last = self.m, self.m + self.s, self.m + self.n
        lines = rearrange(rows, "(b s) e -> b s e", b=self.b)
        lines[:, end - m : end] += lines[:, :m]
        lines[:, m : 2 * m] += lines[:, end:]
        lines[:, last - (end - last) : last] += lines[:, last:end]
        return rows


class _Group:
    """Windows start..stop of a line: window w has the keys of chunks w, w+1, w+2 and the queries of chunk w+1."""

    def __init__(self, start: int, stop: int, m: int) -> None:
        self.start, self.stop, self.m = start, stop, m

    def own(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "k m e"]:
        return rearrange(rows[(self.start + 1) * self.m : (self.stop + 1) * self.m], "(k m) e -> k m e", m=self.m)

    def windows(self, rows: Float[Tensor, "rows e"]) -> Float[Tensor, "k window e"]:
        return rows[self.start * self.m : (self.stop + 2) * self.m].unfold(0, 3 * self.m, self.m).mT

    def scores(self, own: Tensor, others: Tensor, room: Float[Tensor, "k m window"]) -> Float[Tensor, "g m window"]:
        """Product of each chunk's own rows with the rows of its window."""
        return torch.bmm(self.own(own), self.windows(others).mT, out=room[: self.stop - self.start])

    def add_windows(self, rows: Float[Tensor, "rows e"], x: Float[Tensor, "k window e"]) -> None:
        for t in range(3):
            part = rows[(self.start + t) * self.m : (self.stop + t) * self.m]
            rearrange(part, "(k m) e -> k m e", m=self.m).add_(x[:, t * self.m : (t + 1) * self.m])
