"""SRFBN: a tiny released network, converted strictly in both directions."""

import torch
from golden.reader import assert_golden, cases, read

from cclnn.models import SRFBN
from cclnn.pretrained import convert_official, to_official


@cases("srfbn")
def test_golden_every_step_and_gradient(name):
    case = read(name)
    state, p = case.under("state."), case.params
    model = convert_official("auto", state, n_steps=p["num_steps"])
    assert isinstance(model, SRFBN)
    assert model.config["scale"] == p["scale"]
    assert model.config["n_groups"] == p["num_groups"]
    x = case["input.x"].requires_grad_()
    images = [image * 255 for image in model.steps(x / 255)]
    assert len(images) == 3
    for i, image in enumerate(images):
        assert_golden(image, case[f"output.step{i}"], float32=1e-5)
    assert torch.equal(model(x / 255) * 255, images[-1])
    sum((image * case[f"cotangent.step{i}"]).sum() for i, image in enumerate(images)).backward()
    assert_golden(x.grad, case["grad.x"], float32=1e-4)
    back = to_official(model)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_messages(rejects):
    with rejects("`scale` must be one of 2, 3, 4, 8, got 5"):
        SRFBN(5)
    with rejects("`rgb_range` must be positive, got 0"):
        SRFBN(rgb_range=0.0)
    with rejects("`state_dict` has no tensor for 'tail.weight'"):
        convert_official("srfbn", {"out.0.weight": torch.ones(2, 2, 6, 6)})
