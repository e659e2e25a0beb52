"""Autocast where it is on. Its contexts are entered only then: they fail on devices that have none, such as "meta",
and in exported programs each would be a submodule.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from cclnn._typing import Tensor


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype of autocast on the device of `x`; None where it is off or not available."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """A context with autocast off on the device of `x`."""
    return nullcontext() if autocast_dtype(x) is None else torch.autocast(x.device.type, enabled=False)
