"""What the library's operators compute, for torch's flop counter, which cannot look into them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

Shape: TypeAlias = Sequence[int]


def flop_formulas() -> dict[Any, Callable[..., int]]:
    """Operator -> floating-point operations, two for each multiply-add of its matrix products, forward and backward:

    `torch.utils.flop_counter.FlopCounterMode(custom_mapping=flop_formulas())`.

    The sparse attention counts 2 b r s 3m (e + d) forward: every slot's scores with three chunks of keys, and the sums
    of their values; attention between patches counts products of single positions, as patches are sums of them.
    Backward computes scores once more: 3 e + 2 d instead of e + d. Sorting, softmax and the like count nothing, as in
    torch's own formulas.

    >>> from torch.utils.flop_counter import FlopCounterMode
    >>> from cclnn.layers import NonLocalSparseAttention
    >>> layer, x = NonLocalSparseAttention(8, n_hashes=1, chunk_size=5), torch.rand(1, 8, 5, 7)
    >>> with FlopCounterMode(custom_mapping=flop_formulas(), display=False) as counter:
    ...     _ = layer(x)
    >>> counter.get_flop_counts()["Global"][torch.ops.cclnn.chunked_attend]  # 2 * 35 * 3 * 5 * (2 + 8)
    10500
    """
    ops = torch.ops.cclnn
    return {
        ops.chunked_attend: _sparse,
        ops.chunked_attend_backward: _sparse_backward,
        ops.fused_attend: _sparse,
        ops.fused_attend_backward: _sparse_backward,
        ops.hash_codes: _hashing,
        ops.dense_attend: _dense,
        ops.dense_attend_backward: _dense_backward,
        ops.largest_scores: _largest,
        ops.largest_scores_backward: _largest_backward,
        ops.patch_attend: _patches,
        ops.patch_attend_backward: _patches_backward,
    }


def _pairs(slots: Shape, chunk: int) -> int:
    batch, rounds, length = slots
    return batch * rounds * length * 3 * chunk


def _sparse(q: Shape, v: Shape, slots: Shape, chunk: int, **_: Any) -> int:
    return 2 * _pairs(slots, chunk) * (q[-1] + v[-1])


def _sparse_backward(_grad: Shape, q: Shape, v: Shape, slots: Shape, chunk: int, *_rest: Shape, **_: Any) -> int:
    return 2 * _pairs(slots, chunk) * (3 * q[-1] + 2 * v[-1])


def _hashing(embed: Shape, rotations: Shape, half: int, **_: Any) -> int:
    batch, tokens, width = embed
    return 2 * batch * tokens * width * rotations[1] * half


def _dense(q: Shape, k: Shape, v: Shape, *_rest: Any, **_: Any) -> int:
    return 2 * q[0] * q[1] * k[1] * (q[2] + v[2])


def _dense_backward(_grad: Shape, q: Shape, k: Shape, v: Shape, *_rest: Any, **_: Any) -> int:
    return 2 * q[0] * q[1] * k[1] * (3 * q[2] + 2 * v[2])


def _largest(q: Shape, k: Shape, _count: int, **_: Any) -> int:
    return 2 * q[0] * q[1] * k[1] * q[2]


def _largest_backward(_grad: Shape, q: Shape, k: Shape, *_rest: Any, **_: Any) -> int:
    return 4 * q[0] * q[1] * k[1] * q[2]


def _patches(q: Shape, k: Shape, v: Shape, *_rest: Any, **_: Any) -> int:
    return 2 * q[0] * q[2] * q[3] * k[2] * k[3] * (q[1] + v[1])


def _patches_backward(_grad: Shape, q: Shape, k: Shape, v: Shape, *_rest: Any, **_: Any) -> int:
    return 2 * q[0] * q[2] * q[3] * k[2] * k[3] * (3 * q[1] + 2 * v[1])
