"""CCLNN and NLSN: where their attentions stand; CCLNN's loss and ablations."""

import pytest
import torch
from torch.testing import assert_close

from cclnn import load
from cclnn.layers import CCLNBlock, NonLocalSparseAttention, ResBlock
from cclnn.losses import channel_contrastive_loss, channel_sparsity_loss
from cclnn.models import CCLNN, NLSN


def tiny(scale=2, **arguments):
    return CCLNN(scale, **{"channels": 32, "n_resblocks": 8, **arguments}).eval()


def blocks_of(model):
    return [module for module in model.modules() if isinstance(module, CCLNBlock)]


@pytest.mark.parametrize(("network", "block"), [(CCLNN, CCLNBlock), (NLSN, NonLocalSparseAttention)])
@pytest.mark.parametrize(
    ("n_resblocks", "places"), [(32, [0, 9, 18, 27, 36]), (16, [0, 9, 18]), (8, [0, 9]), (9, [0, 9]), (7, [0])]
)
def test_attentions_stand_before_the_first_and_after_every_eighth_residual_block(network, block, n_resblocks, places):
    body = network(n_resblocks=n_resblocks, channels=16, device="meta").body
    assert [i for i, part in enumerate(body) if isinstance(part, block)] == places
    assert sum(isinstance(part, ResBlock) for part in body) == n_resblocks
    assert isinstance(body[-1], torch.nn.Conv2d)
    assert len(body) == n_resblocks + len(places) + 1
    attentions = [module for module in body.modules() if isinstance(module, NonLocalSparseAttention)]
    assert [attention.seed for attention in attentions] == list(range(len(places)))


OPTIONS = {"similarity": "cosine", "centre": True, "local_round": True, "stride": 2}


@pytest.mark.parametrize("kind", [NLSN, CCLNN])
def test_options_reach_every_attention_and_the_file(kind, tmp_path):
    model = kind(3, channels=16, n_resblocks=8, **OPTIONS).eval()
    attentions = [layer for layer in model.modules() if isinstance(layer, NonLocalSparseAttention)]
    assert len(attentions) == 2
    for attention in attentions:
        assert {name: getattr(attention, name) for name in OPTIONS} == OPTIONS
        attention.mean_query.copy_(torch.tensor([0.3, -0.2, 0.1, 0.25]))
    model.save_pretrained(tmp_path)
    x = torch.rand(1, 3, 11, 13)
    assert torch.equal(load(tmp_path)(x), model(x))


@pytest.mark.parametrize(("scale", "ratio"), [(2, 0.15), (3, 0.15), (4, 0.10), (8, 0.10)])
def test_ratio_of_the_paper_depends_on_the_scale(scale, ratio):
    model = tiny(scale)
    assert model.config["ratio"] == ratio
    assert [block.channel_attention.ratio for block in blocks_of(model)] == [ratio, ratio]
    assert tiny(scale, ratio=0.3).config["ratio"] == 0.3


def test_blocks_have_seeds_of_their_own():
    assert [block.nonlocal_attention.seed for block in blocks_of(tiny(seed=7))] == [7, 8]
    x = torch.rand(1, 3, 23, 29)
    model, other = tiny(), tiny(seed=7)
    other.load_state_dict(model.state_dict())
    assert not torch.equal(model(x), other(x))


def test_loss_is_the_mean_over_blocks_and_leaves_the_image_as_it_is():
    model = tiny()
    losses = []
    for block in blocks_of(model):
        block.register_forward_hook(lambda _, __, out: losses.append(out[1]))
    x = torch.rand(2, 3, 11, 13)
    sr, loss = model(x, return_loss=True)
    assert torch.equal(sr, model(x))
    assert loss.shape == ()
    assert_close(loss, (losses[0] + losses[1]) / 2)


@pytest.mark.parametrize("sparsity", ["contrastive", "l1", "none"])
def test_sparsity_is_the_loss_of_the_channel_weights(sparsity):
    model = tiny(sparsity=sparsity)
    expected = []
    for block in blocks_of(model):

        def record(block, inputs, _):
            weights = block.channel_attention.channel_weights(inputs[0]).flatten(1)
            match sparsity:
                case "contrastive":
                    expected.append(channel_contrastive_loss(weights, ratio=0.15))
                case "l1":
                    expected.append(channel_sparsity_loss(weights))
                case "none":
                    expected.append(torch.tensor(0.0))

        block.register_forward_hook(record)
    _, loss = model(torch.rand(2, 3, 11, 13), return_loss=True)
    assert_close(loss, torch.stack(expected).mean())


def test_sparsity_does_not_change_the_image():
    model, x = tiny(), torch.rand(1, 3, 11, 13)
    for sparsity in ("l1", "none"):
        other = tiny(sparsity=sparsity)
        other.load_state_dict(model.state_dict())
        assert_close(other(x), model(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("branch", ["local", "nonlocal"])
def test_branch_ablation_runs_that_branch_of_the_same_weights(branch):
    model, alone = tiny(), tiny(branch=branch)
    state = model.state_dict()
    alone.load_state_dict({key: state[key] for key in alone.state_dict()})

    def only(block, inputs, _):
        (x,) = inputs
        weighted, loss = block.channel_attention(x)
        if branch == "local":
            return block.residual(weighted), loss
        return block.nonlocal_attention(block.pixel_attention(x)), torch.zeros(())

    for block in blocks_of(model):
        block.register_forward_hook(only)
    x = torch.rand(2, 3, 11, 13)
    assert_close(alone(x, return_loss=True), model(x, return_loss=True))


@pytest.mark.parametrize("branch", ["local", "nonlocal"])
@pytest.mark.parametrize("sparsity", ["contrastive", "l1", "none"])
def test_every_ablation_trains_every_parameter_it_has(branch, sparsity):
    model = tiny(branch=branch, sparsity=sparsity).train()
    sr, loss = model(torch.rand(2, 3, 13, 17), return_loss=True)
    (sr.square().mean() + loss).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert (loss.item() == 0) == (sparsity == "none" or branch == "nonlocal")
    assert type(model)(**model.config).state_dict().keys() == model.state_dict().keys()


def test_messages(rejects):
    with rejects("`branch` must be one of 'both', 'local', 'nonlocal', got 'none'"):
        tiny(branch="none")
    with rejects("`sparsity` must be one of 'contrastive', 'l1', 'none', got 'l2'"):
        tiny(sparsity="l2")
    for ratio in (0.0, 0.5):
        with rejects(f"`ratio` must lie strictly between 0 and 0.5, got {ratio}"):
            tiny(ratio=ratio)
    with rejects("`reduction`=16 must divide `channels`=24"):
        tiny(channels=24)
    with rejects("`backend` must be one of 'auto', 'reference', 'chunked', 'portable', 'fused', got 'cuda'"):
        tiny(backend="cuda")


@pytest.mark.parametrize("low", ["bfloat16", "half", "double"])
def test_casting_there_and_back_keeps_the_rotations(low):
    model = tiny(seed=3)
    before = [block.nonlocal_attention.rotations.clone() for block in blocks_of(model)]
    getattr(model, low)()
    assert all(block.nonlocal_attention.rotations.dtype == torch.float32 for block in blocks_of(model))
    model.float()
    for block, rotations in zip(blocks_of(model), before, strict=True):
        assert torch.equal(block.nonlocal_attention.rotations, rotations)
    assert not [key for key in model.state_dict() if "rotations" in key]
