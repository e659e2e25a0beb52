"""The device that a caller names, known to be usable before anything is computed."""

import torch


def usable_device(device: str | torch.device) -> torch.device:
    """The device.

    Raises:
        ValueError: there is no such device, or it cannot be used with this installation of PyTorch.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)  # a name alone does not tell: without CUDA, even "cuda" is one
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).split("\n")[0].split(". ")[0].rstrip(".")  # torch goes on with a list of its parts
        raise ValueError(f"`device`={str(device)!r} cannot be used here: {reason}.") from error
    return found
