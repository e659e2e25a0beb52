"""What the loop validates on, and what it says of an output that no one could look at."""

import math

import pytest
import torch
from accelerate import Accelerator
from cclnn_training import loop
from cclnn_training.report import Report

import cclnn


@pytest.mark.parametrize(("bias", "finite"), [(0.0, True), (9.0, True), (math.nan, False), (math.inf, False)])
def test_any_finite_output_has_a_score(tmp_path, bias, finite):
    """Early in training it may be far outside [0, 1]: it is clipped, as a picture would be."""
    model = cclnn.EDSR(2, channels=8, n_resblocks=1)
    model.tail[-1].bias.data += bias
    generator = torch.Generator().manual_seed(0)
    images = [lambda: (torch.rand(1, 3, 12, 12, generator=generator), torch.rand(1, 3, 24, 24, generator=generator))]
    report = Report(tmp_path, step=0, steps=1, silent=True)
    scores = loop.validate(model, images, report, 1, Accelerator(cpu=True), torch.float32)
    assert [math.isfinite(score) for score in scores] == [finite, finite]
    assert model.training
