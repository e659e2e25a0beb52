"""Counts against hand counts, published ones and the reference attention; times and memory against the possible."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from cclnn import create_model
from cclnn.evaluation import cost
from cclnn.evaluation.complexity import input_size
from cclnn.evaluation.memory import peak_memory, with_peak
from cclnn.layers import (
    CrossScaleAttention,
    EfficientNonLocalContrastiveAttention,
    LayerAttention,
    NonLocalAttention,
    NonLocalBlock,
    NonLocalSparseAttention,
)
from cclnn.models.registry import ARCHITECTURES
from cclnn.ops._flops import formulas


def counted(model, size):
    return cost(model, size, repeats=0, memory=False)


def test_macs_of_edsr_by_hand():
    """3x3 convolutions of c=8 at 5 x 7, twice that at the tail; mean shifts of 3 x 3."""
    found = counted(create_model("edsr", scale=2, channels=8, n_resblocks=2), (5, 7))
    pixels = 5 * 7
    body = 9 * 8 * 8 * pixels * (2 * 2 + 1)
    tail = 9 * 8 * 32 * pixels + 9 * 8 * 3 * 4 * pixels
    assert found.macs == 9 * 3 * 8 * pixels + body + tail + 9 * pixels + 9 * 4 * pixels
    assert found.activations == pixels * (8 + 8 * 5 + 32) + 3 * 4 * pixels + 3 * pixels + 3 * 4 * pixels


def test_macs_of_the_released_edsr_baseline_are_the_published_ones():
    """316.3 G at x2 for a 1280x720 output (Ahn et al. 2018, CARN, Table 1)."""
    assert round(counted(create_model("edsr-baseline", scale=2), input_size(2)).macs / 1e9, 1) == 316.3


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (9, 11), (20, 20), (17, 26)])
def test_macs_of_the_attention_by_hand(rows, columns):
    """n = h w, s = n filled to chunks of 20: scores b r s 3m e, sums b r s 3m d, hashing n e r half."""
    layer = NonLocalSparseAttention(12, reduction=4, n_hashes=3, chunk_size=20)
    n = rows * columns
    m = min(20, n)
    s = -(-n // m) * m
    attention = 3 * s * 3 * m * (3 + 12)
    hashing = n * 3 * 3 * layer.n_buckets(n) // 2
    convolutions = n * (9 * 12 * 3 + 12 * 12)
    found = counted(On12(layer), (rows, columns))
    assert found.macs == attention + hashing + convolutions + n * 3 * 12
    assert found.activations == n * (12 + 3 + 12)


@pytest.mark.parametrize(("rows", "columns"), [(6, 10), (8, 4)])
def test_macs_of_cross_scale_attention_by_hand(rows, columns):
    """n = h w queries of e = 6, s = n / 4 keys, values of d = 12 for each pixel of a 2x2 block."""
    n = rows * columns
    convolutions = n * 12 * 6 + n // 4 * 12 * 6 + n * 12 * 12
    found = counted(On12(CrossScaleAttention(12, scale=2)), (rows, columns))
    assert found.macs == n * (n // 4) * (6 + 4 * 12) + convolutions + n * 3 * 12


class Convolutions(TorchFunctionMode):
    """Multiply-adds of the calls of convolutions and linear layers, from the shapes of what went in and came out."""

    macs = 0

    def __torch_function__(self, func, _types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, torch.conv3d, nn.functional.linear):
            self.macs += out.numel() * args[1][0].numel()
        elif func is torch.conv_transpose2d:
            self.macs += args[0].numel() * args[1][0].numel()
        return out


def products(layer, x, *_others):
    """Multiply-adds of an attention's scores, sums, hashes and random features for the input x, by its formula."""
    n = x.shape[-2] * x.shape[-1]
    match layer:
        case LayerAttention():
            return 2 * x.shape[1] ** 2 * x[0, 0].numel()
        case CrossScaleAttention(channels=c, scale=s):
            return n * (n // s**2) * (c // layer.reduction + s**2 * c)
        case NonLocalAttention(channels=c):
            return n * n * (c // layer.reduction + c)
        case NonLocalBlock():
            return n * n * 2 * layer.channels // layer.reduction
        case EfficientNonLocalContrastiveAttention(channels=c, n_features=m):
            return n * m * (2 * c // layer.reduction + 2 * c + 1)
        case NonLocalSparseAttention(channels=c, n_hashes=r):
            chunk, embedding = min(layer.chunk_size, n), c // layer.reduction
            slots = -(-n // chunk) * chunk
            return r * (slots * 3 * chunk * (embedding + c) + n * embedding * layer.n_buckets(n) // 2)
    return 0


@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_macs_of_every_model_are_its_convolutions_and_attentions(kind):
    """Counted on real tensors; of operators of our own none is left out."""
    model = kind(2, **kind.architecture.small).eval()
    luma = 3 * 480 if kind.architecture.input_channels == "y" else 0
    attended = []
    for layer in model.modules():
        layer.register_forward_hook(lambda layer, inputs, _: attended.append(products(layer, *inputs)))
    with torch.no_grad(), Convolutions() as convolutions, Operators() as operators:
        model(torch.rand(1, 3, 12, 10))
    expected = convolutions.macs + sum(attended) + luma
    assert counted(model, (12, 10)).macs == expected
    known = {str(operator) for operator in formulas()}
    assert operators.ours <= {*known, "cclnn.sort_tokens"}  # sorting is no multiply-add


class Operators(TorchDispatchMode):
    """Names of the operators of cclnn that ran."""

    def __init__(self):
        super().__init__()
        self.ours = set()

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        if func.namespace == "cclnn":
            self.ours.add(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


class On12(nn.Module):
    """Gives a layer of 12 channels an image's three: 3 x 12 multiply-adds a pixel."""

    def __init__(self, layer):
        super().__init__()
        self.widen = nn.Conv2d(3, 12, 1)
        self.layer = layer

    def forward(self, x):
        return self.layer(self.widen(x))


def test_macs_do_not_depend_on_the_backend():
    """torch looks into `reference`, which is einsum, and counts it itself, on real tensors; hashing by our formula."""
    reference = create_model("nlsn", channels=16, n_resblocks=1, backend="reference").eval()
    chunked = create_model("nlsn", channels=16, n_resblocks=1, backend="chunked")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference(torch.rand(1, 3, 19, 23))
    found = counted(chunked, (19, 23))
    assert found.macs == counted(reference, (19, 23)).macs == counter.get_total_flops() // 2


def test_macs_of_han_attentions_by_hand():
    """Groups + 1 maps: their products and mixtures; 27 for each number of the last map; the merging convolutions."""
    n, c, maps = 5 * 7, 8, 3
    small = {"channels": c, "n_groups": maps - 1, "n_blocks": 1, "reduction": 4}
    han, rcan = (counted(create_model(name, **small), (5, 7)) for name in ("han", "rcan"))
    attention = 2 * maps * maps * c * n + 27 * c * n
    assert han.macs - rcan.macs == attention + 9 * c * n * (maps * c + 2 * c)
    assert han.activations - rcan.activations == 3 * c * n


def test_macs_of_csnln_attentions_by_hand():
    """An odd size, padded to 6 x 8 by the cross-scale attention, with keys at half of it, values of 2 x 2 pixels."""
    n, padded, keys, c = 5 * 7, 6 * 8, 3 * 4, 12
    cross = padded * keys * (c // 2 + 4 * c) + padded * (c * c // 2 + c * c) + keys * c * c // 2
    assert counted(On12(CrossScaleAttention(12, scale=2)), (5, 7)).macs == cross + n * 3 * 12
    inside = n * n * (c // 2 + c) + n * 2 * c * c
    assert counted(On12(NonLocalAttention(12)), (5, 7)).macs == inside + n * 3 * 12


def test_blocks_sum_to_the_whole():
    found = cost(create_model("cclnn-t", channels=16, n_resblocks=8), (19, 23), repeats=2, memory=False)
    names = [block.name for block in found.blocks]
    assert names == ["sub_mean", "head", *(f"body.{i}" for i in range(11)), "tail.0", "tail.1", "add_mean"]
    for what in ("parameters", "macs", "activations"):
        assert sum(getattr(block, what) for block in found.blocks) == getattr(found, what), what
    assert found.blocks[2].kind == "CCLNBlock"
    assert 0 < found.seconds.fastest <= found.seconds.median <= found.seconds.slowest
    assert 0 < sum(block.seconds for block in found.blocks) < 2 * found.seconds.slowest


def test_counting_neither_computes_nor_changes():
    """Nothing is allocated for a large input, and the model is as before."""
    model = create_model("cclnn-t", channels=16, n_resblocks=1).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    small, large = counted(model, (100, 100)), counted(model, (400, 1000))
    assert 39 * small.macs < large.macs < 41 * small.macs
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_any_module_can_be_counted():
    found = counted(
        nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(5, 3, 2, stride=2)), (7, 9)
    )
    assert found.macs == 63 * (9 * 3 * 5 + 4 * 5 * 3)
    assert found.activations == 63 * (5 + 3 * 4)
    assert [block.name for block in found.blocks] == ["0", "1", "2"]


def test_peak_memory_is_that_of_the_call(monkeypatch):
    """In a fresh process, as a user measures; what this one holds does not matter."""
    monkeypatch.setattr("cclnn.evaluation.memory.subprocess", subprocess)
    held = torch.ones(300 * 2**20 // 4)
    peak = peak_memory(torch.nn.Conv2d(3, 64, 1), (1000, 1000))
    if peak is None:
        pytest.skip("this system does not report resident sets")
    assert 0.95 * 64e6 * 4 < peak < 2.2 * 64e6 * 4  # the output, at most doubled by a change of layout
    assert held.sum() > 0


def test_sizes_of_the_papers():
    assert [input_size(scale) for scale in (2, 3, 4)] == [(360, 640), (240, 427), (180, 320)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_peak_memory_of_networks_in_any_dtype(dtype):
    assert peak_memory(nn.Conv2d(3, 3, 1).to(dtype), (5, 7)) is not None


class Unimportable(nn.Identity):
    """Stands for a class of a script or notebook."""


def test_messages(rejects, monkeypatch):
    model = nn.Conv2d(3, 3, 1)
    with rejects("`size` must be at least 1, got 0"):
        counted(model, (0, 5))
    with rejects("`repeats` must be at least 0, got -1"):
        cost(model, (5, 5), repeats=-1)
    with rejects("`run` must be picklable to be measured in a process of its own"):
        peak_memory(lambda x: x, (5, 5))
    monkeypatch.setattr(sys.modules["__main__"], "Unimportable", Unimportable, raising=False)
    monkeypatch.setattr(Unimportable, "__module__", "__main__")
    with rejects("`run` must be of classes that another process can import, not of __main__: .*Unimportable"):
        peak_memory(Unimportable(), (5, 5))
    with rejects("the process that measures memory failed: .*expected input.* to have 7 channels", RuntimeError):
        peak_memory(nn.Conv2d(7, 3, 1), (5, 5))


def test_the_peak_of_a_call_in_this_process():
    """A GiB that the call fills counts, more than earlier tests have left to malloc; and the result comes."""
    _, before = with_peak(lambda: None)
    result, peak = with_peak(lambda: float(torch.ones(2**28).sum()))
    assert result == 2**28
    assert (peak is None and before is None) or peak - before > 2**29
