"""The numbers of attention_health: against definitions written out token by token, and known extremes."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn import CCLNN, NLSN, create_model
from cclnn.attribution import attention_health, replaced_attention
from cclnn.layers import NonLocalSparseAttention
from cclnn.metrics import psnr

SMALL = {"channels": 16, "n_resblocks": 8, "chunk_size": 12, "n_hashes": 2}
COSINE = {"similarity": "cosine", "centre": True, "local_round": True}


class Alone(torch.nn.Module):
    """A network that is one attention between two reshapes: three channels in and out."""

    def __init__(self, **arguments):
        super().__init__()
        self.attention = NonLocalSparseAttention(3, reduction=1, **arguments)

    def forward(self, x):
        return self.attention(x)


def tokens_met(match, token):
    """Indices, with repetitions, of what a token meets, read off the plan slot by slot."""
    m, found = match.plan.chunk, []
    for slots, where in zip(match.plan.slots[0].tolist(), match.plan.where[0].tolist(), strict=True):
        chunks = [slots[start : start + m] for start in range(0, len(slots), m)]
        own = where[token] // m
        found += chunks[own - 1] + chunks[own] + chunks[(own + 1) % len(chunks)]
    return found


@pytest.mark.parametrize("options", [{}, COSINE, {**COSINE, "stride": 2}], ids=["dot", "cosine", "stride"])
def test_numbers_of_a_layer_are_their_definitions(options):
    model = Alone(n_hashes=2, chunk_size=5, **options).double().eval()
    image = torch.rand(1, 3, 9, 11, dtype=torch.float64)
    (found,) = attention_health(model, image, samples=10**6).layers
    match = model.attention.match(image)
    q, n = match.query[0], match.query.shape[1]
    scores = q @ (q / q.norm(dim=-1, keepdim=True)).mT
    participation, recall, met = [], [], []
    for i in range(n):
        multiplicity = torch.tensor(tokens_met(match, i)).bincount(minlength=n)
        weights = multiplicity * (scores[i] - scores[i].max()).exp()
        weights = weights / weights.sum()
        participation.append(1 / weights.square().sum().item())
        met.append((multiplicity > 0).sum().item())
        others = sorted((j for j in range(n) if j != i), key=lambda j: -scores[i, j].item())[:16]
        recall.append(sum(multiplicity[j].item() > 0 for j in others) / len(others))
    dense = [1 / row.softmax(dim=0).square().sum().item() for row in scores]
    cosines = [F.cosine_similarity(q[i], q[j], dim=0).item() for i in range(n) for j in range(n) if i != j]
    buckets = []
    for codes in match.codes[0]:
        share = codes.unique(return_counts=True)[1] / n
        buckets.append(math.exp(-(share * share.log()).sum().item()))
    assert found.tokens == n
    assert found.n_buckets == model.attention.n_buckets(n)

    def mean(values):
        return sum(values) / len(values)

    assert_close(found.participation, mean(participation))
    assert_close(found.met, mean(met))
    assert_close(found.dense, mean(dense))
    assert_close(found.recall, mean(recall))
    assert_close(found.cosine, mean(cosines))
    assert_close(found.buckets, mean(buckets), rtol=1e-6, atol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_interventions_replace_what_pixels_receive(stride):
    model = Alone(chunk_size=5, stride=stride, res_scale=0.1).double().eval()
    image = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    layer = model.attention
    values = layer.values(image)
    wanted = {
        "mean": layer.add(image, values.mean(dim=1, keepdim=True).repeat(1, values.shape[1], 1)),
        "own": layer.add(image, values),
        "zero": image,
    }
    before = model(image)
    found = attention_health(model, image, image.flip(2))
    for how, expected in wanted.items():
        with replaced_attention(model, how):
            assert_close(model(image), expected)
        assert_close(found.change[how], (expected - before).square().mean().sqrt().item())
    hr = image.flip(2)
    assert_close(found.psnr["none"], psnr(before, hr, border=1).item())
    assert_close(found.psnr["own"], psnr(wanted["own"], hr, border=1).item())
    assert torch.equal(model(image), before)


def test_equal_queries_fall_into_one_bucket_and_spread_over_all_they_meet():
    model = Alone(chunk_size=5, n_hashes=1).eval()
    torch.nn.init.zeros_(model.attention.conv_match.weight)
    torch.nn.init.ones_(model.attention.conv_match.bias)
    (found,) = attention_health(model, torch.rand(1, 3, 10, 10)).layers
    assert_close((found.buckets, found.cosine, found.dense), (1.0, 1.0, 100.0), rtol=1e-4, atol=0)
    assert_close((found.participation, found.met), (15.0, 15.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (13, 11)])
@pytest.mark.parametrize("kind", [CCLNN, NLSN])
def test_every_attention_of_a_network_at_any_size(kind, rows, columns):
    model = kind(2, **SMALL).train()
    before = copy.deepcopy(model.state_dict())
    image = torch.rand(1, 3, rows, columns)
    found = attention_health(model, image)
    blocks = [name for name, layer in model.named_modules() if isinstance(layer, NonLocalSparseAttention)]
    assert [layer.block for layer in found.layers] == blocks
    assert found.psnr is None
    numbers = found.numbers()
    assert all(math.isfinite(value) for value in numbers.values())
    assert {f"{blocks[1]}/recall", "change/zero"} <= numbers.keys()
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert attention_health(model, image) == found


def test_an_error_inside_leaves_the_layers_as_they_were():
    model = Alone()
    with pytest.raises(ZeroDivisionError), replaced_attention(model, "own"):
        raise ZeroDivisionError
    assert not model.attention._forward_hooks


def test_messages(rejects):
    image = torch.rand(1, 3, 7, 11)
    with rejects("`model` of class EDSR has no non-local sparse attention"):
        attention_health(create_model("edsr", channels=8, n_resblocks=1), image)
    with rejects(r"`hr` must have the shape of the model's output, \(1, 3, 7, 11\), got \(1, 3, 14, 22\)"):
        attention_health(Alone(), image, torch.rand(1, 3, 14, 22))
    with rejects("`how` must be one of 'mean', 'own', 'zero', got 'none'"), replaced_attention(Alone(), "none"):
        pass
    with rejects("`samples` must be at least 1, got 0"):
        attention_health(Alone(), image, samples=0)
    with rejects(r"`image` must have shape \(b=1 c h w\), got \(2, 3, 7, 11\)"):
        attention_health(Alone(), image.repeat(2, 1, 1, 1))


def test_results_beyond_black_and_white_are_measured_as_they_are_shown():
    """Early in training they are anything; a picture of them is clipped."""
    model = CCLNN(2, **SMALL).eval()
    model.tail[-1].bias.data += 4
    image, hr = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 24, 24)
    found = attention_health(model, image, hr)
    with torch.no_grad():
        expected = psnr(model(image).clamp(0, 1), hr, border=2).item()
    assert found.psnr["none"] == pytest.approx(expected)
