"""What people do to trained layers: adapt them with a few weights, shard them."""

import multiprocessing
import socket

import pytest
import torch
from conftest import annotations_are_checked
from sharded import block, sharded
from torch import nn
from torch.nn.utils import parametrize
from torch.testing import assert_close

from cclnn.layers import CCLNBlock, EfficientNonLocalContrastiveAttention


class LowRank(nn.Module):
    """W + U V, the weight of a convolution as a matrix and a product of rank 1 (LoRA)."""

    def __init__(self, weight):
        super().__init__()
        self.up = nn.Parameter(torch.zeros(len(weight), 1))
        self.down = nn.Parameter(torch.randn(1, weight[0].numel()))

    def forward(self, weight):
        return weight + (self.up @ self.down).view_as(weight)


def test_low_rank_adapters_train_each_convolution_of_the_attention():
    module = block().requires_grad_(False)
    x = torch.randn(2, 8, 11, 7)
    before = module(x)[0]
    names = ("conv_match", "conv_assembly")
    for name in names:
        convolution = getattr(module.nonlocal_attention, name)
        parametrize.register_parametrization(convolution, "weight", LowRank(convolution.weight))
    adapters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    assert len(adapters) == 2 * len(names)
    assert torch.equal(module(x)[0], before)  # U begins at zero
    optimizer = torch.optim.SGD(adapters.values(), lr=0.1)
    module(x)[0].square().sum().backward()
    assert all(p.grad.any() for name, p in adapters.items() if name.endswith("up"))
    optimizer.step()
    after = module(x)[0]
    assert not torch.allclose(after, before)
    for name in names:
        parametrize.remove_parametrizations(getattr(module.nonlocal_attention, name), "weight")
    assert_close(module(x)[0], after)  # merged


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("kind", [CCLNBlock, EfficientNonLocalContrastiveAttention])
def test_programs_that_int8_quantisers_take_add_without_factors(kind, request):
    """torch's compiler drops `alpha` after a convolution in int8, and torchao takes additions that were recorded under
    one name for one: tests/integrations/test_quantisation.py.
    """
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    module = kind(16, return_loss=False, res_scale=0.1).eval()
    program = torch.export.export(module, (torch.rand(1, 16, 9, 7),))
    additions = [node for node in program.graph.nodes if node.target is torch.ops.aten.add.Tensor]
    assert additions
    assert not any("alpha" in node.kwargs for node in additions)
    names = [node.meta["torch_fn"][0] for node in additions]
    assert len(set(names)) == len(names)


@pytest.mark.filterwarnings("ignore")  # torch's own, of its CPU backend
def test_sharded_layers_have_the_gradients_of_the_whole(request):
    if annotations_are_checked(request.config):
        pytest.skip("annotations are checked in this process alone")
    context = multiprocessing.get_context("forkserver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = context.Queue()
    processes = [context.Process(target=sharded, args=(rank, port, results), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    found = results.get(timeout=120)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    module = block()
    torch.manual_seed(5)
    x = torch.randn(2, 8, 11, 7)
    for image in x.split(1):
        y, loss = module(image)
        ((y.square().sum() + loss) / 2).backward()  # gradients of shards are means over processes
    for name, parameter in module.named_parameters():
        assert_close(torch.from_numpy(found[name]), parameter.grad, rtol=1e-4, atol=1e-6)
    assert found.keys() == dict(module.named_parameters()).keys()
