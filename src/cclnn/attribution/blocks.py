"""What the blocks of a network do with one image: which pixels attend to which, and the weights of channels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_shape
from cclnn._mode import evaluating
from cclnn._typing import Float, Int, Tensor
from cclnn.layers.ccln_block import CCLNBlock
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.losses.contrastive import relevant_channels
from cclnn.ops.sparse_attention import LSHPlan, lsh_attention

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class ChannelWeights:
    """W of a block's channel attention for one image, descending; the first and the last `band` of them enter Eq. 4."""

    block: str
    weights: Float[Tensor, " c"]
    band: int


@dataclass(frozen=True)
class Attended:
    """The weights with which one pixel of a sparse attention attends to every pixel.

    weights: (h, w), sum 1, over all rounds; the pixels of one token (`stride`) share its weight
    buckets: (r, h, w), the bucket of every pixel in every round: its hash code, or its strip in a local round
    """

    block: str
    weights: Float[Tensor, "h w"]
    buckets: Int[Tensor, "r h w"]


def channel_weights(model: nn.Module, image: Float[Tensor, "1 c h w"]) -> list[ChannelWeights]:
    """W of every CCLN block that has a local branch, in the order of the network.   (Liu et al. 2024, Fig. 2)

    Raises:
        ValueError: the network has no such block.
    """
    found = []
    for name, block, x in layer_inputs(model, image, CCLNBlock):
        if block.branch != "nonlocal":
            attention = block.channel_attention
            weights = attention.channel_weights(x).flatten().sort(descending=True).values
            found.append(ChannelWeights(name, weights, relevant_channels(len(weights), attention.ratio)))
    if not found:
        raise ValueError(f"`model` of class {type(model).__name__} has no CCLN block with channel attention.")
    return found


def attended_pixels(model: nn.Module, image: Float[Tensor, "1 c h w"], pixel: tuple[int, int]) -> list[Attended]:
    """The attention of pixel (row, column) of the input in every non-local sparse attention, in network order.

    Raises:
        ValueError: the network has no such attention; a pixel outside the image.
    """
    check_shape("image", image, "b c h w", b=1)
    row, column = pixel
    rows, columns = image.shape[2:]
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"`pixel` ({row}, {column}) must lie in the image of {rows} x {columns} pixels.")
    found = []
    for name, layer, x in layer_inputs(model, image, NonLocalSparseAttention):
        with evaluating(layer):
            match = layer.match(x)
        side, width = layer.stride, match.size[1]
        token = torch.tensor([row // side * width + column // side], device=x.device)
        weights = rearrange(attention_weights(match.query, match.plan, token)[0], "(h w) -> h w", w=width)
        buckets = rearrange(match.codes[0], "r (h w) -> r h w", w=width)
        pixels = _by_pixel(weights, side)[:rows, :columns]
        found.append(Attended(name, pixels / pixels.sum(), _by_pixel(buckets, side)[:, :rows, :columns]))
    if not found:
        raise ValueError(f"`model` of class {type(model).__name__} has no non-local sparse attention.")
    return found


@torch.no_grad()
def layer_inputs(model: nn.Module, image: Tensor, kind: type[ModuleT]) -> list[tuple[str, ModuleT, Tensor]]:
    """Name, module and input of every module of a kind, in the order in which they run, in eval mode."""
    found: list[tuple[str, ModuleT, Tensor]] = []

    def noting(name: str) -> Callable[[ModuleT, tuple[Tensor, ...]], None]:
        return lambda module, inputs: found.append((name, module, inputs[0]))

    hooks = [
        module.register_forward_pre_hook(noting(name))
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    try:
        with evaluating(model):
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def attention_weights(query: Float[Tensor, "1 n e"], plan: LSHPlan, tokens: Int[Tensor, " t"]) -> Float[Tensor, "t n"]:
    """The weight of every token in what each of `tokens` receives: rows of W, where lsh_attention(q, v, plan) = W v.

    As the attention is linear in v, a row of W is the gradient of one token's output with respect to v.
    """
    n = query.shape[1]
    value = query.new_zeros(1, n, len(tokens)).requires_grad_()
    chosen = torch.zeros_like(value)
    chosen[0, tokens, torch.arange(len(tokens), device=tokens.device)] = 1
    with torch.enable_grad():
        (weights,) = torch.autograd.grad(lsh_attention(query.detach(), value, plan), value, chosen)
    return weights[0].mT


def _by_pixel(tokens: Tensor, side: int) -> Tensor:
    """Numbers of tokens, repeated for each of their side x side pixels."""
    return tokens.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
