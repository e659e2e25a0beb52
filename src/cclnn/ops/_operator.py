"""Operators that torch.compile and torch.export take as one node."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.autograd import forward_ad

from cclnn._eager import inside_transform
from cclnn._typing import Tensor

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def operator(name: str, function: FunctionT, fake: Callable[..., Any]) -> FunctionT:
    """Register `function`, of tensors and numbers, as the operator `name`, on every device; call what is returned.
    `fake` gives empty tensors like its results: all that a compiler needs to know of it.

    Like `torch.library.custom_op`, without the import of torch's compiler on the first call in every process, which
    costs a second and 150 MB.
    """
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(name, "default", func=function)
    torch.library.register_fake(name, fake)
    space, _, short = name.partition("::")
    registered: FunctionT = getattr(getattr(torch.ops, space), short).default
    return registered


def why_no_operator(*tensors: Tensor) -> str | None:
    """Why an operator with a backward of its own cannot take these tensors; None if it can.

    Forward-mode derivatives would be dropped without a word, and torch.func cannot look into the backward.
    """
    if torch.compiler.is_compiling():
        return None
    if inside_transform():
        return "torch.func's transforms (grad, jvp, vmap, jacrev, hessian, ...) cannot look into it"
    if any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):  # type: ignore[no-untyped-call]
        return "it has no forward-mode derivative"
    return None
