"""Learning rates against torch's schedulers."""

import pytest
import torch
from cclnn_training.schedules import cosine, halving, one_cycle, schedule
from cclnn_training.settings import parse
from torch.optim import lr_scheduler


def rates(make, steps):
    """What a torch scheduler gives for steps 1, 2, ... with a highest rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_halving_is_step_lr():
    expected = rates(lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.5), 40)
    assert [halving(step, 7) for step in range(1, 41)] == expected


def test_cosine_is_cosine_annealing_lr():
    """Ours is one step ahead: its last step has the lowest rate, torch's would be the one after."""
    expected = rates(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.01), 41)[1:]
    assert [cosine(step, 40) for step in range(1, 41)] == pytest.approx(expected)


@pytest.mark.parametrize("steps", [10, 33, 200])
def test_one_cycle_is_one_cycle_lr(steps):
    expected = rates(lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps + 1), steps + 1)
    with_last = [one_cycle(step, steps + 1) for step in range(1, steps + 2)]
    assert with_last == pytest.approx(expected)


@pytest.mark.parametrize("name", ["steps", "cosine"])
def test_warm_up_then_the_schedule(name):
    arguments = [
        "--data",
        "x",
        "--out",
        "y",
        "--schedule",
        name,
        "--steps",
        "50",
        "--warmup",
        "10",
        "--decay-every",
        "20",
    ]
    factor = schedule(parse(arguments))
    assert [factor(step) for step in range(1, 11)] == pytest.approx([step / 10 for step in range(1, 11)])
    later = {"steps": lambda step: halving(step, 20), "cosine": lambda step: cosine(step, 40)}[name]
    assert [factor(step) for step in range(11, 51)] == [later(step) for step in range(1, 41)]


def test_one_cycle_warms_up_by_itself():
    shape = ["--schedule", "one-cycle", "--steps", "50", "--warmup", "10"]
    factor = schedule(parse(["--data", "x", "--out", "y", *shape]))
    assert [factor(step) for step in range(1, 51)] == [one_cycle(step, 50) for step in range(1, 51)]
