"""Arguments and state dicts that networks refuse, and why."""

import re

import pytest
import torch

from cclnn.models import create_model
from cclnn.pretrained import convert_official, to_official


def at_least(least, argument, *names):
    """Cases of networks whose argument is one below the least."""
    message = f"`{argument}` must be at least {least}, got {least - 1}"
    return [pytest.param(name, {argument: least - 1}, message, id=f"{name}-{argument}") for name in names]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        *at_least(1, "channels", "pan", "a2n", "vdsr", "csnln", "dlnfn", "lnfsr"),
        *at_least(1, "n_blocks", "pan", "a2n", "dasr"),
        *at_least(1, "n_groups", "rcan", "dasr", "han"),
        *at_least(2, "n_groups", "rnan"),
        *at_least(1, "n_layers", "lnfsr"),
        *at_least(2, "n_layers", "vdsr"),
        *at_least(2, "n_steps", "dlnfn", "lnfsr"),
        *at_least(1, "n_affine", "dlnfn"),
        *at_least(1, "depth", "csnln"),
        *at_least(1, "kernel", "srcnn"),
        *(
            (name, {"rgb_range": 0.0}, "`rgb_range` must be positive, got 0")
            for name in ("pan", "a2n", "vdsr", "csnln", "srfbn", "dlnfn", "lnfsr")
        ),
        *((name, {"scale": 8}, "`scale` must be one of 2, 3, 4, got 8") for name in ("csnln", "dlnfn", "lnfsr")),
        ("srfbn", {"scale": 5}, "`scale` must be one of 2, 3, 4, 8, got 5"),
        ("srcnn", {"kernel": 4}, "`kernel` must be odd, got 4"),
        ("srcnn", {"colours": "yuv"}, "`colours` must be one of 'y', 'rgb', got 'yuv'"),
        ("csnln", {"channels": 3}, "`reduction`=2 must divide `channels`=3"),
        ("lnfsr", {"channels": 7}, "`reduction`=2 must divide `channels`=7"),
        ("dlnfn", {"reduction": 7}, r"`reduction`=7 must divide `2 \* channels`=128"),
        ("dasr", {"reduction": 7}, "`reduction`=7 must divide `channels`=64"),
    ],
)
def test_arguments_out_of_range(name, arguments, message, rejects):
    with rejects(message):
        create_model(name, **arguments)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("pan", "conv_last.weight", "no tensor for 'head.weight'; is it a PAN or an A2N"),
        ("a2n", "conv_last.weight", "no tensor for 'head.weight'; is it a PAN or an A2N"),
        ("vdsr", "sub_mean.bias", "no tensor for 'body.0.weight'; is it a VDSR"),
        ("srcnn", "conv1.weight", "no tensor for 'conv2.weight'; is it an SRCNN"),
        ("divanet", "exit1.bias", "no tensor for 'head.direction'; is it a DiVANet"),
        ("srfbn", "out.0.weight", "`state_dict` has no tensor for 'tail.weight'"),
    ],
)
def test_state_dicts_that_lack_what_is_read_off_them(name, key, message, rejects):
    with rejects(message):
        convert_official(name, {key: torch.zeros(3, 8, 3, 3)})


@pytest.mark.parametrize(
    ("name", "called", "lacking", "message"),
    [
        ("csnln", "auto", r"tail\.0\.weight", "`state_dict` has no tensor for 'tail.weight'; is it a CSNLN"),
        ("dasr", "dasr", r"G\.compress\.0\.weight", "has no tensor for 'represent.weight'; is it a DASR"),
        (
            "han",
            "han",
            r".*conv_du\.0\.weight",
            r"'body\.0\.blocks\.0\.attention\.squeeze\.weight'; is it an RCAN or a HAN",
        ),
    ],
)
def test_released_networks_that_lack_it(name, called, lacking, message, rejects):
    small = create_model(name, device="meta").architecture.small
    state = to_official(create_model(name, **small))
    rest = {key: tensor for key, tensor in state.items() if not re.fullmatch(lacking, key)}
    assert len(rest) < len(state)
    with rejects(message):
        convert_official(called, rest)


@pytest.mark.parametrize(
    ("name", "scale", "count"),
    [
        *(("csnln", scale, count) for scale, count in ((2, 51), (3, 51), (4, 84))),
        *(("dasr", scale, count) for scale, count in ((2, 469), (3, 469), (4, 471))),
        *(("han", scale, count) for scale, count in ((2, 1640), (3, 1640), (4, 1642))),
    ],
)
def test_number_of_tensors_is_that_of_the_released_code(name, scale, count):
    depth = {"depth": 2} if name == "csnln" else {}
    assert len(to_official(create_model(name, scale=scale, device="meta", **depth))) == count
