"""What the loop validates on, and what it says of an output that no one could look at."""

import json
import math

import pytest
import torch
from accelerate import Accelerator
from cclnn_training import loop
from cclnn_training.report import Report

import cclnn
from cclnn.attribution import attention_health
from cclnn.ops import rgb_to_y


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


def test_the_health_of_every_sparse_attention_is_logged(tmp_path):
    """As `attention_health` measures it on the middle of the image; a network without attention has none."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 100, 120), torch.rand(1, 3, 200, 240)
    model = cclnn.create_model("cclnn-s", channels=16, n_units=2)
    found = loop.health(model, lambda: image, torch.device("cpu"))
    crop = image[0][..., 2:98, 12:108], image[1][..., 4:196, 24:216]
    expected = attention_health(model, *crop).numbers()
    assert found == {f"attention/{name}": value for name, value in expected.items()}
    assert "psnr/zero" in expected
    assert loop.health(cclnn.EDSR(2, channels=8, n_resblocks=1), lambda: image, torch.device("cpu")) == {}

    report = Report(tmp_path, step=0, steps=1, silent=False)
    report.log(1, found)
    report.close()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, **found}


def test_lumas_error_is_that_of_y_over_the_full_range():
    """Y of BT.601 spans 219 of 255 grey levels."""
    generator = torch.Generator().manual_seed(0)
    sr, hr = torch.rand(2, 2, 3, 5, 6, generator=generator)
    expected = (rgb_to_y(sr) - rgb_to_y(hr)).abs().mean() * 255 / 219
    torch.testing.assert_close(loop.luma_error(sr, hr), expected, rtol=1e-4, atol=0)
