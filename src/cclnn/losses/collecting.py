"""The losses of blocks that stand anywhere in a network, also where nothing but features is passed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from cclnn._typing import Float, Tensor


class BlockWithLoss:
    """What a block with a loss of its own inherits, before `nn.Module`: it returns (features, loss), or with
    `return_loss=False` the features alone, and `collect_losses` finds its loss either way.

    A subclass has `return_loss` as an argument of its constructor and as an attribute, and ends its `forward` with
    `return self.result(features, loss)`.
    """

    return_loss: bool
    training: bool
    collected: list[Tensor] | None = None  # while its losses are collected

    def result(self, features: Tensor, loss: Float[Tensor, ""]) -> Tensor | tuple[Tensor, Float[Tensor, ""]]:
        """What `forward` returns.

        Raises:
            RuntimeError: losses are collected in training mode without gradients.
        """
        if self.collected is not None:
            if self.training and not torch.is_grad_enabled():
                raise RuntimeError(
                    "a block whose loss is collected ran in training mode without gradients: inside reentrant "
                    "checkpointing, which loses the loss (use_reentrant=False keeps it), or under torch.no_grad(), "
                    "where eval mode is needed."
                )
            self.collected.append(loss)
        return (features, loss) if self.return_loss else features


@dataclass(frozen=True)
class Losses:
    """The losses of the blocks that ran, in order.

    each: a 0-dim tensor for every call of a block
    """

    each: list[Tensor]

    def mean(self) -> Float[Tensor, ""]:
        """Their mean, the block loss of Liu et al. 2024, Eq. 6; RuntimeError if no block has run."""
        if not self.each:
            raise RuntimeError("no block with a loss has run inside `collect_losses` yet.")
        return torch.stack(self.each).mean()


@contextmanager
def collect_losses(module: nn.Module) -> Iterator[Losses]:
    """Collect the losses of all blocks in `module` while the block of code runs: for blocks inside `nn.Sequential`, in
    encoders and decoders, and anywhere else that features alone are passed on.

    Construct the blocks with `return_loss=False`. A block inside another one, whose loss it is part of, is not counted
    on its own. Works around compiled, checkpointed (`use_reentrant=False`) and distributed modules; call `backward`
    after the `with` statement, so that what checkpointing computes again is not collected again.

    Args:
        module: the network, or a wrapper around it.

    Raises:
        ValueError: no block in `module` has a loss. RuntimeError: its losses are being collected already.

    >>> from cclnn.layers import CCLNBlock
    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), CCLNBlock(16, return_loss=False), nn.Conv2d(16, 3, 3))
    >>> with collect_losses(model) as losses:
    ...     restored = model(torch.rand(1, 3, 9, 11))
    >>> len(losses.each), losses.mean().shape
    (1, torch.Size([]))
    """
    blocks = list(_blocks(module))
    if not blocks:
        raise ValueError(f"`module`: no block in this {type(module).__name__} has a loss of its own.")
    if any(block.collected is not None for block in blocks):
        raise RuntimeError("the losses of these blocks are being collected already.")
    losses = Losses([])
    for block in blocks:
        block.collected = losses.each
    try:
        yield losses
    finally:
        for block in blocks:
            block.collected = None


def _blocks(module: nn.Module) -> Iterator[BlockWithLoss]:
    """The outermost blocks with a loss."""
    if isinstance(module, BlockWithLoss):
        yield module
    else:
        for child in module.children():
            yield from _blocks(child)
