"""Stage 2, lean and fast on any device: one hash round and a few chunks at a time.

Differs from reference.py in the order of summation only (README.md has the derivation):
- scores are shifted by the known bound q_i . k_i = |q_i| instead of their maximum, so two sums over all rounds and
  keys, a numerator and a denominator ("mass"), are the whole layer;
- the shift is one more column of the matrix product: [q_i, -|q_i|] . [k_j, 1];
- with one chunk of halo on each side, the 3m keys of a chunk are an overlapping view of the sorted rows, no copy;
- backward keeps q, v, the output and the mass, and computes the scores again.
The scores held at once are about WORKSPACE elements, instead of b * r * s * 3m.
"""

from typing import Any

import torch
from einops import rearrange
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cclnn._typing import Float, Tensor
from cclnn.ops.lsh_attention.plan import LSHPlan
from cclnn.ops.lsh_attention.reference import EPS

WORKSPACE = 2**20


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Same result as reference.attend."""
    out: Tensor = _Attend.apply(q, v, plan)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, v: Tensor, plan: LSHPlan) -> Tensor:
        out, mass = _forward(q, v, plan)
        ctx.save_for_backward(q, v, plan.slots, plan.where, out, mass)
        ctx.chunk = plan.chunk
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        q, v, slots, where, out, mass = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            return *_backward(grad, q, v, LSHPlan(slots, where, ctx.chunk), out, mass), None


def _forward(q: Tensor, v: Tensor, plan: LSHPlan) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 1"]]:
    queries, keys, _ = _shifted(q)
    total: Tensor | None = None
    mass: Tensor | None = None
    for r in range(plan.slots.shape[1]):
        line = _Line(plan, r)
        rows_q, rows_k, rows_v = line.take(queries), line.take(keys), line.take(v)
        rows_out = torch.empty_like(rows_v)
        rows_mass = rows_v.new_empty(rows_v.shape[0], 1, dtype=_wide(v.dtype))
        for group in line.groups():
            weights = torch.bmm(group.own(rows_q), group.windows(rows_k).mT).exp_()
            torch.bmm(weights, group.windows(rows_v), out=group.own(rows_out))
            torch.sum(weights, dim=-1, keepdim=True, dtype=rows_mass.dtype, out=group.own(rows_mass))
        out, out_mass = line.untake(rows_out).to(_wide(v.dtype)), line.untake(rows_mass)
        total = out if total is None else total.add_(out)
        mass = out_mass if mass is None else mass.add_(out_mass)
    assert total is not None  # a plan has at least one round
    assert mass is not None
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
    values = F.pad(v, (0, 1), value=1.0)
    e, d = q.shape[-1], v.shape[-1]
    grad_q, grad_k = torch.zeros_like(q, dtype=wide), torch.zeros_like(q, dtype=wide)
    grad_v = torch.zeros_like(v, dtype=wide)
    for r in range(plan.slots.shape[1]):
        line = _Line(plan, r)
        rows_q, rows_k, rows_v = line.take(queries), line.take(keys), line.take(values)
        rows_g = line.only_tokens(line.take(shares))  # nobody reads what copies and halo attend to
        rows_dq = torch.empty_like(rows_q[:, :e])
        rows_dk = rows_q.new_zeros(rows_q.shape[0], e, dtype=wide)
        rows_dv = rows_v.new_zeros(rows_v.shape[0], d, dtype=wide)
        for group in line.groups():
            weights = torch.bmm(group.own(rows_q), group.windows(rows_k).mT).exp_()
            group.add_windows(rows_dv, torch.bmm(weights.mT, group.own(rows_g)[..., :d]))
            scores = torch.bmm(group.own(rows_g), group.windows(rows_v).mT).mul_(weights)
            torch.bmm(scores, group.windows(rows_k)[..., :e], out=group.own(rows_dq))
            group.add_windows(rows_dk, torch.bmm(scores.mT, group.own(rows_q)[..., :e]))
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
    """[q_i, -q_i . k_i], [k_j, 1] and the clamped norms: the products of the first two are scores <= 0."""
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

    def groups(self) -> list["_Group"]:
        windows = len(self.tokens) // self.m - 2
        size = max(1, WORKSPACE // (3 * self.m * self.m))
        return [_Group(start, min(start + size, windows), self.m) for start in range(0, windows, size)]

    def take(self, x: Float[Tensor, "b n e"]) -> Float[Tensor, "rows e"]:
        return rearrange(x, "b n e -> (b n) e").index_select(0, self.tokens)

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

    def add_windows(self, rows: Float[Tensor, "rows e"], x: Float[Tensor, "k window e"]) -> None:
        for t in range(3):
            part = rows[(self.start + t) * self.m : (self.stop + t) * self.m]
            rearrange(part, "(k m) e -> k m e", m=self.m).add_(x[:, t * self.m : (t + 1) * self.m])
