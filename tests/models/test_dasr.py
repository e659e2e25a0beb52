"""DASR: what its checkpoints hold beside the network, the encoder's part, blind training as documented."""

import re
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.losses import MomentumContrast
from cclnn.models import DASR, create_model
from cclnn.pretrained import convert_official, to_official

GUIDE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
SMALL = dict(DASR.architecture.small)


def test_what_only_training_needs_is_dropped():
    """The key encoder and the queue, which a state dict of the whole training model holds too."""
    model = create_model("dasr", **SMALL).eval()
    official = to_official(model)
    keys = {name.replace("encoder_q", "encoder_k"): x + 1 for name, x in official.items() if "encoder_q" in name}
    training = {**official, **keys, "E.queue": torch.rand(8, 24), "E.queue_ptr": torch.tensor([6])}
    for wrapped in (training, {f"module.{key}": tensor for key, tensor in training.items()}):
        again = convert_official("auto", wrapped)
        assert again.config == model.config
        assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_counters_are_dropped_by_name_alone(rejects):
    official = to_official(create_model("dasr", **SMALL))
    with rejects("must hold plain floating-point tensors, but 'E.pointer' is torch.int64"):
        convert_official("dasr", {**official, "E.pointer": torch.tensor([6])})


def test_the_encoder_sees_the_image_in_the_range_of_the_weights_and_decides_on_the_kernels():
    model = create_model("dasr", **SMALL).double().eval()
    x, other = torch.rand(2, 2, 3, 11, 9, dtype=torch.float64)
    features, _ = model.encoder(255 * x)
    assert_close(model.restore(x, features), model(x))
    assert not torch.allclose(model.restore(x, model.encoder(255 * other)[0]), model(x))
    v = F.leaky_relu(F.linear(features, model.represent.weight), 0.1)
    shifted = model.sub_mean(255 * x)
    deep = shallow = model.head(shifted)
    for group in model.body[:-1]:
        deep = group(deep, v)
    assert_close(model.add_mean(model.tail(shallow + model.body[-1](deep))) / 255, model(x))


def test_a_part_of_an_image_has_other_kernels_than_the_whole():
    model = create_model("dasr", **SMALL).double().eval()
    x = torch.rand(1, 3, 8, 40, dtype=torch.float64)
    x[..., 30:] = 0
    whole, part = model.encoder(255 * x)[0], model.encoder(255 * x[..., :30])[0]
    assert (whole - part).abs().max() > 1e-2 * whole.abs().max()


def test_training_gives_a_zero_that_depends_on_the_embedding():
    model = create_model("dasr", **SMALL).train()
    y, loss = model(torch.rand(2, 3, 9, 11), return_loss=True)
    assert loss == 0
    (y.mean() + loss).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.grad.any() for parameter in model.encoder.head.parameters())
    assert not model.eval()(torch.rand(2, 3, 9, 11), return_loss=True)[1].requires_grad


def test_momentum_contrast_trains_what_the_image_does_not():
    model = create_model("dasr", **SMALL).train()
    moco = MomentumContrast(model.encoder, width=8, queue_size=6)
    features, contrast = moco(model.encoder, 255 * torch.rand(2, 3, 9, 11), 255 * torch.rand(2, 3, 9, 11))
    (model.restore(torch.rand(2, 3, 9, 11), features).mean() + contrast).backward()
    assert all(parameter.grad.any() for parameter in model.encoder.head.parameters())


def test_the_documented_blind_training_runs():
    section = GUIDE.split("## Blind super-resolution\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    namespace = {}
    torch.manual_seed(0)
    exec(compile(code, "training.md", "exec"), namespace)
    assert namespace["restored"].shape == (1, 3, 48, 64)
    assert namespace["moco"].position == 0  # twice as many keys as the queue holds
    errors = namespace["errors"]
    assert sum(errors[-3:]) < sum(errors[:3])


def test_messages(rejects):
    model = create_model("dasr", **SMALL).eval()
    with rejects(r"`features` must have shape \(b=2 d=8\), got \(1, 8\)"):
        model.restore(torch.rand(2, 3, 5, 7), torch.rand(1, 8))
    with rejects(r"`x` must have shape \(b c=3 h w\), got \(2, 1, 5, 7\)"):
        model.restore(torch.rand(2, 1, 5, 7), torch.rand(2, 8))
