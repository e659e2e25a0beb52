"""Whether code runs on numbers, here and now, or is being recorded or transformed by PyTorch."""

import torch
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from cclnn._typing import Tensor


def inside_transform() -> bool:
    """Whether a transform of torch.func (grad, vmap, jvp, ...) is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # torch has no public question for it


def has_numbers(x: Tensor) -> bool:
    """Whether Python may look at the numbers of `x`: not while compiling, exporting, tracing, counting or capturing a
    CUDA graph, not inside a transform, not on "meta", and not for subclasses, whose numbers may be elsewhere.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()  # torch.jit.is_tracing, which has no type
        or inside_transform()
        or is_in_torch_dispatch_mode()
        or type(x) not in (Tensor, nn.Parameter)
        or x.is_meta
        or (x.is_cuda and torch.cuda.is_current_stream_capturing())
    )
