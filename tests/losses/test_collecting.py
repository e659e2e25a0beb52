"""Losses of blocks that pass on nothing but features."""

import pytest
import torch
from conftest import annotations_are_checked
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from cclnn.layers import (
    CCLNBlock,
    ChannelContrastiveAttention,
    EfficientNonLocalContrastiveAttention,
    NonLocalSparseAttention,
)
from cclnn.losses import collect_losses
from cclnn.models import CCLNN

KINDS = {
    "block": lambda **given: CCLNBlock(16, chunk_size=8, n_hashes=1, **given),
    "l1": lambda **given: CCLNBlock(16, chunk_size=8, n_hashes=1, sparsity="l1", **given),
    "channel attention": lambda **given: ChannelContrastiveAttention(16, **given),
    "contrastive attention": lambda **given: EfficientNonLocalContrastiveAttention(16, margin=9.0, **given),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def plain(blocks=2, **given):
    """A network that passes on features alone."""
    torch.manual_seed(0)
    made = (CCLNBlock(16, chunk_size=8, n_hashes=1, return_loss=False, **given) for _ in range(blocks))
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *made, nn.Conv2d(16, 3, 3, padding=1)).eval()


def x():
    return torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))


def expected():
    """Output, mean loss and gradients, by blocks that return their losses."""
    features, losses = x(), []
    model = plain()
    for layer in model:
        if isinstance(layer, CCLNBlock):
            layer.return_loss = True
            features, loss = layer(features)
            losses.append(loss)
        else:
            features = layer(features)
    loss = torch.stack(losses).mean()
    (features.square().mean() + loss).backward()
    return features.detach(), loss.detach(), [parameter.grad for parameter in model.parameters()]


def trained(model, run):
    """The same by `collect_losses` around `run`."""
    with collect_losses(model) as losses:
        y = run(x())
    loss = losses.mean()
    (y.square().mean() + loss).backward()
    return y.detach(), loss.detach(), [parameter.grad for parameter in model.parameters()]


@every_kind
def test_features_alone_or_with_the_loss(make):
    torch.manual_seed(0)
    both = make().train()
    torch.manual_seed(0)
    alone = make(return_loss=False).train()
    features = torch.rand(1, 16, 9, 10)
    torch.manual_seed(0)
    y, loss = both(features)
    for module in (both, alone):
        torch.manual_seed(0)
        with collect_losses(module) as losses:
            out = module(features)
        assert torch.equal(out[0] if module is both else out, y)
        assert_close(losses.each, [loss], rtol=0, atol=0)
        assert loss > 0


def test_sequential_trains_as_by_hand():
    assert_close(trained(model := plain(), model), expected(), rtol=0, atol=0)


def test_checkpointing():
    model = plain()
    run = trained(model, lambda x: checkpoint(model, x, use_reentrant=False))
    assert_close(run, expected(), rtol=0, atol=0)


def test_reentrant_checkpointing_would_lose_the_loss():
    model = plain().train()
    with collect_losses(model), pytest.raises(RuntimeError, match="use_reentrant=False keeps it"):
        checkpoint(model, x().requires_grad_(), use_reentrant=True)
    model.eval()
    with torch.no_grad(), collect_losses(model) as losses:
        model(x())
    assert losses.mean() > 0


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
def test_compiled(request):
    """With and without collecting, in any order; each call has losses of its own."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    torch._dynamo.reset()
    model = plain()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        compiled(x())
        for parameter in model.parameters():
            parameter.grad = None
        assert_close(trained(model, compiled), expected(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_distributed(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(plain())
        assert_close(trained(wrapped, wrapped), expected(), rtol=1e-6, atol=1e-7)
    finally:
        torch.distributed.destroy_process_group()


def test_a_part_of_a_block_is_not_counted_again():
    model = CCLNN(2, channels=16, n_resblocks=1).eval()
    with collect_losses(model) as losses:
        _, loss = model(x(), return_loss=True)
    assert len(losses.each) == 1
    assert torch.equal(losses.mean(), loss)


def test_nothing_is_kept_afterwards():
    model = plain()
    with pytest.raises(ZeroDivisionError), collect_losses(model):
        raise ZeroDivisionError
    with collect_losses(model) as losses:
        model(x())
    model(x())
    assert len(losses.each) == 2
    assert all(block.collected is None for block in model.modules() if isinstance(block, CCLNBlock))


def test_messages(rejects):
    with rejects("`module`: no block in this NonLocalSparseAttention has a loss of its own"):
        collect_losses(NonLocalSparseAttention(8)).__enter__()
    model = plain()
    with collect_losses(model) as losses:
        with pytest.raises(RuntimeError, match="no block with a loss has run inside `collect_losses` yet"):
            losses.mean()
        with pytest.raises(RuntimeError, match="are being collected already"):
            collect_losses(model[1]).__enter__()
