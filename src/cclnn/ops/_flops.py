"""What the library's operators compute, for torch's flop counter, which cannot look into them.

Two operations for each multiply-add of matrix products. The sparse attention counts 2 b r s 3m (e + d) forward: every
slot's scores with three chunks of keys, and the sums of their values; attention between patches counts products of
single positions, as patches are sums of them. Backward computes scores once more: 3 e + 2 d instead of e + d. Sorting,
softmax and the like count nothing, as in torch's own formulas.

>>> import torch
>>> from torch.utils.flop_counter import FlopCounterMode
>>> from cclnn.layers import NonLocalSparseAttention
>>> layer, x = NonLocalSparseAttention(8, n_hashes=1, chunk_size=5), torch.rand(1, 8, 5, 7)
>>> with FlopCounterMode(display=False) as counter:
...     _ = layer(x)
>>> counter.get_flop_counts()["Global"][torch.ops.cclnn.chunked_attend]  # 2 * 35 * 3 * 5 * (2 + 8)
10500
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeAlias

import torch

Shape: TypeAlias = Sequence[int]
COUNTER = "torch.utils.flop_counter"


def register_flop_formulas() -> None:
    """Tell torch's flop counter the formulas of all operators: at once if it is imported, or else when it will be.

    Importing it here would import Triton, where that is installed.
    """
    if COUNTER in sys.modules:
        _register(sys.modules[COUNTER])
    elif not any(isinstance(finder, _Awaited) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Awaited())


class _Awaited(MetaPathFinder):
    """Finds torch's flop counter where everybody else does, but has it told the formulas after its import."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != COUNTER:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader)
        return spec


class _Telling(Loader):
    """Another loader, and the formulas after it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Awaited)]
        _register(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def _register(counter: ModuleType) -> None:
    for operator, formula in formulas().items():
        if operator not in counter.flop_registry:
            counter.register_flop_formula(operator)(formula)


def formulas() -> dict[Any, Callable[..., int]]:
    """Operator -> its operations, from the shapes of its tensors."""
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
