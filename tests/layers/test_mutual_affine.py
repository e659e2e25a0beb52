"""MAConv: released tensors, three parts as a formula."""

import torch
from golden.reader import assert_golden_layer, cases, load_official, read
from torch.testing import assert_close

from cclnn.layers import MutualAffineBlock, MutualAffineConv

NAMES = {
    f"conv{i}.{ours}.{part}": f"res.{place}.{theirs}{part}"
    for i, place in ((1, 0), (2, 2))
    for ours, theirs in (("affine", "fc"), ("convs", "conv"))
    for part in (0, 1)
}


@cases("maconv")
def test_golden_block(name):
    case = read(name)
    p = case.params
    block = MutualAffineBlock(p["C"], splits=p["split"], reduction=p["reduction"])
    load_official(case, block, NAMES)
    assert_golden_layer(case, block, NAMES)


def test_every_part_is_scaled_and_shifted_by_the_others():
    layer = MutualAffineConv(6, splits=3).double()
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    for i, others in enumerate(([2, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 3])):
        made = layer.affine[i](x[:, others])
        part = x[:, 2 * i : 2 * i + 2]
        assert_close(layer(x)[:, 2 * i : 2 * i + 2], layer.convs[i](part * made[:, :2].sigmoid() + made[:, 2:]))


def test_parameters_are_those_of_the_released_layers():
    assert sum(parameter.numel() for parameter in MutualAffineConv(64).parameters()) == 21_728
    assert sum(parameter.numel() for parameter in MutualAffineBlock(64).parameters()) == 43_456


def test_messages(rejects):
    with rejects("`splits`=4 must divide `channels`=6"):
        MutualAffineConv(6, splits=4)
    with rejects("`splits` must be at least 2, got 1"):
        MutualAffineConv(6, splits=1)
    with rejects("`reduction` must lie between 1 and the 3 channels of the other parts, got 4"):
        MutualAffineConv(6, reduction=4)
    with rejects("`kernel_size` must be odd and positive, got 2"):
        MutualAffineConv(6, kernel_size=2)
    with rejects(r"`x` must have shape \(b c=6 h w\), got \(1, 4, 5, 7\)"):
        MutualAffineConv(6)(torch.rand(1, 4, 5, 7))
