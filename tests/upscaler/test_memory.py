"""What a network is said to take is what it takes, and the tile follows from it."""

import pytest
import torch
from torch import nn

import cclnn
from cclnn.upscaler import memory
from cclnn.upscaler.memory import auto_tile, available, bytes_per_pixel

CPU = torch.device("cpu")


class Known(cclnn.models.SRModel):
    """Holds, at its peak, input-sized features of 12 and 20 channels and nothing else."""

    def __init__(self):
        super().__init__(1, {})
        self.widen, self.widen_more = nn.Conv2d(3, 12, 1, bias=False), nn.Conv2d(12, 20, 1, bias=False)

    def forward(self, x):
        features = self.widen_more(self.widen(x))
        return features[:, :3]


def test_measures_a_network_worked_out_by_hand():
    assert bytes_per_pixel(Known().eval(), torch.float32, CPU) == 4 * (12 + 20)


def test_a_forward_pass_of_another_size_takes_what_the_small_one_tells():
    """Per pixel a larger image of another shape takes what the probe took, and gives all but its result back."""
    model = cclnn.create_model("cclnn-t", scale=2, channels=16, n_resblocks=2).eval()
    told = bytes_per_pixel(model, torch.float32, CPU)
    x = torch.rand(1, 3, 112, 96).contiguous(memory_format=torch.channels_last)
    with memory._Held() as held, torch.inference_mode():
        model(x)
    assert held.peak / (112 * 96) == pytest.approx(told, rel=0.05)
    assert held.now < 2 * 4 * 3 * 4 * 112 * 96


def test_low_precision_is_measured_too():
    model = cclnn.EDSR(2, channels=16, n_resblocks=1).eval()
    assert bytes_per_pixel(model, torch.bfloat16, CPU) < 0.7 * bytes_per_pixel(model, torch.float32, CPU)


@pytest.mark.parametrize(
    ("cost", "at_hand", "least", "limit", "side"),
    [
        (1000, 1e12, 33, float("inf"), 512),
        (1000, 2 * 512 * 512 * 1000, 33, float("inf"), 512),
        (1000, 2 * 512 * 512 * 1000 - 1, 33, float("inf"), 384),
        (1000, 1e12, 33, 256 * 256 * 1000, 256),
        (1000, 1000, 33, float("inf"), 64),
        (1000, 1000, 81, float("inf"), 96),
        (1000, 1e12, 601, float("inf"), 601),
    ],
)
def test_the_tile_is_the_largest_that_fits(cost, at_hand, least, limit, side):
    assert auto_tile(cost, at_hand, least=least, limit=limit) == side


def test_a_container_has_its_limit(tmp_path):
    assert memory._of_the_group(tmp_path) == []
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("4096\n")
    assert memory._of_the_group(tmp_path) == []
    (tmp_path / "memory.max").write_text("10000\n")
    assert memory._of_the_group(tmp_path) == [10000 - 4096]


def test_memory_at_hand_is_that_of_the_machine(monkeypatch):
    monkeypatch.setattr(memory, "_of_the_machine", lambda: [5e9])
    monkeypatch.setattr(memory, "_of_the_group", lambda: [3e9])
    assert available(CPU) == 3e9
    monkeypatch.setattr(memory, "_of_the_machine", list)
    monkeypatch.setattr(memory, "_of_the_group", list)
    assert available(CPU) == memory.ASSUMED
