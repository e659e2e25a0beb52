"""LNFSR, reconstructed: each documented decision, written out; its mark as a reconstruction."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.cli.commands import cli
from cclnn.evaluation.complexity import count_parameters
from cclnn.layers import FeedbackBlock, SelfExemplarsMining
from cclnn.models import LNFSR, create_model

DOCS = Path(__file__).parents[2] / "docs"
SMALL = dict(LNFSR.architecture.small)
WIDTH = SMALL["channels"]
NOTE = "reconstruction from the abstract, not comparable with the published numbers"


def small(**arguments):
    """A small network in float64, with PReLU slopes that tell each from the others."""
    model = create_model("lnfsr", **{**SMALL, **arguments}).double().eval()
    for i, module in enumerate(m for m in model.modules() if isinstance(m, torch.nn.PReLU)):
        torch.nn.init.constant_(module.weight, 0.05 + 0.01 * i)
    return model


def image(*size):
    return torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def activate(sequence, *maps):
    """prelu(layer(x)) of a pair of modules, x the maps side by side, the slope taken from its only number."""
    layer, slope = sequence
    y = layer(torch.cat(maps, dim=1))
    return torch.where(y > 0, y, slope.weight * y)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_iteration_is_the_documented_formula(scale):
    model = small(scale=scale, n_steps=3)
    x = image(2, 3, 7, 5)
    features = activate(model.head[1], activate(model.head[0], x - model.add_mean.bias[:, None, None]))
    for_deep = for_feedback = for_mining = features
    expected, ufd = [], model.ufd
    for _ in range(3):
        deep = model.deep(for_deep)
        hidden = model.feedback(features, for_feedback)
        mined, large = model.mining(for_mining)
        fused = activate(ufd.fuse, activate(ufd.up[0], deep), activate(ufd.up[1], hidden), large)
        shared = activate(ufd.reduce, fused)
        for_deep, for_feedback, for_mining = (
            activate(deliver, own, shared) for deliver, own in zip(ufd.deliver, (deep, hidden, mined), strict=True)
        )
        mean = model.add_mean.bias[:, None, None]
        expected.append(F.conv2d(fused, model.tail.weight, model.tail.bias, padding=1) + mean)
    found = model.steps(x)
    assert len(found) == 3
    assert_close(found, expected)
    assert torch.equal(model(x), found[-1])
    assert not torch.allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_deep_block_is_vdsr_s_between_its_first_and_last_convolution():
    model = small()
    convs, x = model.deep.convs, image(2, WIDTH, 5, 7)
    branch = convs[2](convs[1](convs[0](x).clamp_min(0)).clamp_min(0))
    assert_close(model.deep(x), x + branch)
    assert len(create_model("lnfsr", device="meta").deep.convs) == len(create_model("vdsr", device="meta").body) - 2


def test_blocks_are_srfbn_s_and_csnln_s():
    model = create_model("lnfsr", scale=3, device="meta")
    assert type(model.feedback) is FeedbackBlock
    assert (model.feedback.n_groups, model.feedback.scale) == (6, 3)
    assert type(model.mining) is SelfExemplarsMining
    assert model.mining.scale == 3


def test_six_iterations_share_their_weights():
    assert create_model("lnfsr", device="meta").n_steps == 6
    counts = {count_parameters(create_model("lnfsr", n_steps=n, device="meta")) for n in (2, 6, 9)}
    assert len(counts) == 1


@pytest.mark.parametrize(("scale", "count"), [(2, 3_870_024), (3, 5_406_024), (4, 6_467_474)])
def test_parameters_by_hand(scale, count):
    """64 channels; SRFBN's kernels of 6, 7, 8 pixels, CSNLN's of 6 and 9, 8 in its second stage at x4."""

    def conv(c, d, k, slopes=1):
        return k * k * c * d + d + slopes

    resizing = conv(64, 64, {2: 6, 3: 7, 4: 8}[scale])
    stages = {2: (6,), 3: (9,), 4: (6, 8)}[scale]
    attentions = 2 * (2 * conv(64, 32, 1) + conv(64, 64, 1))
    fusion = attentions + conv(64, 64, {2: 6, 3: 9, 4: 6}[scale]) + conv(64, 64, 3) + conv(64, 64, 3, slopes=0)
    mining = sum(fusion + 2 * conv(64, 64, kernel) for kernel in stages) + conv(64, 64, stages[-1]) + conv(64, 64, 3)
    pointwise = sum(conv(64 * g, 64, 1) for g in range(2, 7))
    feedback = conv(128, 64, 1) + 2 * pointwise + conv(384, 64, 1) + 12 * resizing
    delivery = 3 * resizing + conv(192, 64, 1) + 3 * conv(128, 64, 1)
    head = conv(3, 64, 3) + conv(64, 64, 3)
    assert head + 18 * conv(64, 64, 3, slopes=0) + feedback + mining + delivery + conv(64, 3, 3, slopes=0) + 24 == count
    assert count_parameters(create_model("lnfsr", scale=scale, device="meta")) == count


@pytest.mark.parametrize(("block", "reaches"), [(0, False), (1, False), (2, True)], ids=["deep", "feedback", "mining"])
def test_only_the_block_of_attention_sees_the_whole_image(block, reaches):
    """Each block alone gives to the fusion; the far end of a long image changes the near end or does not."""
    model = small()
    with torch.no_grad():
        for other in {0, 1, 2} - {block}:
            model.ufd.fuse[0].weight[:, WIDTH * other : WIDTH * (other + 1)] = 0
    x = image(1, 3, 4, 90)
    changed = x.clone()
    changed[..., -4:] = 0
    with torch.no_grad():
        change = (model(x) - model(changed))[..., :8].abs().max()
    assert bool(change > 1e-9) is reaches


def test_delivery_takes_features_from_every_block_to_every_block():
    model = small()
    x = [torch.randn(1, WIDTH, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    large = torch.randn(1, WIDTH, 8, 10, dtype=torch.float64, requires_grad=True)
    _, delivered = model.ufd(*x, large)
    for i, d in enumerate(delivered):
        deep, hidden, mined, large_too = torch.autograd.grad(d.sum(), (*x, large), retain_graph=True, allow_unused=True)
        assert all(gradient.any() for gradient in (deep, hidden, large_too))
        assert (mined is not None) == (i == 2)  # what mining gives to the others is the large map


def test_nothing_of_the_image_is_added_at_the_end():
    model = small()
    torch.nn.init.zeros_(model.tail.weight)
    torch.nn.init.zeros_(model.tail.bias)
    y = model(image(1, 3, 5, 7))
    assert_close(y, model.add_mean.bias[:, None, None].expand_as(y))


def test_gradients_equal_finite_differences():
    model = small(channels=4, n_groups=1, n_layers=1)
    x = image(1, 3, 3, 4).requires_grad_()
    parameters = [model.deep.convs[0].bias, model.ufd.deliver[2][0].bias, model.tail.bias]
    assert torch.autograd.gradcheck(lambda *inputs: model(inputs[0]), (x, *parameters), fast_mode=True)


def test_a_few_steps_of_training_lower_the_error_of_every_iteration():
    torch.manual_seed(0)
    model = create_model("lnfsr", channels=16, n_layers=3, n_groups=2, n_steps=3)
    hr = torch.rand(4, 3, 1, 1).expand(4, 3, 12, 16) * torch.linspace(0.5, 1, 16)
    lr = F.avg_pool2d(hr, 2)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    errors = []
    for _ in range(20):
        each = torch.stack([F.l1_loss(found, hr) for found in model.steps(lr)])
        optimiser.zero_grad()
        each.mean().backward()
        optimiser.step()
        errors.append(each.detach())
    assert (errors[-1] < errors[0]).all()


def test_is_marked_as_a_reconstruction():
    record = LNFSR.architecture
    assert record.note == NOTE
    assert record.released is None
    assert NOTE in " ".join(LNFSR.__doc__.replace("**", "").split())
    rows = json.loads(CliRunner().invoke(cli, ["list", "--models", "--json"]).output)
    assert {row["model"]: row["paper"] for row in rows}["lnfsr"] == f"LNFSR: {NOTE}"
    section = (DOCS / "models.md").read_text().split("\n## LNFSR\n")[1].split("\n## ")[0]
    assert f"!!! warning\n    {NOTE}" in section
    quirks = " ".join((DOCS / "quirks.md").read_text().replace("**", "").split())
    assert "`lnfsr` and `dlnfn` are by the first author of the paper." in quirks
    assert NOTE.replace("reconstruction", "reconstructions", 1) in quirks


def test_messages(rejects):
    with rejects("`scale` must be one of 2, 3, 4, got 8"):
        LNFSR(8)
    with rejects("`n_steps` must be at least 2, got 1"):
        LNFSR(n_steps=1)
    with rejects("`n_layers` must be at least 1, got 0"):
        LNFSR(n_layers=0)
    with rejects("`channels` must be at least 1, got 0"):
        LNFSR(channels=0)
    with rejects("`rgb_range` must be positive, got 0"):
        LNFSR(rgb_range=0.0)
    with rejects("`reduction`=2 must divide `channels`=7"):
        LNFSR(channels=7)
