"""DLNFN and LNFSR, reconstructed: each documented decision, written out; their marks as reconstructions."""

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
from cclnn.layers import CrossScaleAttention, FeedbackBlock, MutualAffineConv, SelfExemplarsMining
from cclnn.models import DLNFN, LNFSR, create_model

DOCS = Path(__file__).parents[2] / "docs"
KINDS = {"dlnfn": DLNFN, "lnfsr": LNFSR}
WIDTH = LNFSR.architecture.small["channels"]
NOTE = "reconstruction from the abstract, not comparable with the published numbers"

both = pytest.mark.parametrize("name", KINDS)


def small(name, **arguments):
    """A small network in float64, with PReLU slopes that tell each from the others."""
    model = create_model(name, **{**KINDS[name].architecture.small, **arguments}).double().eval()
    for i, module in enumerate(m for m in model.modules() if isinstance(m, torch.nn.PReLU)):
        torch.nn.init.constant_(module.weight, 0.05 + 0.01 * i)
    return model


def image(*size, seed=0):
    return torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def activate(sequence, *maps):
    """prelu(layer(x)) of a pair of modules, x the maps side by side, the slope taken from its only number."""
    layer, slope = sequence
    y = layer(torch.cat(maps, dim=1))
    return torch.where(y > 0, y, slope.weight * y)


def weights_of(block, features, fed_back):
    """softmax(W2 prelu(W1 m)), m the means of both maps."""
    means = torch.cat([features.mean(dim=(2, 3)), fed_back.mean(dim=(2, 3))], dim=1)
    hidden = activate(block.weigh.squeeze, means)
    scores = (hidden @ block.weigh.excite.weight.T + block.weigh.excite.bias).exp()
    return scores / scores.sum(dim=1, keepdim=True)


def steps_of_dlnfn(model, x, scale):
    features = x - model.add_mean.bias[:, None, None]
    for layer in model.head:
        features = activate(layer, features)
    block, fed_back = model.block, features
    for _ in range(3):
        local = activate(block.enlarge, block.local(features, fed_back))
        delivered = activate(block.deliver, features, fed_back)
        distant = activate(block.adjust, block.attention(delivered))
        first, second = weights_of(block, features, fed_back).T[:, :, None, None, None]
        fused = first * local + second * distant
        fed_back = activate(block.reduce, fused)
        enlarged = F.interpolate(x, scale_factor=float(scale), mode="bilinear")
        yield enlarged + F.conv2d(fused, model.tail.weight, model.tail.bias, padding=1)


def steps_of_lnfsr(model, x, _):
    mean, ufd = model.add_mean.bias[:, None, None], model.ufd
    features = activate(model.head[1], activate(model.head[0], x - mean))
    for_deep = for_feedback = for_mining = features
    for _ in range(3):
        deep = model.deep(for_deep)
        hidden = model.feedback(features, for_feedback)
        mined, large = model.mining(for_mining)
        fused = activate(ufd.fuse, activate(ufd.up[0], deep), activate(ufd.up[1], hidden), large)
        shared = activate(ufd.reduce, fused)
        for_deep, for_feedback, for_mining = (
            activate(deliver, own, shared) for deliver, own in zip(ufd.deliver, (deep, hidden, mined), strict=True)
        )
        yield F.conv2d(fused, model.tail.weight, model.tail.bias, padding=1) + mean


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "steps_of", "apart"), [("dlnfn", steps_of_dlnfn, 1e-9), ("lnfsr", steps_of_lnfsr, 1e-6)]
)
def test_every_iteration_is_the_documented_formula(name, steps_of, apart, scale):
    model = small(name, scale=scale, n_steps=3)
    x = image(2, 3, 7, 5)
    found = model.steps(x)
    assert len(found) == 3
    assert_close(found, list(steps_of(model, x, scale)))
    assert torch.equal(model(x), found[-1])
    assert not torch.allclose(found[0], found[1], rtol=0, atol=apart)


def test_in_block_is_a_convolution_and_four_mutual_affine_ones():
    model = create_model("dlnfn", device="meta")
    first, *others = (layer for layer, _ in model.head)
    assert (first.in_channels, first.out_channels, first.kernel_size) == (3, 64, (3, 3))
    assert [type(layer) for layer in others] == [MutualAffineConv] * 4


@pytest.mark.parametrize(
    ("name", "local", "distant", "kind"),
    [
        ("dlnfn", "block.local", "block.attention", CrossScaleAttention),
        ("lnfsr", "feedback", "mining", SelfExemplarsMining),
    ],
)
def test_blocks_are_srfbn_s_and_csnln_s(name, local, distant, kind):
    model = create_model(name, scale=3, device="meta")
    feedback, attention = model.get_submodule(local), model.get_submodule(distant)
    assert type(feedback) is FeedbackBlock
    assert (feedback.n_groups, feedback.scale) == (6, 3)
    assert type(attention) is kind
    assert attention.scale == 3


def test_deep_block_is_vdsr_s_between_its_first_and_last_convolution():
    model = small("lnfsr")
    convs, x = model.deep.convs, image(2, WIDTH, 5, 7)
    branch = convs[2](convs[1](convs[0](x).clamp_min(0)).clamp_min(0))
    assert_close(model.deep(x), x + branch)
    assert len(create_model("lnfsr", device="meta").deep.convs) == len(create_model("vdsr", device="meta").body) - 2


@both
def test_six_iterations_share_their_weights(name):
    assert create_model(name, device="meta").n_steps == 6
    counts = {count_parameters(create_model(name, n_steps=n, device="meta")) for n in (2, 6, 9)}
    assert len(counts) == 1


def conv(c, d, k, slopes=1):
    """Parameters of a convolution and of the PReLU behind it, which has one slope."""
    return k * k * c * d + d + slopes


def feedback_block(scale):
    """Those of SRFBN's block: 64 channels, kernels of 6, 7, 8 pixels; and of one of its resizing layers."""
    resizing = conv(64, 64, {2: 6, 3: 7, 4: 8}[scale])
    pointwise = sum(conv(64 * g, 64, 1) for g in range(2, 7))
    return conv(128, 64, 1) + 2 * pointwise + conv(384, 64, 1) + 12 * resizing, resizing


@pytest.mark.parametrize(("scale", "count"), [(2, 2_407_706), (3, 3_153_178), (4, 4_013_338)])
def test_parameters_of_dlnfn_by_hand(scale, count):
    feedback, resizing = feedback_block(scale)
    attention = 2 * conv(64, 32, 1) + conv(64, 64, 1)
    weights = conv(128, 8, 1) + 8 * 2 + 2
    block = weights + feedback + 2 * resizing + conv(128, 64, 1) + attention + conv(64, 64, 3)
    head = conv(3, 64, 3) + 4 * (21_728 + 1)
    assert head + block + 9 * 64 * 3 + 3 + 24 == count
    assert count_parameters(create_model("dlnfn", scale=scale, device="meta")) == count


@pytest.mark.parametrize(("scale", "count"), [(2, 3_870_024), (3, 5_406_024), (4, 6_467_474)])
def test_parameters_of_lnfsr_by_hand(scale, count):
    """CSNLN's kernels of 6 and 9, 8 in its second stage at x4."""
    feedback, resizing = feedback_block(scale)
    stages = {2: (6,), 3: (9,), 4: (6, 8)}[scale]
    attentions = 2 * (2 * conv(64, 32, 1) + conv(64, 64, 1))
    fusion = attentions + conv(64, 64, {2: 6, 3: 9, 4: 6}[scale]) + conv(64, 64, 3) + conv(64, 64, 3, slopes=0)
    mining = sum(fusion + 2 * conv(64, 64, kernel) for kernel in stages) + conv(64, 64, stages[-1]) + conv(64, 64, 3)
    delivery = 3 * resizing + conv(192, 64, 1) + 3 * conv(128, 64, 1)
    head = conv(3, 64, 3) + conv(64, 64, 3)
    assert head + 18 * conv(64, 64, 3, slopes=0) + feedback + mining + delivery + conv(64, 3, 3, slopes=0) + 24 == count
    assert count_parameters(create_model("lnfsr", scale=scale, device="meta")) == count


def test_weights_differ_between_images_and_iterations_and_sum_to_one():
    model = small("dlnfn", n_steps=3)
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


def only_branch(model, branch):
    """All the weight to one of DLNFN's branches."""
    torch.nn.init.zeros_(model.block.weigh.excite.weight)
    model.block.weigh.excite.bias.copy_(torch.tensor([900.0, -900.0]).roll(branch))


def only_block(model, block):
    """Nothing to the fusion but what one of LNFSR's blocks gives."""
    for other in {0, 1, 2} - {block}:
        model.ufd.fuse[0].weight[:, WIDTH * other : WIDTH * (other + 1)] = 0


@pytest.mark.parametrize(
    ("name", "only", "part", "width"),
    [
        pytest.param("dlnfn", only_branch, 0, 70, id="dlnfn-local"),
        pytest.param("dlnfn", only_branch, 1, 70, id="dlnfn-attention"),
        pytest.param("lnfsr", only_block, 0, 90, id="lnfsr-deep"),
        pytest.param("lnfsr", only_block, 1, 90, id="lnfsr-feedback"),
        pytest.param("lnfsr", only_block, 2, 90, id="lnfsr-mining"),
    ],
)
def test_only_attention_sees_the_whole_image(name, only, part, width, request):
    """Each part alone; the far end of a long image changes the near end or does not."""
    model = small(name)
    x = image(1, 3, 4, width)
    changed = x.clone()
    changed[..., -4:] = 0
    with torch.no_grad():
        only(model, part)
        change = (model(x) - model(changed))[..., :8].abs().max()
    assert bool(change > 1e-9) is request.node.callspec.id.endswith(("attention", "mining"))


def test_delivery_takes_features_from_every_block_to_every_block():
    model = small("lnfsr")
    x = [torch.randn(1, WIDTH, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    large = torch.randn(1, WIDTH, 8, 10, dtype=torch.float64, requires_grad=True)
    _, delivered = model.ufd(*x, large)
    for i, d in enumerate(delivered):
        deep, hidden, mined, large_too = torch.autograd.grad(d.sum(), (*x, large), retain_graph=True, allow_unused=True)
        assert all(gradient.any() for gradient in (deep, hidden, large_too))
        assert (mined is not None) == (i == 2)  # what mining gives to the others is the large map


def test_nothing_of_the_image_is_added_at_the_end():
    model = small("lnfsr")
    torch.nn.init.zeros_(model.tail.weight)
    torch.nn.init.zeros_(model.tail.bias)
    y = model(image(1, 3, 5, 7))
    assert_close(y, model.add_mean.bias[:, None, None].expand_as(y))


@pytest.mark.parametrize(
    ("name", "arguments", "trained"),
    [
        ("dlnfn", {"reduction": 4}, ["block.weigh.excite.weight", "head.1.0.convs.0.bias", "tail.bias"]),
        ("lnfsr", {"n_layers": 1}, ["deep.convs.0.bias", "ufd.deliver.2.0.bias", "tail.bias"]),
    ],
)
def test_gradients_equal_finite_differences(name, arguments, trained):
    model = small(name, channels=4, n_groups=1, **arguments)
    x = image(1, 3, 3, 4).requires_grad_()
    parameters = [model.get_parameter(key) for key in trained]
    assert torch.autograd.gradcheck(lambda *inputs: model(inputs[0]), (x, *parameters), fast_mode=True)


@pytest.mark.parametrize(("name", "arguments"), [("dlnfn", {}), ("lnfsr", {"n_layers": 3})])
def test_a_few_steps_of_training_lower_the_error_of_every_iteration(name, arguments):
    torch.manual_seed(0)
    model = create_model(name, channels=16, n_groups=2, n_steps=3, **arguments)
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


@both
def test_is_marked_as_a_reconstruction(name):
    kind = KINDS[name]
    assert kind.architecture.note == NOTE
    assert kind.architecture.released is None
    assert NOTE in " ".join(kind.__doc__.replace("**", "").split())
    rows = json.loads(CliRunner().invoke(cli, ["list", "--models", "--json"]).output)
    assert {row["model"]: row["paper"] for row in rows}[name] == f"{kind.__name__}: {NOTE}"
    section = (DOCS / "models.md").read_text().split(f"\n## {kind.__name__}\n")[1].split("\n## ")[0]
    assert f"!!! warning\n    {NOTE}" in section
    quirks = " ".join((DOCS / "quirks.md").read_text().replace("**", "").split())
    assert "`lnfsr` and `dlnfn` are by the first author of the paper." in quirks
    assert NOTE.replace("reconstruction", "reconstructions", 1) in quirks
