"""The memory that a network is estimated to take is what it takes, and the tile follows from it."""

import pytest
import torch
from torch import nn

import cclnn
from cclnn.upscaler import Upscaler, memory
from cclnn.upscaler.memory import Growth, auto_tile, budget, fit, measure

CPU = torch.device("cpu")


class Known(cclnn.models.SRModel):
    """Holds, at its peak, input-sized features of 12 and 20 channels and nothing else."""

    def __init__(self):
        super().__init__(1)
        self.widen, self.widen_more = nn.Conv2d(3, 12, 1, bias=False), nn.Conv2d(12, 20, 1, bias=False)

    def forward(self, x):
        features = self.widen_more(self.widen(x))
        return features[:, :3]


class Dense(cclnn.models.SRModel):
    """Dense attention: holds features of 4 channels, and scores of every pixel with every other."""

    def __init__(self):
        super().__init__(1)
        self.embed = nn.Conv2d(3, 4, 1, bias=False)

    def forward(self, x):
        tokens = self.embed(x).flatten(2)
        scores = tokens.mT @ tokens
        return scores[:, :3].reshape(x.shape)


def peak(model, height, width):
    x = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    held = memory._Held()
    with held, torch.inference_mode():
        model(x)
    return held.peak, held.now


def test_measures_a_network_worked_out_by_hand():
    assert measure(Known().eval(), torch.float32, CPU, limit=1e9) == Growth(4 * (12 + 20))


def test_measures_dense_attention_worked_out_by_hand():
    """Per pixel 4 channels of features, per pair of pixels one score."""
    growth = measure(Dense().eval(), torch.float32, CPU, limit=1e9)
    assert growth.quadratic == pytest.approx(4)
    assert growth.linear == pytest.approx(4 * 4)


@pytest.mark.parametrize(("height", "width"), [(112, 96), (37, 61)])
@pytest.mark.parametrize("model", [Known, Dense, lambda: cclnn.create_model("cclnn-t", channels=16, n_resblocks=2)])
def test_the_estimate_holds_for_other_sizes(model, height, width):
    """A larger image and one of another shape take what is estimated; what is not the result is given back."""
    model = model().eval()
    estimate = measure(model, torch.float32, CPU, limit=1e9)
    taken, held = peak(model, height, width)
    assert taken == pytest.approx(estimate(height * width), rel=0.05)
    assert held < 0.1 * taken + 2 * 4 * 3 * model.scale**2 * height * width


@pytest.mark.parametrize("mebibytes", [1, 3, 10, 30, 100, 700])
def test_the_tile_for_dense_attention_keeps_within_the_limit_and_so_do_the_probes(mebibytes, monkeypatch):
    """Probing never takes more than the limit, nor does the chosen tile, unless no tile of `SIDES` does."""
    limit, peaks, run = mebibytes * 2**20, [], memory._peak
    monkeypatch.setattr(memory, "_peak", lambda *given: peaks.append(run(*given)) or peaks[-1])
    model = Dense().eval()
    growth = measure(model, torch.float32, CPU, limit=limit)
    smallest = 4 * 64**4
    assert max(peaks) <= max(limit, smallest / 15)
    side = auto_tile(growth, limit, least=33)
    assert side == max([s for s in memory.SIDES if 4 * s**4 + 16 * s**2 <= limit], default=64)
    if side <= 96:
        assert peak(model, side, side)[0] <= max(limit, 1.01 * smallest)


def test_the_upscaler_takes_that_tile(monkeypatch):
    """512 pixels would take 256 GiB for their scores; 96 take 325 MiB, with 8 mirrored ones on either side 601 MiB."""
    monkeypatch.setattr("cclnn.upscaler.network.memory_at_hand", lambda device: 700 * 2**20)
    assert Upscaler(Dense(), precision="fp32").tile_side(2000, 3000) == 64
    assert Upscaler(Dense(), precision="fp32", edges="network").tile_side(2000, 3000) == 96


@pytest.mark.parametrize(
    ("linear", "quadratic", "fixed", "expected"),
    [
        (7, 0, 0, Growth(7)),
        (7, 0.5, 0, Growth(7, 0.5)),
        (0, 0.5, 0, Growth(0, 0.5)),
        (7, 0, 1e6, Growth(7 + 1e6 / 200)),  # what does not grow is spread over the pixels of the larger probe
    ],
)
def test_the_fit_is_exact_for_what_it_describes(linear, quadratic, fixed, expected):
    points = [(p, linear * p + quadratic * p**2 + fixed) for p in (100, 200)]
    assert fit(*points) == expected


def test_growth_beyond_the_square_counts_as_the_square():
    growth = fit((100, 100**3), (200, 200**3))
    assert growth == Growth(0, 200)


def test_low_precision_is_measured_too():
    model = cclnn.EDSR(2, channels=16, n_resblocks=1).eval()
    taken = {dtype: measure(model, dtype, CPU, limit=1e9).linear for dtype in (torch.bfloat16, torch.float32)}
    assert taken[torch.bfloat16] < 0.7 * taken[torch.float32]


@pytest.mark.parametrize(
    ("linear", "limit", "least", "side"),
    [
        (1000, 1e12, 33, 512),
        (1000, 512 * 512 * 1000, 33, 512),
        (1000, 512 * 512 * 1000 - 1, 33, 384),
        (1000, 256 * 256 * 1000, 33, 256),
        (1000, 1000, 33, 64),
        (1000, 1000, 81, 96),
        (1000, 1e12, 601, 601),
    ],
)
def test_the_tile_is_the_largest_that_fits(linear, limit, least, side):
    assert auto_tile(Growth(linear), limit, least=least) == side


def test_mirrored_pixels_count():
    assert auto_tile(Growth(1000), 544 * 544 * 1000, least=33, outside=16) == 512
    assert auto_tile(Growth(1000), 544 * 544 * 1000 - 1, least=33, outside=16) == 384


def test_the_budget_is_half_of_what_is_at_hand_and_bounded_on_a_cpu():
    assert budget(1e6, CPU) == 5e5
    assert budget(1e12, CPU) == memory.CPU_LIMIT
    assert budget(1e12, torch.device("cuda")) == 5e11
