"""The dense non-local block: released tensors, both softmaxes, memory, errors."""

import pytest
import torch
from einops import rearrange
from golden.reader import assert_golden, cases, read
from torch.testing import assert_close

from cclnn.evaluation.memory import peak_memory
from cclnn.layers import NonLocalBlock

OFFICIAL = {"query": "theta", "key": "phi", "value": "g", "out": "W"}


def official_name(key):
    module, kind = key.split(".")
    return f"{OFFICIAL[module]}.{kind}"


@cases("rnan_nonlocal")
def test_golden_output_and_gradients(name):
    case = read(name)
    layer = NonLocalBlock(case.params["C"], dtype=case["input.x"].dtype)
    layer.load_state_dict({key: case[f"state.{official_name(key)}"] for key in layer.state_dict()})
    x = case["input.x"].requires_grad_()
    y = layer(x)
    assert_golden(y, case["output.y"], float32=1e-5)
    (y * case["cotangent"]).sum().backward()
    assert_golden(x.grad, case["grad.x"], float32=1e-5)
    scale = (
        case["grad.x"].abs().max().item()
    )  # a bias of the query adds the same to all scores of a softmax: no gradient
    for key, parameter in layer.named_parameters():
        expected = case[f"grad.state.{official_name(key)}"]
        assert_golden(parameter.grad, expected, float32=1e-5, scale=max(scale, expected.abs().max().item()))


@pytest.mark.parametrize(("over", "axis"), [("keys", 2), ("queries", 1)])
def test_softmax_runs_over_the_axis_that_is_named(over, axis):
    layer = NonLocalBlock(6, over=over, dtype=torch.float64)
    torch.nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    query, key, value = (conv(x).flatten(2) for conv in (layer.query, layer.key, layer.value))
    weights = torch.einsum("ben,bem->bnm", query, key).softmax(dim=axis)
    attended = rearrange(torch.einsum("bnm,bem->ben", weights, value), "b e (h w) -> b e h w", h=5)
    assert_close(layer(x), x + layer.out(attended))


def test_starts_as_the_identity():
    layer = NonLocalBlock(6)
    assert not layer.out.weight.any()
    assert not layer.out.bias.any()


class Run(torch.nn.Module):
    """The block, with `backward` also the gradients of its output's mean."""

    def __init__(self, block, *, backward):
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Conv2d(3, block.channels, 1), block)
        self.backward = backward

    def forward(self, x):
        with torch.set_grad_enabled(self.backward):
            y = self.block(x)
            if self.backward:
                y.mean().backward()
        return y


@pytest.mark.parametrize(
    ("backward", "numbers", "constant"), [(False, 4 * 4 // 2 + 3 * 4, 32), (True, 16 * 4 // 2 + 3 * 4, 64)]
)
def test_memory_is_the_formula_of_the_docstring(backward, numbers, constant):
    """80x80 pixels: all scores at once would take 156 MiB, twice."""
    peak = peak_memory(Run(NonLocalBlock(4), backward=backward), (80, 80))
    if peak is None:
        pytest.skip("this system does not report the peak of a process")
    assert peak < 4 * 80 * 80 * numbers + (constant + 16) * 2**20  # libraries that load with the first call


def test_messages(rejects):
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(2, 5, 5, 7\)"):
        NonLocalBlock(6)(torch.rand(2, 5, 5, 7))
    with rejects("`reduction`=2 must divide `channels`=5"):
        NonLocalBlock(5)
    with rejects("`channels` must be at least 1, got 0"):
        NonLocalBlock(0)
    with rejects("`over` must be one of 'keys', 'queries', got 'rows'"):
        NonLocalBlock(6, over="rows")
