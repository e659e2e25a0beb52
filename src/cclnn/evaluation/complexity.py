"""What a network costs: parameters, multiply-adds, activations, memory, time; whole and block by block."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from cclnn._checks import check_at_least
from cclnn._mode import evaluating
from cclnn._typing import Tensor
from cclnn.evaluation.memory import peak_memory
from cclnn.layers.mean_shift import MeanShift

HD = (720, 1280)  # rows and columns of the output that papers count for


@dataclass(frozen=True)
class Spread:
    """Seconds over repeated calls."""

    median: float
    fastest: float
    slowest: float


@dataclass(frozen=True)
class BlockCost:
    """What one block of a network costs.

    macs:        multiply-adds of convolutions and matrix products, the attention's included
    activations: elements of the outputs of all convolutions and linear layers
    seconds:     median, None where not timed
    """

    name: str
    kind: str
    parameters: int
    macs: int
    activations: int
    seconds: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a network costs for one input of `size` (rows, columns).

    peak_bytes is the memory of one call beyond the weights and the input, in a fresh process; None where not measured.
    """

    size: tuple[int, int]
    parameters: int
    macs: int
    activations: int
    seconds: Spread | None
    peak_bytes: int | None
    blocks: tuple[BlockCost, ...]


def cost(model: nn.Module, size: tuple[int, int], *, repeats: int = 5, memory: bool = True) -> Cost:
    """Count a network without running it, then time it and measure its memory, in eval mode on its own device.

    MACs are half the operations that torch's flop counter finds in convolutions and matrix products, with the sparse
    attention counted as b r s 3m (e + d): every slot's scores with three chunks of keys, and the sums of their values.
    Attention between patches counts products of single positions, b n s (e + d): patches are sums of them.

    Args:
        model: any network from (1, 3, h, w) to an image, on one device.
        size: rows and columns of its input.
        repeats: timed calls after a first that is not; 0 does not run the network.
        memory: measure the peak in a fresh process; the model must then be picklable.

    Raises:
        ValueError: a size below 1, a negative number of repeats, a model that cannot be pickled.
    """
    check_at_least("repeats", repeats, 0)
    blocks, whole = _count(model, size)
    seconds = None
    if repeats:
        seconds, timed = _time(model, size, repeats)
        blocks = tuple(BlockCost(**{**vars(block), "seconds": timed[block.name]}) for block in blocks)
    device = _example(model, (1, 1)).device
    return Cost(
        size=size,
        parameters=whole.parameters,
        macs=whole.macs,
        activations=whole.activations,
        seconds=seconds,
        peak_bytes=peak_memory(model, size, device=str(device)) if memory else None,
        blocks=blocks,
    )


def count_parameters(model: nn.Module) -> int:
    """Elements of all parameters, and of the mean-shift buffers, which the released code counts."""
    shifts = [module for module in model.modules() if isinstance(module, MeanShift)]
    buffers = sum(buffer.numel() for shift in shifts for buffer in shift.buffers())
    return sum(parameter.numel() for parameter in model.parameters()) + buffers


def input_size(scale: int) -> tuple[int, int]:
    """Rows and columns of the input whose output is nearest to 720 x 1280, for which papers give multiply-adds."""
    rows, columns = HD
    return round(rows / scale), round(columns / scale)


def _count(model: nn.Module, size: tuple[int, int]) -> tuple[tuple[BlockCost, ...], BlockCost]:
    """Blocks and the whole, from shapes alone: nothing is computed."""
    for length in size:
        check_at_least("size", length, 1)
    operations, outputs = FlopCounterMode(display=False), _OutputCounter()
    hooks = [module.register_forward_pre_hook(outputs.entering(name)) for name, module in _blocks(model)]
    hooks += [module.register_forward_hook(outputs.leaving) for _, module in _blocks(model)]
    try:
        with evaluating(model), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), operations, outputs:
            model(_example(model, size))
    finally:
        for hook in hooks:
            hook.remove()
    flops = {name: sum(by_operator.values()) for name, by_operator in operations.get_flop_counts().items()}

    def describe(name: str, module: nn.Module, elements: int) -> BlockCost:
        key = ".".join(filter(None, (type(model).__name__, name)))
        return BlockCost(name, type(module).__name__, count_parameters(module), flops.get(key, 0) // 2, elements)

    whole = describe("", model, sum(outputs.elements.values()))
    return tuple(describe(name, module, outputs.elements[name]) for name, module in _blocks(model)), whole


class _OutputCounter(TorchFunctionMode):
    """Elements of the outputs of convolutions and linear layers, by the block that is running ("" outside all)."""

    LAYERS = (torch.conv2d, torch.conv3d, torch.conv_transpose2d, nn.functional.linear)

    def __init__(self) -> None:
        super().__init__()
        self.block = ""
        self.elements: Counter[str] = Counter()

    def entering(self, name: str) -> Callable[..., None]:
        return lambda *_: setattr(self, "block", name)

    def leaving(self, *_: Any) -> None:
        self.block = ""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in self.LAYERS:
            self.elements[self.block] += out.numel()
        return out


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model's children, those of a list or sequence one by one."""
    for name, child in model.named_children():
        if type(child) in (nn.ModuleList, nn.Sequential):
            yield from ((f"{name}.{i}", part) for i, part in child.named_children())
        else:
            yield name, child


def _example(model: nn.Module, size: tuple[int, int]) -> Tensor:
    like = next(model.parameters(), torch.empty(0))
    return torch.zeros(1, 3, *size, device=like.device, dtype=like.dtype)


def _time(model: nn.Module, size: tuple[int, int], repeats: int) -> tuple[Spread, dict[str, float]]:
    """Time the whole model, and the median of every block."""
    x = _example(model, size)

    def now() -> float:
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        return time.perf_counter()

    started: dict[str, float] = {}
    spent: dict[str, list[float]] = {}

    def start(name: str) -> Callable[..., None]:
        return lambda *_: started.__setitem__(name, now())

    def stop(name: str) -> Callable[..., None]:
        return lambda *_: spent.setdefault(name, []).append(now() - started[name])

    hooks = [
        hook
        for name, module in _blocks(model)
        for hook in (module.register_forward_pre_hook(start(name)), module.register_forward_hook(stop(name)))
    ]
    whole = []
    try:
        with evaluating(model), torch.no_grad():
            model(x)
            spent.clear()
            for _ in range(repeats):
                began = now()
                model(x)
                whole.append(now() - began)
    finally:
        for hook in hooks:
            hook.remove()
    timed = {name: median(spent.get(name, [0.0])) for name, _ in _blocks(model)}
    return Spread(median(whole), min(whole), max(whole)), timed
