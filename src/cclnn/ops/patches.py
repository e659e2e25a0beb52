"""Attention between 3x3 patches in blocks: patches are compared, patches are pasted, neither is ever cut out.

With Q_i, K_j, V_j the vectors at the positions i, j of two maps and o the nine offsets of a patch,

    s_ij = w_j sum_o Q_{i+o} . K_{j+o}        a_ij = softmax over j of s_ij        out_p = sum_o sum_j a_{p-o,j} V_{j+o}

(everything is zero outside its map). Both sums over o are sums along the diagonals of a matrix over (i, j): one of the
products of single vectors, the other of the softmax. So the products have the width of one vector instead of nine.

Memory beyond the inputs, the output and the gradients is 2 WORKSPACE numbers forward and 4 backward, in float32 or
wider: 64 and 128 MiB for float32. For a key map of y by x whose 9 (y + 2) (x + 2) exceeds WORKSPACE, that number (of
the scores around one query) stands for it. All scores of a 256x256 image with keys at half its size would take 4 GiB,
those of an image of twice the size 64 GiB.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from cclnn._checks import check_floating, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops._operator import operator
from cclnn.ops.dense import wide

WORKSPACE = 2**23


def patch_attention(
    query: Float[Tensor, "b e h w"],
    key: Float[Tensor, "b e hk wk"],
    value: Float[Tensor, "b d hk wk"],
    weight: Float[Tensor, "b hk wk"],
) -> Float[Tensor, "b d h w"]:
    """out_p = sum over o, j of a_{p-o,j} V_{j+o},  a = softmax over j of w_j sum_o Q_{i+o} . K_{j+o}; o runs over 3x3.

    Every 3x3 patch of `query` is compared with every 3x3 patch of `key` and pastes the mean, by the softmax, of the 3x3
    patches of `value`; pastes that overlap are summed. Zero padding. Computed in float32 or wider, with autocast off, a
    block of scores at a time; the head of this file states the memory.   (Mei et al. 2020, cross-scale attention)

    Args:
        query: Q, a map of vectors.
        key: K, a map of vectors of the same width, of any other size.
        value: V, a vector of any width for each one of `key`.
        weight: w, the factor of each key patch's scores: positive, for example a scale divided by the patch's norm.

    Returns:
        the pasted values, in the dtype of `value`. There is no second derivative.

    Raises:
        ValueError: wrong rank or sizes. TypeError: tensors that are not floating point.

    >>> import torch
    >>> query, key, value = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 5.0)
    >>> patch_attention(query, key, value, torch.ones(1, 1, 1))[0, 0]  # a patch has one value, at its centre
    tensor([[5., 5., 5.],
            [5., 5., 5.],
            [5., 5., 5.]])
    """
    for name, x in (("query", query), ("key", key), ("value", value), ("weight", weight)):
        check_floating(name, x)
    check_shape("query", query, "b e h w")
    b, e, hk, wk = *query.shape[:2], *key.shape[-2:]
    check_shape("key", key, "b e hk wk", b=b, e=e)
    check_shape("value", value, "b d hk wk", b=b, hk=hk, wk=wk)
    check_shape("weight", weight, "b hk wk", b=b, hk=hk, wk=wk)
    pasted: Tensor = attend_op(query, key, value, weight)
    return pasted


@dataclass(frozen=True)
class QueryBlock:
    """A block of queries: images, rows and columns, and the same with a border of one, inside a map padded by one."""

    images: slice
    rows: slice
    columns: slice

    @property
    def inner(self) -> tuple[slice, ...]:
        """The queries, in a map that is not padded."""
        return self.images, slice(None), self.rows, self.columns

    @property
    def outer(self) -> tuple[slice, ...]:
        """The queries and their neighbours, in a map that is padded by one."""
        grown = (slice(side.start, side.stop + 2) for side in (self.rows, self.columns))
        return self.images, slice(None), *grown


def query_blocks(query: tuple[int, ...], key: tuple[int, ...]) -> Iterator[QueryBlock]:
    """Blocks of queries whose scores, border included, are WORKSPACE numbers at most; one query is the smallest."""
    images, _, height, width = query
    per_query = (key[-2] + 2) * (key[-1] + 2)
    side = max(1, math.isqrt(WORKSPACE // per_query) - 2)
    rows = min(side, height)
    columns = min(max(1, WORKSPACE // (per_query * (rows + 2)) - 2), width)
    group = max(1, WORKSPACE // (per_query * (rows + 2) * (columns + 2)))
    for image in range(0, images, group):
        for row in range(0, height, rows):
            for column in range(0, width, columns):
                yield QueryBlock(
                    slice(image, min(image + group, images)),
                    slice(row, min(row + rows, height)),
                    slice(column, min(column + columns, width)),
                )


def _workspace(block: QueryBlock, query: Tensor, key: Tensor, count: int) -> list[Tensor]:
    """Flat buffers for the first, largest block, which all share. A function fills and returns the last it is given."""
    size = query[block.outer][:, 0].numel() * key[0, 0].numel()  # both are padded by one
    return [query.new_empty(size) for _ in range(count)]


def _shaped(buffer: Tensor, *shape: int) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)  # a block is a view of its buffer, not a copy


def _products(
    left: Float[Tensor, "b e h w"], right: Float[Tensor, "b e hk wk"], out: Tensor
) -> Float[Tensor, "b h w hk wk"]:
    """Inner products of every vector with every vector."""
    n, s = left[0, 0].numel(), right[0, 0].numel()
    torch.bmm(left.flatten(2).mT, right.flatten(2), out=_shaped(out, len(left), n, s))
    return _shaped(out, len(left), *left.shape[2:], *right.shape[2:])


def _along_diagonals(
    x: Float[Tensor, "b h w hk wk"], spare: Tensor, out: Tensor
) -> Float[Tensor, "b h-2 w-2 hk-2 wk-2"]:
    """sum over o of x[i + o, j + o], o in 3x3: first over its rows, then over its columns. `out` may be x's buffer."""
    b, h, w, hk, wk = x.shape[0], *(side - 2 for side in x.shape[1:])
    rows = _shaped(spare, b, h, w + 2, hk, wk + 2)
    torch.add(x[:, :h, :, :hk], x[:, 1 : h + 1, :, 1 : hk + 1], out=rows).add_(x[:, 2:, :, 2:])
    both = _shaped(out, b, h, w, hk, wk)
    return torch.add(rows[:, :, :w, :, :wk], rows[:, :, 1 : w + 1, :, 1 : wk + 1], out=both).add_(rows[:, :, 2:, :, 2:])


def _spread(x: Float[Tensor, "b h w hk wk"], spare: Tensor, out: Tensor) -> Float[Tensor, "b h+2 w+2 hk wk"]:
    """sum over o of x[i - o, j - o], zero outside: the transpose of `_along_diagonals`. `out` may be x's buffer."""
    b, h, w, hk, wk = x.shape
    rows = _shaped(spare, b, h + 2, w, hk, wk).zero_()
    for step, (here, there) in enumerate(_shifts(hk)):
        rows[:, step : step + h, :, here] += x[:, :, :, there]
    both = _shaped(out, b, h + 2, w + 2, hk, wk).zero_()
    for step, (here, there) in enumerate(_shifts(wk)):
        both[:, :, step : step + w, :, here] += rows[..., there]
    return both


def _shifts(length: int) -> Iterator[tuple[slice, slice]]:
    """Positions j + o and j for o = -1, 0, 1, where both lie inside."""
    for o in (-1, 0, 1):
        yield slice(max(o, 0), length + min(o, 0)), slice(max(-o, 0), length - max(o, 0))


def _combine(weights: Float[Tensor, "b h w hk wk"], x: Float[Tensor, "b d hk wk"]) -> Float[Tensor, "b d h w"]:
    """sum over keys of weights times x."""
    summed = torch.bmm(x.flatten(2), weights.flatten(1, 2).flatten(2).mT)
    return summed.view(*x.shape[:2], *weights.shape[1:3])  # the axes that were flattened


def _gather(weights: Float[Tensor, "b h w hk wk"], x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d hk wk"]:
    """sum over queries of weights times x."""
    summed = torch.bmm(x.flatten(2), weights.flatten(1, 2).flatten(2))
    return summed.view(*x.shape[:2], *weights.shape[3:])  # the axes that were flattened


def _ring(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1))


def _softmax(
    query: Tensor, key: Tensor, weight: Tensor, block: QueryBlock, spare: Tensor, out: Tensor
) -> tuple[Float[Tensor, "b h w hk wk"], Float[Tensor, "b h w hk wk"]]:
    """Scores, in `spare`, and their softmax over the keys, of one block; `query` and `key` are padded by one."""
    scores = _along_diagonals(_products(query[block.outer], key[block.images], spare), out, spare)
    scores *= weight[block.images, None, None]
    weights = _shaped(out, *scores.shape)
    torch.softmax(scores.flatten(3), dim=3, out=weights.flatten(3))
    return scores, weights


def _attend(query: Tensor, key: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(query.device.type, enabled=False):
        q, k, v, w = wide(query, key, value, weight)
        q, k = _ring(q), _ring(k)
        out = v.new_zeros(len(v), v.shape[1], *q.shape[2:])
        blocks = list(query_blocks(query.shape, key.shape))
        first, second = _workspace(blocks[0], q, k, 2)
        for block in blocks:
            _, weights = _softmax(q, k, w, block, first, second)
            out[block.outer] += _combine(_spread(weights, first, second), v[block.images])
        return out[:, :, 1:-1, 1:-1].contiguous().to(value.dtype)


def _attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """da = products of g and V along diagonals, ds = a (da - sum a da); from ds on as from a: spread, then multiply."""
    with torch.autocast(query.device.type, enabled=False):
        g, q, k, v, w = wide(grad, query, key, value, weight)
        g, q, inner_k, k, ring_v = _ring(g), _ring(q), k, _ring(k), _ring(v)
        dq, dk, dv, dw = (torch.zeros_like(x) for x in (q, inner_k, v, w))
        blocks = list(query_blocks(query.shape, key.shape))
        first, second, third, fourth = _workspace(blocks[0], q, k, 4)
        for block in blocks:
            scores, weights = _softmax(q, k, w, block, first, second)
            slope = _along_diagonals(_products(g[block.outer], ring_v[block.images], third), fourth, third)
            slope -= torch.mul(slope, weights, out=_shaped(fourth, *slope.shape)).sum(dim=(3, 4), keepdim=True)
            slope *= weights
            dw[block.images] += scores.mul_(slope).sum(dim=(1, 2)) / w[block.images]
            dv[block.images] += _gather(_spread(weights, first, second), g[block.outer])
            slope *= w[block.images, None, None]
            spread = _spread(slope, first, third)
            dq[block.outer] += _combine(spread, inner_k[block.images])
            dk[block.images] += _gather(spread, q[block.outer])
        dq = dq[:, :, 1:-1, 1:-1].contiguous()
        return dq.to(query.dtype), dk.to(key.dtype), dv.to(value.dtype), dw.to(weight.dtype)


def _empty_attended(query: Tensor, _key: Tensor, value: Tensor, _weight: Tensor) -> Tensor:
    return value.new_empty(*value.shape[:2], *query.shape[2:])


def _empty_gradients(
    _grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    query, key, value, weight = (x.new_empty(x.shape) for x in (query, key, value, weight))
    return query, key, value, weight


attend_op = operator("cclnn::patch_attend", _attend, _empty_attended)
attend_backward_op = operator("cclnn::patch_attend_backward", _attend_backward, _empty_gradients)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  # torch's own signature
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    gradients: tuple[Tensor, ...] = attend_backward_op(grad, *ctx.saved_tensors)
    return gradients


def _refuse(_ctx: Any, *_grads: Tensor) -> None:
    raise NotImplementedError("patch_attention has no second derivative.")


torch.library.register_autograd("cclnn::patch_attend", _differentiate, setup_context=_remember)
torch.library.register_autograd("cclnn::patch_attend_backward", _refuse)
