"""Dense attention in blocks: every query meets every key, and no more than a block of scores is held at once.

Memory beyond the inputs, the output and the gradients is a constant, forward and backward: 2 WORKSPACE numbers in
float32 or wider (a block of scores, before and after the softmax), 32 MiB for float32. One row of scores is the
smallest block, so that with more than WORKSPACE tokens WORKSPACE stands for their number. All n s scores at once would
take 4 n s bytes, 16 GiB for the 65,536 pixels of a 256x256 image.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch

from cclnn._autocast import without_autocast
from cclnn._checks import check_at_least, check_choice, check_floating, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops._operator import operator

Over = Literal["keys", "queries"]
OVER: tuple[Over, ...] = get_args(Over)
WORKSPACE = 2**22


def dense_attention(
    query: Float[Tensor, "b n e"], key: Float[Tensor, "b s e"], value: Float[Tensor, "b s d"], *, over: Over = "keys"
) -> Float[Tensor, "b n d"]:
    """out_i = sum_j p_ij v_j,  p_ij = exp(q_i . k_j) / Z.   (Vaswani et al. 2017, Eq. 1; Wang et al. 2018, Eq. 4)

    Z sums over the keys j for each query (softmax as usual, `over="keys"`), or over the queries i for each key
    (`over="queries"`, as RNAN's released code does). Scores are not scaled. They are computed in float32 or wider, with
    autocast off, a block at a time, forward and backward; the memory for it is stated at the head of this file.

    Args:
        query: q, n tokens an image.
        key: k, s tokens an image.
        value: v, one per key.
        over: "keys" or "queries".

    Returns:
        the attended values, in the dtype of `value`. There is no second derivative.

    Raises:
        ValueError: wrong rank or sizes, or an unknown `over`. TypeError: tensors that are not floating point.

    >>> import torch
    >>> q, k, v = torch.tensor([[[0.0], [1.0]]]), torch.zeros(1, 2, 1), torch.tensor([[[1.0], [3.0]]])
    >>> dense_attention(q, k, v).flatten()  # all scores are 0: every query takes the mean
    tensor([2., 2.])
    """
    check_choice("over", over, OVER)
    check_tokens(query, key)
    check_floating("value", value)
    check_shape("value", value, "b s d", b=key.shape[0], s=key.shape[1])
    attended: Tensor = attend_op(query, key, value, over == "queries")
    return attended


def largest_scores(
    query: Float[Tensor, "b n e"], key: Float[Tensor, "b s e"], *, count: int
) -> Float[Tensor, "b n count"]:
    """The `count` largest of the scores q_i . k_j of each query, in descending order, with their gradients.

    Computed as in `dense_attention`, in blocks of 2 WORKSPACE numbers beside the result and its indices.

    Args:
        query: q, n tokens an image.
        key: k, s tokens an image.
        count: how many; at most s.

    Returns:
        scores, float32 or wider. There is no second derivative.

    Raises:
        ValueError: wrong rank or sizes, or more scores than keys. TypeError: tensors that are not floating point.

    >>> import torch
    >>> q, k = torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[[1.0], [5.0], [2.0]]])
    >>> largest_scores(q, k, count=2)
    tensor([[[ 5.,  2.],
             [-1., -2.]]])
    """
    check_tokens(query, key)
    check_at_least("count", count, 1)
    if count > key.shape[1]:
        raise ValueError(f"`count`={count} must be at most the number of keys, {key.shape[1]}.")
    scores: Tensor = largest_op(query, key, count)[0]
    return scores


def check_tokens(query: Tensor, key: Tensor) -> None:
    """Raise unless these are queries and keys of the same images and width."""
    check_floating("query", query)
    check_floating("key", key)
    check_shape("query", query, "b n e")
    check_shape("key", key, "b s e", b=query.shape[0], e=query.shape[2])


def blocks(images: int, rows: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows of scores of `width` that are computed together: WORKSPACE numbers, one row at least."""
    group, step = _block(images, rows, width)
    for image in range(0, images, group):
        for row in range(0, rows, step):
            yield slice(image, image + group), slice(row, row + step)


def _block(images: int, rows: int, width: int) -> tuple[int, int]:
    """How many images and rows the largest block has."""
    return max(1, min(images, WORKSPACE // (rows * width))), min(rows, max(1, WORKSPACE // width))


class _Softmax:
    """Softmax of the scores of one block after the other, in two buffers that all blocks share."""

    def __init__(self, left: Tensor, right: Tensor) -> None:
        group, step = _block(len(left), left.shape[1], right.shape[1])
        size = group * step * right.shape[1]
        self.scores, self.probabilities = left.new_empty(size), left.new_empty(size)

    def __call__(self, left: Float[Tensor, "b r e"], right: Float[Tensor, "b s e"]) -> Float[Tensor, "b r s"]:
        return torch.softmax(self.products(left, right), dim=-1, out=self._shaped(self.probabilities, left, right))

    def products(self, left: Float[Tensor, "b r e"], right: Float[Tensor, "b s e"]) -> Float[Tensor, "b r s"]:
        """The scores: valid until the next call."""
        return torch.bmm(left, right.mT, out=self._shaped(self.scores, left, right))

    @staticmethod
    def _shaped(buffer: Tensor, left: Tensor, right: Tensor) -> Tensor:
        shape = (len(left), left.shape[1], right.shape[1])
        return buffer[: shape[0] * shape[1] * shape[2]].view(shape)  # a block is a view of the buffer, not a copy


def _attend(query: Tensor, key: Tensor, value: Tensor, over_queries: bool) -> Tensor:
    with without_autocast(query):
        q, k, v = wide(query, key, value)
        out = v.new_zeros(*q.shape[:2], v.shape[2])
        if over_queries:
            softmax = _Softmax(k, q)
            for image, row in blocks(len(k), k.shape[1], q.shape[1]):
                out[image].baddbmm_(softmax(k[image, row], q[image]).mT, v[image, row])
        else:
            softmax = _Softmax(q, k)
            for image, row in blocks(len(q), q.shape[1], k.shape[1]):
                out[image, row] = torch.bmm(softmax(q[image, row], k[image]), v[image])
        return out.to(value.dtype)


def _empty_attended(query: Tensor, _key: Tensor, value: Tensor, _over_queries: bool) -> Tensor:
    return value.new_empty(*query.shape[:2], value.shape[2])


attend_op = operator("cclnn::dense_attend", _attend, _empty_attended)


def _attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, over_queries: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """ds_ij = p_ij (g_i . v_j - D): D = g_i . out_i over keys, and v_j . dv_j over queries."""
    with without_autocast(query):
        g, q, k, v, o = wide(grad, query, key, value, out)
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        if over_queries:
            softmax = _Softmax(k, q)
            for image, row in blocks(len(k), k.shape[1], q.shape[1]):
                weights = softmax(k[image, row], q[image])
                dv[image, row] = torch.bmm(weights, g[image])
                slope = softmax.products(v[image, row], g[image])
                slope.sub_((v[image, row] * dv[image, row]).sum(dim=-1, keepdim=True)).mul_(weights)
                dk[image, row] = torch.bmm(slope, q[image])
                dq[image].baddbmm_(slope.mT, k[image, row])
        else:
            softmax = _Softmax(q, k)
            for image, row in blocks(len(q), q.shape[1], k.shape[1]):
                weights = softmax(q[image, row], k[image])
                dv[image].baddbmm_(weights.mT, g[image, row])
                slope = softmax.products(g[image, row], v[image])
                slope.sub_((g[image, row] * o[image, row]).sum(dim=-1, keepdim=True)).mul_(weights)
                dq[image, row] = torch.bmm(slope, k[image])
                dk[image].baddbmm_(slope.mT, q[image, row])
        return dq.to(query.dtype), dk.to(key.dtype), dv.to(value.dtype)


def _empty_gradients(
    _grad: Tensor, query: Tensor, key: Tensor, value: Tensor, _out: Tensor, _over_queries: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


attend_backward_op = operator("cclnn::dense_attend_backward", _attend_backward, _empty_gradients)


def _largest(query: Tensor, key: Tensor, count: int) -> tuple[Tensor, Tensor]:
    with without_autocast(query):
        q, k = wide(query, key)
        scores = q.new_empty(*q.shape[:2], count)
        keys = torch.empty(scores.shape, dtype=torch.int32, device=q.device)
        products = _Softmax(q, k).products
        for image, row in blocks(len(q), q.shape[1], k.shape[1]):
            scores[image, row], keys[image, row] = products(q[image, row], k[image]).topk(count, dim=-1)
        return scores, keys


def _empty_largest(query: Tensor, _key: Tensor, count: int) -> tuple[Tensor, Tensor]:
    scores = query.new_empty(*query.shape[:2], count, dtype=torch.promote_types(query.dtype, torch.float32))
    return scores, torch.empty_like(scores, dtype=torch.int32)


largest_op = operator("cclnn::largest_scores", _largest, _empty_largest)


def _largest_backward(grad: Tensor, query: Tensor, key: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """dq_i = sum of g_ic k_j over the scores kept, j their keys, and dk_j likewise: products with rows mostly zero."""
    with without_autocast(query):
        g, q, k = wide(grad, query, key)
        dq, dk = torch.zeros_like(q), torch.zeros_like(k)
        for image, row in blocks(len(q), q.shape[1], k.shape[1]):
            part = g[image, row]
            slope = part.new_zeros(*part.shape[:2], k.shape[1]).scatter_(2, keys[image, row].long(), part)
            dq[image, row] = torch.bmm(slope, k[image])
            dk[image].baddbmm_(slope.mT, q[image, row])
        return dq.to(query.dtype), dk.to(key.dtype)


def _empty_largest_gradients(_grad: Tensor, query: Tensor, key: Tensor, _keys: Tensor) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape)


largest_backward_op = operator("cclnn::largest_scores_backward", _largest_backward, _empty_largest_gradients)


def wide(*tensors: Tensor) -> list[Tensor]:
    """All in one dtype, float32 or wider."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    query, key, value, ctx.over_queries = inputs
    ctx.save_for_backward(query, key, value, output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, out = ctx.saved_tensors
    return *attend_backward_op(grad, query, key, value, out, ctx.over_queries), None


def _remember_largest(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:2], output[1])


def _differentiate_largest(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, keys = ctx.saved_tensors
    return *largest_backward_op(grad, query, key, keys), None


def _refuse(_ctx: Any, *_grads: Tensor) -> None:
    raise NotImplementedError("dense_attention and largest_scores have no second derivative.")


torch.library.register_autograd("cclnn::dense_attend", _differentiate, setup_context=_remember)
torch.library.register_autograd("cclnn::dense_attend_backward", _refuse)
torch.library.register_autograd("cclnn::largest_scores", _differentiate_largest, setup_context=_remember_largest)
torch.library.register_autograd("cclnn::largest_scores_backward", _refuse)
