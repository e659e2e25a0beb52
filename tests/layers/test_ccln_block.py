"""The CCLN block: composed golden tensors, its two branches, its losses, errors."""

import pytest
import torch
from golden.composed import ccln
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.testing import assert_close

from cclnn.hub.renames import rename
from cclnn.layers import CCLNBlock
from cclnn.losses import channel_contrastive_loss, channel_sparsity_loss
from cclnn.models import CCLNN

BACKENDS = ["reference", "chunked"]


def block_of(case, backend):
    """The block with a golden file's weights, and the official name of each of its parameters."""
    params = case.params
    block = CCLNBlock(
        params["C"],
        reduction=params["reduction"],
        n_hashes=params["n_hashes"],
        chunk_size=params["chunk_size"],
        res_scale=params["res_scale"],
        backend=backend,
    )
    ours = {
        key: rename(f"body.0.{key}", CCLNN.architecture.released.renames).removeprefix("body.0.")
        for key in case.under("state.")
    }
    block.to(case["input.x"].dtype).load_state_dict({ours[key]: case[f"state.{key}"] for key in ours})
    block.nonlocal_attention.rotations = case.rotations()
    return block.eval(), {name: key for key, name in ours.items()}


@pytest.mark.parametrize("backend", BACKENDS)
@cases("ccln")
def test_golden_output_parts_and_gradients(name, backend):
    case = read(name)
    block, official = block_of(case, backend)
    x = case["input.x"].requires_grad_()
    seen = {}
    for part in ("pixel_attention", "nonlocal_attention", "channel_attention", "residual"):
        getattr(block, part).register_forward_hook(lambda _, __, out, part=part: seen.update({part: out}))
    y, loss = block(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    assert_golden(seen["pixel_attention"], case["inter.pa"], float32=1e-5)
    assert_golden(seen["nonlocal_attention"], case["inter.nlsa"], float32=1e-5)
    assert_golden(seen["channel_attention"][0], case["inter.cca"], float32=1e-5)
    assert_golden(seen["residual"], case["inter.local"], float32=1e-5)
    assert_golden(block.channel_attention.channel_weights(x).flatten(1), case["inter.w_ca"], float32=1e-5)
    assert_close(loss, channel_contrastive_loss(case["inter.w_ca"]), rtol=0, atol=1e-6)
    if "cotangent" in case:
        (y * case["cotangent"]).sum().backward()
        named = {official[key]: parameter for key, parameter in block.named_parameters()}
        assert_golden_gradients(case, x, named, float32=1e-5)


@cases("ccln")
def test_golden_order_of_pixels(name):
    case = read(name)
    block, _ = block_of(case, "auto")
    x, n = case["input.x"], case.params["H"] * case.params["W"]
    plan = block.nonlocal_attention.match(block.pixel_attention(x)).plan
    assert torch.equal(plan.slots[..., :n], case.order(rounds=case.params["n_hashes"], tokens=n))


@cases("ccln")
def test_the_oracle_reproduces_every_golden_file(name):
    """The stored gradients of the narrow case are trustworthy, as their program gives those of the other files too."""
    case = read(name)
    how = {"chunk": case.params["chunk_size"], "res_scale": case.params["res_scale"]}
    x, state, tokens = case["input.x"], case.under("state."), case.params["H"] * case.params["W"]
    if "cotangent" in case:
        found, _ = ccln.with_gradients(x, state, case["rot.0"][0], case["cotangent"], **how)
    else:
        found, _ = ccln.block(x, state, case["rot.0"][0], **how)
    assert torch.equal(found.pop("inter.sort_indices"), case["inter.sort_indices"] % tokens)
    for key, tensor in found.items():
        assert_golden(tensor, case[key].view_as(tensor), float32=1e-5)


def test_is_the_sum_of_both_branches():
    block = CCLNBlock(32).double().eval()
    x = torch.randn(2, 32, 5, 7, dtype=torch.float64)
    weighted, loss = block.channel_attention(x)
    y, block_loss = block(x)
    assert_close(y, block.nonlocal_attention(block.pixel_attention(x)) + block.residual(weighted))
    assert_close(block_loss, loss)


def with_weights_of(block, **arguments):
    """A block of other arguments that shares what weights it has with `block`."""
    other = CCLNBlock(block.channels, **arguments).eval()
    state = block.state_dict()
    other.load_state_dict({key: state[key] for key in other.state_dict()})
    return other


def test_local_branch_alone_is_residual_of_channel_attention():
    block = CCLNBlock(32).eval()
    local = with_weights_of(block, branch="local")
    x = torch.randn(2, 32, 5, 7)
    weighted, loss = block.channel_attention(x)
    y, local_loss = local(x)
    assert_close(y, block.residual(weighted))
    assert_close(local_loss, loss)
    assert {name for name, _ in local.named_children()} == {"channel_attention", "residual"}


def test_nonlocal_branch_alone_is_sparse_attention_of_pixel_attention():
    block = CCLNBlock(32).eval()
    nonlocal_ = with_weights_of(block, branch="nonlocal")
    x = torch.randn(2, 32, 5, 7)
    y, loss = nonlocal_(x)
    assert_close(y, block.nonlocal_attention(block.pixel_attention(x)))
    assert loss.shape == ()
    assert loss.item() == 0.0
    assert {name for name, _ in nonlocal_.named_children()} == {"pixel_attention", "nonlocal_attention"}


def test_sparsity_changes_the_loss_and_nothing_else():
    block = CCLNBlock(32).eval()
    x = torch.randn(2, 32, 5, 7)
    y, _ = block(x)
    weights = block.channel_attention.channel_weights(x).flatten(1)
    expected = {
        "contrastive": channel_contrastive_loss(weights),
        "l1": channel_sparsity_loss(weights),
        "none": torch.tensor(0.0),
    }
    for sparsity, loss in expected.items():
        other = with_weights_of(block, sparsity=sparsity)
        assert_close(other(x), (y, loss))
        assert other.state_dict().keys() == block.state_dict().keys()


def test_arguments_reach_their_parts():
    block = CCLNBlock(
        48, reduction=8, ratio=0.2, margin=0.5, match_reduction=3, n_hashes=5, chunk_size=7, res_scale=0.3, seed=9
    )
    assert block.channel_attention.squeeze.out_channels == 6
    assert (block.channel_attention.ratio, block.channel_attention.margin) == (0.2, 0.5)
    attention = block.nonlocal_attention
    assert (attention.embed_width, attention.n_hashes, attention.chunk_size) == (16, 5, 7)
    assert (attention.res_scale, attention.seed, block.residual.res_scale) == (0.3, 9, 0.3)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 200), (11, 13), (13, 17)])
@pytest.mark.parametrize("branch", ["both", "local", "nonlocal"])
def test_any_size_trains(branch, h, w):
    block = CCLNBlock(32, branch=branch).train()
    x = torch.randn(2, 32, h, w, requires_grad=True)
    y, loss = block(x)
    assert y.shape == x.shape
    (y.square().mean() + loss).backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=32 h w\), got \(2, 16, 5, 7\)"):
        CCLNBlock(32)(torch.rand(2, 16, 5, 7))
    with rejects(r"`x` must have shape \(b c=32 h w\), got \(32, 5, 7\)"):
        CCLNBlock(32)(torch.rand(32, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 32, 5, 0\)"):
        CCLNBlock(32)(torch.rand(2, 32, 5, 0))
    with rejects("`branch` must be one of 'both', 'local', 'nonlocal', got 'locl'. Did you mean 'local'?"):
        CCLNBlock(32, branch="locl")
    with rejects("`sparsity` must be one of 'contrastive', 'l1', 'none', got 'l2'"):
        CCLNBlock(32, sparsity="l2")
    with rejects("`reduction`=16 must divide `channels`=24"):
        CCLNBlock(24)
    with rejects("`match_reduction`=5 must divide `channels`=32"):
        CCLNBlock(32, match_reduction=5)
    with rejects("`ratio` must lie strictly between 0 and 0.5, got 0.5"):
        CCLNBlock(32, ratio=0.5)
