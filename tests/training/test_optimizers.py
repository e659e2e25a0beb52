"""Muon and Adam together, against a decomposition and against torch's own."""

import copy

import pytest
import torch
from cclnn_training.optimizers import ITERATIONS, QUINTIC, MuonAdam, divide, make_optimizer, orthogonalise
from torch import nn
from torch.testing import assert_close

import cclnn
from cclnn.models import ARCHITECTURES, EDSR


@pytest.mark.parametrize("shape", [(2, 5, 11), (3, 11, 5), (1, 7, 7)])
def test_orthogonalise_is_the_quintic_of_the_singular_values(shape):
    """A decomposition, which the iteration does without, gives the same."""
    matrices = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        s = a * s + b * s**3 + c * s**5
    assert_close(orthogonalise(matrices), u @ torch.diag_embed(s) @ vh, rtol=1e-9, atol=1e-9)


def test_a_gradient_of_zero_moves_nothing():
    assert_close(orthogonalise(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


def test_the_first_step_of_muon_is_the_direction_of_the_gradient():
    kernel = nn.Parameter(torch.randn(8, 9, 3, 3, generator=torch.Generator().manual_seed(1)))
    before, kernel.grad = kernel.detach().clone(), torch.randn(8, 9, 3, 3, generator=torch.Generator().manual_seed(2))
    MuonAdam([kernel], [], muon_lr=0.5, lr=1.0).step()
    direction = orthogonalise(kernel.grad.flatten(1)[None])[0].view(8, 9, 3, 3)
    assert_close(before - kernel.detach(), 0.5 * 0.2 * 81**0.5 * direction)


def test_decay_bounds_what_equal_steps_make_grow():
    """With one direction for ever, the kernel ends where its decay is as large as the step."""
    kernel = nn.Parameter(torch.zeros(8, 10, dtype=torch.float64))
    optimizer = MuonAdam([kernel], [], muon_lr=0.1, lr=1.0, decay=0.5)
    gradient = torch.randn(8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for _ in range(600):
        kernel.grad = gradient
        optimizer.step()
    assert_close(kernel.detach(), -0.2 * 10**0.5 * orthogonalise(gradient[None])[0] / 0.5)


def test_muon_looks_ahead_along_its_running_mean():
    kernel = nn.Parameter(torch.zeros(8, 10))
    optimizer = MuonAdam([kernel], [], muon_lr=1.0, lr=1.0, momentum=0.9)
    one, two = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(3))
    kernel.grad = one
    optimizer.step()
    before, kernel.grad = kernel.detach().clone(), two
    optimizer.step()
    mean = 0.9 * 0.1 * one + 0.1 * two
    expected = 0.2 * 10**0.5 * orthogonalise((0.1 * two + 0.9 * mean)[None])[0]
    assert_close(before - kernel.detach(), expected)


def test_the_others_are_torchs_adam():
    ours = nn.Linear(5, 3)
    theirs = copy.deepcopy(ours)
    optimizers = (
        MuonAdam([], ours.parameters(), muon_lr=1.0, lr=0.01, betas=(0.8, 0.9)),
        torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.8, 0.9)),
    )
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(4))
    for _ in range(4):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()))


def test_muon_takes_the_kernels_of_the_trunk_alone():
    model = cclnn.create_model("cclnn-s", channels=16, n_units=2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices, others = ([names[id(parameter)] for parameter in part] for part in divide(model))
    assert sorted([*matrices, *others]) == sorted(names.values())
    assert {"body.0.0.weight", "body.1.residual.conv1.weight", "body.1.pixel_attention.conv.weight"} <= {*matrices}
    assert {"head.weight", "tail.weight", "body.0.0.bias", "body.1.channel_attention.squeeze.weight"} <= {*others}


def test_a_network_without_such_kernels_is_refused():
    with pytest.raises(ValueError, match="EDSR has no convolution of 8 channels or more before its upscaling"):
        make_optimizer(EDSR(2, channels=4, n_resblocks=1), kind="muon", lr=1.0, muon_lr=1.0, beta2=0.9)


@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_muon_trains_every_architecture(kind):
    model = kind(kind.architecture.scales[0], device="meta")
    matrices, others = divide(model)
    assert matrices
    assert not {id(kernel) for kernel in matrices} & {
        id(parameter) for name, parameter in model.named_parameters() if model.architecture.upscales(name)
    }
    assert len(matrices) + len(others) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_its_state_goes_on_from_a_checkpoint(kind):
    def make():
        torch.manual_seed(5)
        model = EDSR(2, channels=8, n_resblocks=1)
        return model, make_optimizer(model, kind=kind, lr=0.01, muon_lr=0.02, beta2=0.99)

    def step(model, optimizer, number):
        x = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    whole = make()
    for number in range(4):
        step(*whole, number)
    first, second = make(), make()
    for number in range(2):
        step(*first, number)
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(copy.deepcopy(first[1].state_dict()))
    for number in range(2, 4):
        step(*second, number)
    assert all(map(torch.equal, whole[0].parameters(), second[0].parameters()))
    assert [group["highest"] for group in second[1].param_groups] == ([0.01] if kind == "adam" else [0.02, 0.01])
