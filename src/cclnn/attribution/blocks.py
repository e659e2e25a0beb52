"""What the blocks of a network do with one image: who attends to whom, in which bucket, which channels count."""

import math
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
from cclnn.ops.sparse_attention import LSHPlan, hash_codes, make_plan
from cclnn.ops.sparse_attention.reference import EPS

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class ChannelWeights:
    """W of a block's channel attention for one image, descending; the first and the last `band` of them enter Eq. 4."""

    block: str
    weights: Float[Tensor, " c"]
    band: int


@dataclass(frozen=True)
class Attended:
    """What one pixel of a sparse attention receives from every pixel.

    weights: (h, w), sum 1, over all rounds
    buckets: (r, h, w), the hash code of every pixel in every round
    """

    block: str
    weights: Float[Tensor, "h w"]
    buckets: Int[Tensor, "r h w"]


def channel_weights(model: nn.Module, image: Float[Tensor, "1 c h w"]) -> list[ChannelWeights]:
    """Of every CCLN block that has a local branch, in the order of the network.   (Liu et al. 2024, Fig. 2)

    Raises:
        ValueError: the network has no such block.
    """
    found = []
    for name, block, x in _inputs(model, image, CCLNBlock):
        if block.branch != "nonlocal":
            attention = block.channel_attention
            weights = attention.weights(x).flatten().sort(descending=True).values
            found.append(ChannelWeights(name, weights, _band(len(weights), attention.ratio)))
    if not found:
        raise ValueError(f"`model` of class {type(model).__name__} has no CCLN block with channel attention.")
    return found


def attended_pixels(model: nn.Module, image: Float[Tensor, "1 c h w"], pixel: tuple[int, int]) -> list[Attended]:
    """Of every non-local sparse attention, in the order of the network, for the pixel (row, column) of the input.

    Raises:
        ValueError: the network has no such attention; a pixel outside the image.
    """
    check_shape("image", image, "b c h w", b=1)
    row, column = pixel
    rows, columns = image.shape[2:]
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"`pixel` ({row}, {column}) must lie in the image of {rows} x {columns} pixels.")
    found = []
    for name, layer, x in _inputs(model, image, NonLocalSparseAttention):
        query, codes, plan = _plan(layer, x)
        width = x.shape[3]
        weights = _weights_of(query[0], plan, row * width + column)
        found.append(
            Attended(
                name,
                rearrange(weights, "(h w) -> h w", w=width),
                rearrange(codes[0], "r (h w) -> r h w", w=width),
            )
        )
    if not found:
        raise ValueError(f"`model` of class {type(model).__name__} has no non-local sparse attention.")
    return found


def _band(channels: int, ratio: float) -> int:
    """k of Eq. 4, as the loss has it."""
    return max(1, math.floor(ratio * channels + 1e-9))


@torch.no_grad()
def _inputs(model: nn.Module, image: Tensor, kind: type[ModuleT]) -> list[tuple[str, ModuleT, Tensor]]:
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


@torch.no_grad()
def _plan(layer: NonLocalSparseAttention, x: Tensor) -> tuple[Tensor, Tensor, LSHPlan]:
    """What the layer does in eval mode before it attends: (query, codes, plan)."""
    query = rearrange(layer.conv_match(x), "b e h w -> b (h w) e")
    codes = hash_codes(query, layer.rotations[..., : layer.n_buckets(query.shape[1]) // 2])
    return query, codes, make_plan(codes, chunk_size=layer.chunk_size)


def _weights_of(query: Float[Tensor, "n e"], plan: LSHPlan, token: int) -> Float[Tensor, " n"]:
    """Share of every token in what one token receives: exp(q_i . k_j) over all rounds and windows, normalised."""
    mine = query[token]
    chunks = plan.slots.shape[-1] // plan.chunk
    scores, met = [], []
    for slots, where in zip(plan.slots[0], plan.where[0], strict=True):
        chunk = int(where[token]) // plan.chunk
        by_chunk = rearrange(slots, "(k m) -> k m", m=plan.chunk)
        window = torch.cat([by_chunk[(chunk + step) % chunks] for step in (-1, 0, 1)])
        keys = query[window] / query[window].norm(dim=-1, keepdim=True).clamp_min(EPS)
        scores.append(keys @ mine)
        met.append(window)
    shares = torch.cat(scores).softmax(dim=0)
    return torch.zeros(len(query), dtype=shares.dtype, device=shares.device).index_add_(0, torch.cat(met), shares)
