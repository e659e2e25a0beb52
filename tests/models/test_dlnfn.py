"""DLNFN, reconstructed: each documented decision, written out; its mark as a reconstruction."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.cli.commands import cli
from cclnn.evaluation.complexity import count_parameters
from cclnn.layers import CrossScaleAttention, FeedbackBlock, MutualAffineConv
from cclnn.models import DLNFN, create_model

DOCS = Path(__file__).parents[2] / "docs"
SMALL = dict(DLNFN.architecture.small)
NOTE = "reconstruction from the abstract, not comparable with the published numbers"


def small(**arguments):
    """A small network in float64, with PReLU slopes that tell each from the others."""
    model = create_model("dlnfn", **{**SMALL, **arguments}).double().eval()
    for i, module in enumerate(m for m in model.modules() if isinstance(m, torch.nn.PReLU)):
        torch.nn.init.constant_(module.weight, 0.05 + 0.01 * i)
    return model


def image(*size, seed=0):
    return torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def activate(sequence, x):
    """prelu(layer(x)) of a pair of modules, the slope taken from its only number."""
    layer, slope = sequence
    y = layer(x)
    return torch.where(y > 0, y, slope.weight * y)


def weights_of(block, features, fed_back):
    """softmax(W2 prelu(W1 m)), m the means of both maps."""
    means = torch.cat([features.mean(dim=(2, 3)), fed_back.mean(dim=(2, 3))], dim=1)
    hidden = activate(block.weigh.squeeze, means)
    scores = (hidden @ block.weigh.excite.weight.T + block.weigh.excite.bias).exp()
    return scores / scores.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_iteration_is_the_documented_formula(scale):
    model = small(scale=scale, n_steps=3)
    x = image(2, 3, 7, 5)
    shifted = x - model.add_mean.bias[:, None, None]
    features = shifted
    for layer in model.head:
        features = activate(layer, features)
    block, fed_back, expected = model.block, features, []
    for _ in range(3):
        local = activate(block.enlarge, block.local(features, fed_back))
        delivered = activate(block.deliver, torch.cat([features, fed_back], dim=1))
        distant = activate(block.adjust, block.attention(delivered))
        first, second = weights_of(block, features, fed_back).T[:, :, None, None, None]
        fused = first * local + second * distant
        fed_back = activate(block.reduce, fused)
        enlarged = F.interpolate(x, scale_factor=float(scale), mode="bilinear")
        expected.append(enlarged + F.conv2d(fused, model.tail.weight, model.tail.bias, padding=1))
    found = model.steps(x)
    assert len(found) == 3
    assert_close(found, expected)
    assert torch.equal(model(x), found[-1])
    assert not torch.allclose(found[0], found[1], rtol=0, atol=1e-9)


def test_in_block_is_a_convolution_and_four_mutual_affine_ones():
    model = create_model("dlnfn", device="meta")
    first, *others = (layer for layer, _ in model.head)
    assert (first.in_channels, first.out_channels, first.kernel_size) == (3, 64, (3, 3))
    assert [type(layer) for layer in others] == [MutualAffineConv] * 4


def test_branches_are_srfbn_s_block_and_csnln_s_attention():
    model = create_model("dlnfn", scale=3, device="meta")
    assert type(model.block.local) is FeedbackBlock
    assert (model.block.local.n_groups, model.block.local.scale) == (6, 3)
    assert type(model.block.attention) is CrossScaleAttention
    assert model.block.attention.scale == 3


def test_six_iterations_share_their_weights():
    assert create_model("dlnfn", device="meta").n_steps == 6
    counts = {count_parameters(create_model("dlnfn", n_steps=n, device="meta")) for n in (2, 6, 9)}
    assert len(counts) == 1


@pytest.mark.parametrize(("scale", "count"), [(2, 2_407_706), (3, 3_153_178), (4, 4_013_338)])
def test_parameters_by_hand(scale, count):
    """64 channels; kernels of 6, 7, 8 pixels; each PReLU has one slope."""

    def conv(c, d, k):
        return k * k * c * d + d + 1

    resizing = conv(64, 64, {2: 6, 3: 7, 4: 8}[scale])
    pointwise = sum(conv(64 * g, 64, 1) for g in range(2, 7))
    feedback = conv(128, 64, 1) + 2 * pointwise + conv(384, 64, 1) + 12 * resizing
    attention = 2 * conv(64, 32, 1) + conv(64, 64, 1)
    weights = conv(128, 8, 1) + 8 * 2 + 2
    block = weights + feedback + 2 * resizing + conv(128, 64, 1) + attention + conv(64, 64, 3)
    head = conv(3, 64, 3) + 4 * (21_728 + 1)
    assert head + block + 9 * 64 * 3 + 3 + 24 == count
    assert count_parameters(create_model("dlnfn", scale=scale, device="meta")) == count


def test_weights_differ_between_images_and_iterations_and_sum_to_one():
    model = small(n_steps=3)
    seen = []
    model.block.weigh.register_forward_hook(lambda *call: seen.append(call[-1]))
    model(torch.cat([image(1, 3, 7, 5), 0.2 * image(1, 3, 7, 5, seed=1)]))
    assert [weights.shape for weights in seen] == [(2, 2)] * 3
    for weights in seen:
        assert_close(weights.sum(dim=1), torch.ones(2, dtype=torch.float64))
        assert weights.min() > 0
        assert (weights[0] - weights[1]).abs().min() > 1e-6
    for before, after in pairwise(seen):
        assert (before - after).abs().min() > 1e-9


@pytest.mark.parametrize(("branch", "reaches"), [(0, False), (1, True)], ids=["local", "attention"])
def test_only_the_branch_of_attention_sees_the_whole_image(branch, reaches):
    """Given all the weight, each branch alone; the far end of a long image changes the near end or does not."""
    model = small()
    torch.nn.init.zeros_(model.block.weigh.excite.weight)
    with torch.no_grad():
        model.block.weigh.excite.bias.copy_(torch.tensor([900.0, -900.0]).roll(branch))
    x = image(1, 3, 4, 70)
    other = x.clone()
    other[..., -4:] = 0
    with torch.no_grad():
        change = (model(x) - model(other))[..., :8].abs().max()
    assert bool(change > 1e-9) is reaches


def test_gradients_equal_finite_differences():
    model = small(channels=4, n_groups=1, reduction=4)
    x = image(1, 3, 3, 4).requires_grad_()
    parameters = [model.block.weigh.excite.weight, model.head[1][0].convs[0].bias, model.tail.bias]
    assert torch.autograd.gradcheck(lambda *inputs: model(inputs[0]), (x, *parameters), fast_mode=True)


def test_a_few_steps_of_training_lower_the_error_of_every_iteration():
    torch.manual_seed(0)
    model = create_model("dlnfn", channels=16, n_groups=2, n_steps=3)
    hr = torch.rand(4, 3, 1, 1).expand(4, 3, 12, 16) * torch.linspace(0.5, 1, 16)
    lr = F.avg_pool2d(hr, 2)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    errors = []
    for _ in range(20):
        each = torch.stack([F.l1_loss(image, hr) for image in model.steps(lr)])
        optimiser.zero_grad()
        each.mean().backward()
        optimiser.step()
        errors.append(each.detach())
    assert (errors[-1] < errors[0]).all()


def test_is_marked_as_a_reconstruction():
    record = DLNFN.architecture
    assert record.note == NOTE
    assert record.released is None
    assert NOTE in " ".join(DLNFN.__doc__.replace("**", "").split())
    rows = json.loads(CliRunner().invoke(cli, ["list", "--models", "--json"]).output)
    assert {row["model"]: row["paper"] for row in rows}["dlnfn"] == f"DLNFN: {NOTE}"
    section = (DOCS / "models.md").read_text().split("\n## DLNFN\n")[1].split("\n## ")[0]
    assert f"!!! warning\n    {NOTE}" in section
    quirks = " ".join((DOCS / "quirks.md").read_text().replace("**", "").split())
    assert NOTE.replace("reconstruction", "reconstructions", 1) in quirks


def test_messages(rejects):
    with rejects("`scale` must be one of 2, 3, 4, got 8"):
        DLNFN(8)
    with rejects("`n_steps` must be at least 2, got 1"):
        DLNFN(n_steps=1)
    with rejects("`n_affine` must be at least 1, got 0"):
        DLNFN(n_affine=0)
    with rejects("`channels` must be at least 1, got 0"):
        DLNFN(channels=0)
    with rejects("`rgb_range` must be positive, got 0"):
        DLNFN(rgb_range=0.0)
    with rejects(r"`reduction`=7 must divide `2 \* channels`=128"):
        DLNFN(reduction=7)
