"""Compilers and exporters see one network for all image sizes."""

import random

import pytest
import torch
from conftest import annotations_are_checked
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
from torch.testing import assert_close

from cclnn.layers import CCLNBlock, NonLocalSparseAttention

SIZES = [(random.Random(i).randint(2, 60), random.Random(-i - 1).randint(2, 60)) for i in range(20)]
MAKE = {
    "attention": lambda: NonLocalSparseAttention(8, n_hashes=2, chunk_size=36),
    "portable": lambda: NonLocalSparseAttention(8, n_hashes=2, chunk_size=36, backend="portable"),
    "block": lambda: CCLNBlock(16, chunk_size=36),
}

every_layer = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def features_of(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
@pytest.mark.parametrize("training", [False, True])
@every_layer
def test_twenty_sizes_compile_at_most_three_times(make, training, request):
    """For the first size, then for any size, and once more where the buckets reach two."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    torch._dynamo.reset()
    module, counter = make().train(training), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for h, w in SIZES:
        x = torch.randn(2, module.channels, h, w)
        if training:
            features_of(compiled(x)).sum().backward()
        else:
            with torch.no_grad():
                assert_close(features_of(compiled(x)), features_of(module(x)), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 3


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@every_layer
def test_an_exported_layer_takes_other_sizes(make, request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    module = make().eval()
    any_size = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    program = export(module, (torch.randn(2, module.channels, 19, 23),), dynamic_shapes=any_size)
    assert not any("autocast" in str(node.target) for node in program.graph.nodes)
    for b, h, w in [(1, 1, 2), (2, 5, 5), (3, 6, 6), (1, 6, 7), (1, 40, 50), (2, 130, 20)]:
        x = torch.randn(b, module.channels, h, w)
        assert_close(features_of(program.module()(x)), features_of(module(x)), rtol=1e-5, atol=1e-5)


@every_layer
def test_runs_on_the_meta_device(make):
    """Shapes alone, as for counting operations."""
    module = make().to("meta")
    x = torch.empty(2, module.channels, 19, 23, device="meta")
    assert features_of(module(x)).shape == x.shape
