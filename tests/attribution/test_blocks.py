"""What is shown of a block is what the block computes."""

import pytest
import torch
from torch.testing import assert_close

from cclnn import CCLNN, NLSN, create_model
from cclnn.attribution import attended_pixels, channel_weights
from cclnn.layers import NonLocalSparseAttention
from cclnn.losses import channel_contrastive_loss
from cclnn.ops import lsh_attention

SMALL = {"channels": 16, "n_resblocks": 8, "chunk_size": 20, "n_hashes": 3}


def inputs_of(model, name, image):
    """The input and output of one module during a forward pass."""
    seen = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, x, y: seen.append((x[0], y)))
    with torch.no_grad():
        model(image)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (7, 11), (5, 8), (4, 15), (13, 9)])
def test_the_weights_of_the_pixels_give_what_the_layer_gives(rows, columns):
    """sum_j w_j v_j + the residual is the layer's own output at that pixel: one, two, three chunks, padded or not."""
    model = NLSN(**SMALL).double().eval()
    image = torch.rand(1, 3, rows, columns, dtype=torch.float64)
    for row, column in [(0, 0), (rows - 1, columns - 1), (1, 2)]:
        found = attended_pixels(model, image, (row, column))
        assert [one.block for one in found] == ["body.0", "body.9"]
        for one in found:
            layer = model.get_submodule(one.block)
            x, y = inputs_of(model, one.block, image)
            value = layer.conv_assembly(x)
            attended = (value[0] * one.weights).sum(dim=(1, 2))
            assert_close(x[0, :, row, column] + layer.res_scale * attended, y[0, :, row, column])
            assert_close(one.weights.sum().item(), 1.0)
            assert one.buckets.shape == (3, rows, columns)
            assert one.buckets.max() < layer.n_buckets(rows * columns)


@pytest.mark.parametrize("stride", [2, 3])
def test_the_weights_are_those_of_pixels_where_tokens_are_larger(stride):
    """Pixels of a token share its weight; numbers of tokens at odd sizes are repeated and cut."""
    model = NLSN(**SMALL).double().eval()
    model.body[0] = NonLocalSparseAttention(
        16, chunk_size=5, stride=stride, similarity="cosine", centre=True, local_round=True, dtype=torch.float64
    ).eval()
    image = torch.rand(1, 3, 7, 11, dtype=torch.float64)
    one = attended_pixels(model, image, (4, 5))[0]
    layer = model.body[0]
    x, _ = inputs_of(model, "body.0", image)
    match = layer.match(x)
    attended = lsh_attention(match.query, layer.values(x), match.plan)[0, 4 // stride * match.size[1] + 5 // stride]
    weights = one.weights[::stride, ::stride]
    assert one.weights.shape == (7, 11)
    assert_close(one.weights.sum().item(), 1.0)
    expected = (weights / weights.sum()).flatten() @ layer.values(x)[0]
    assert_close(expected, attended)
    assert torch.equal(one.buckets[:, ::stride, ::stride].flatten(1), match.codes[0])


def test_a_small_bucket_is_met_as_a_whole():
    """Tokens nearer than a chunk in sorted order meet: all of a bucket of at most `chunk_size` pixels."""
    model = NLSN(channels=16, n_resblocks=1, chunk_size=40, n_hashes=1).eval()
    image = torch.rand(1, 3, 11, 13)
    (one,) = attended_pixels(model, image, (0, 0))
    rarest = one.buckets.flatten().bincount().where(one.buckets.flatten().bincount() > 0, 999).argmin()
    members = (one.buckets[0] == rarest).nonzero()
    assert 1 < len(members) <= 40
    for row, column in members.tolist():
        (one,) = attended_pixels(model, image, (row, column))
        assert (one.weights[members[:, 0], members[:, 1]] > 0).all()
        assert (one.weights == 0).any()


def test_channel_weights_are_those_of_the_loss():
    model = CCLNN(**SMALL, ratio=0.29).eval()
    image = torch.rand(1, 3, 7, 11)
    found = channel_weights(model, image)
    assert [one.block for one in found] == ["body.0", "body.9"]
    for one in found:
        x, (_, loss) = inputs_of(model, one.block, image)
        expected = model.get_submodule(one.block).channel_attention.channel_weights(x)
        assert_close(one.weights, expected.flatten().sort().values.flip(0))
        assert_close(channel_contrastive_loss(one.weights[None], ratio=0.29), loss)
        top, bottom = one.weights[: one.band], one.weights[-one.band :]
        assert_close(bottom.exp().mean().log() - top.exp().mean().log() + 1, loss)


@pytest.mark.parametrize("sparsity", ["l1", "none"])
def test_blocks_without_the_contrastive_loss_have_weights_too(sparsity):
    model = CCLNN(channels=16, n_resblocks=1, sparsity=sparsity)
    (one,) = channel_weights(model, torch.rand(1, 3, 7, 11))
    assert len(one.weights) == 16
    assert (one.weights.diff() <= 0).all()


def test_looking_changes_nothing():
    model = create_model("cclnn-t", n_resblocks=1, channels=16).train()
    attended_pixels(model, torch.rand(1, 3, 7, 11), (1, 2))
    channel_weights(model, torch.rand(1, 3, 7, 11))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_messages(rejects):
    image = torch.rand(1, 3, 7, 11)
    edsr = create_model("edsr", channels=8, n_resblocks=1)
    with rejects("`model` of class EDSR has no CCLN block with channel attention"):
        channel_weights(edsr, image)
    with rejects("`model` of class EDSR has no non-local sparse attention"):
        attended_pixels(edsr, image, (0, 0))
    with rejects("`model` of class CCLNN has no CCLN block with channel attention"):
        channel_weights(CCLNN(channels=16, n_resblocks=1, branch="nonlocal"), image)
    with rejects(r"`pixel` \(7, 0\) must lie in the image of 7 x 11 pixels"):
        attended_pixels(edsr, image, (7, 0))
    with rejects(r"`image` must have shape \(b=1 c h w\), got \(2, 3, 7, 11\)"):
        attended_pixels(edsr, image.repeat(2, 1, 1, 1), (0, 0))
