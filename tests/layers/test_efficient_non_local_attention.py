"""ENLCA: released tensors and loss gradients, the estimate against exact attention, small images, memory, errors."""

import math

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.layers import EfficientNonLocalContrastiveAttention
from cclnn.layers.efficient_non_local_attention import orthogonal_features


def official_name(key):
    if key == "projection":
        return "attn_fn.projection_matrix"
    module, kind = key.split(".")
    return f"{module}.0.{kind}"


@cases("enlca")
def test_golden_outputs_loss_and_gradients(name):
    case = read(name)
    layer = EfficientNonLocalContrastiveAttention(
        case.params["C"], res_scale=case.params["res_scale"], dtype=case["input.x"].dtype
    )
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    out, loss = layer(x)
    assert_golden(out, case["output.y"], float32=1e-5)
    assert_golden(loss, case["output.loss"], float32=1e-5)
    loss.backward()
    assert_golden(x.grad, case["grad_loss.x"], float32=1e-4)
    for key, expected in case.under("grad_loss.state.").items():
        parameter = layer.get_parameter(key.replace(".0.", "."))
        scale = max(1e-6, expected.abs().max().item())  # a bias of both sides alike has next to no gradient
        assert_golden(parameter.grad, expected, float32=1e-4, scale=scale)
    out, loss = layer.eval()(x)
    assert_golden(out, case["output.y_eval"], float32=1e-5)
    assert loss == 0


def test_many_features_estimate_attention_with_exponential_scores():
    """With a small amplification: the variance of the estimate grows exponentially with it."""
    layer = EfficientNonLocalContrastiveAttention(8, n_features=200_000, amplification=0.5, dtype=torch.float64).eval()
    x = torch.randn(2, 8, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        query, key = (
            F.normalize(conv(x).flatten(2).mT, dim=-1) * math.sqrt(0.5)
            for conv in (layer.conv_match1, layer.conv_match2)
        )
        value = layer.conv_assembly(x).flatten(2).mT
        exact = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        estimate = (layer(x)[0] - x).flatten(2).mT
    spread = (value - value.mean(dim=1, keepdim=True)).square().mean().sqrt()
    assert (estimate - exact).square().mean().sqrt() < 0.02 * spread


def test_loss_is_the_formula_over_all_scores():
    layer = EfficientNonLocalContrastiveAttention(8, margin=0.7, amplification=2.0, dtype=torch.float64)
    x = torch.randn(2, 8, 9, 10, dtype=torch.float64)
    query, key = (F.normalize(conv(x).flatten(2).mT, dim=-1) for conv in (layer.conv_match1, layer.conv_match2))
    rows = (2.0 * query @ key.mT).exp().sort(dim=2, descending=True).values
    ratio = rows[..., :15].mean(dim=2) / (rows[..., 50:65].mean(dim=2) + 1e-6)
    assert_close(layer(x)[1], (0.7 - ratio.log()).clamp_min(0).mean())


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 11), (8, 8)])
def test_loss_of_few_pixels_compares_the_largest_with_the_smallest_fifteen(size):
    layer = EfficientNonLocalContrastiveAttention(8, dtype=torch.float64)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    query, key = (F.normalize(conv(x).flatten(2).mT, dim=-1) for conv in (layer.conv_match1, layer.conv_match2))
    rows = (6.0 * query @ key.mT).exp().sort(dim=2, descending=True).values
    ratio = rows[..., :15].mean(dim=2) / (rows[..., -15:].mean(dim=2) + 1e-6)
    assert_close(layer(x)[1], (1.0 - ratio.log()).clamp_min(0).mean())


def test_loss_is_computed_in_training_or_when_asked_for():
    layer = EfficientNonLocalContrastiveAttention(8, margin=20.0)  # the hinge lets everything through
    x = torch.randn(2, 8, 9, 10)
    trained = layer(x)[1]
    assert trained > 0
    assert layer(x, with_loss=False)[1] == 0
    assert layer.eval()(x)[1] == 0
    assert torch.equal(layer(x, with_loss=True)[1], trained)


def test_features_are_drawn_from_the_seed_and_again_when_asked():
    first, same, other = (EfficientNonLocalContrastiveAttention(8, seed=seed).projection for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    layer = EfficientNonLocalContrastiveAttention(8, seed=1)
    layer.redraw(torch.Generator().manual_seed(2))
    assert torch.equal(layer.projection, other)
    assert "projection" in layer.state_dict()


def test_rows_of_a_block_of_features_are_orthogonal_with_lengths_of_gaussians():
    matrix = orthogonal_features(4000, 5, generator=torch.Generator().manual_seed(0)).double()
    gram = matrix[:5] @ matrix[:5].T
    assert_close(gram, torch.diag(gram.diag()), atol=1e-5, rtol=0)
    assert abs(matrix.square().sum(dim=1).mean() - 5) < 0.2  # chi-square with 5 degrees of freedom


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_does_not_overflow(low):
    layer = EfficientNonLocalContrastiveAttention(256).to(low)
    out, loss = layer(torch.randn(1, 256, 9, 10, dtype=low))
    assert out.dtype == low
    assert out.isfinite().all()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


class Run(torch.nn.Module):
    """The layer with its loss, in evaluation too; with `backward` also the gradients of both."""

    def __init__(self, layer, *, backward):
        super().__init__()
        self.widen = torch.nn.Conv2d(3, layer.channels, 1)
        self.layer = layer
        self.backward = backward

    def forward(self, x):
        with torch.set_grad_enabled(self.backward):
            out, loss = self.layer(self.widen(x), with_loss=True)
            if self.backward:
                (out.mean() + loss).backward()
        return out


@pytest.mark.parametrize(
    ("backward", "formula"),
    [
        (False, lambda n, c, m: 4 * n * (5 * c + 2 * m + 195) + 32 * 2**20),
        (True, lambda n, c, m: 4 * n * (12 * c + 10 * m + 390) + 64 * 2**20),
    ],
    ids=["forward", "with backward"],
)
def test_memory_with_the_loss_is_the_formula_of_the_docstring(backward, formula):
    """80x80 pixels: all scores of the loss at once would take 156 MiB, and as much again for their gradients."""
    layer = EfficientNonLocalContrastiveAttention(4, n_features=16)
    peak = peak_memory(Run(layer, backward=backward), (80, 80))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < formula(6400, 4, 16) + 30 * 2**20  # libraries that load with the first call


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(2, 5, 5, 7\)"):
        EfficientNonLocalContrastiveAttention(8)(torch.rand(2, 5, 5, 7))
    with rejects("`reduction`=4 must divide `channels`=6"):
        EfficientNonLocalContrastiveAttention(6)
    with rejects("`channels` must be at least 1, got 0"):
        EfficientNonLocalContrastiveAttention(0)
    with rejects("`n_features` must be at least 1, got 0"):
        EfficientNonLocalContrastiveAttention(8, n_features=0)
    with rejects("`amplification` must be positive, got 0"):
        EfficientNonLocalContrastiveAttention(8, amplification=0.0)
