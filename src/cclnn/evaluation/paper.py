"""The results that the paper reports (Liu et al. 2024), transcribed for comparison with measured ones."""

from dataclasses import dataclass, field
from typing import Any

from cclnn.losses.objective import CONTRASTIVE_WEIGHT as CONTRASTIVE_WEIGHT  # lambda of every row of Tables 1-3

DATASETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
SOURCE = "Liu et al. 2024, Table 5"


@dataclass(frozen=True)
class PaperRow:
    """One row of Table 5: an algorithm at one scale, its parameter count as printed, PSNR (dB) and SSIM per dataset.

    The authors trained SRCNN, VDSR and EDSR themselves and used the released weights of the others. RNAN+ has no row
    at x3.
    """

    algorithm: str
    scale: int
    parameters: str
    scores: tuple[tuple[float, float], ...]

    def score(self, dataset: str) -> tuple[float, float] | None:
        """Return (PSNR, SSIM), or None for a dataset that is not in the table."""
        return self.scores[DATASETS.index(dataset)] if dataset in DATASETS else None


def _row(algorithm: str, scale: int, parameters: str, *numbers: float) -> PaperRow:
    return PaperRow(algorithm, scale, parameters, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


# fmt: off
TABLE5 = (
    _row("SRCNN", 2, "0.02M", 36.45, 0.9527, 32.32, 0.9043, 31.04, 0.8838, 29.11, 0.8887, 34.82, 0.9627),
    _row("VDSR", 2, "0.67M", 37.58, 0.9587, 33.16, 0.9133, 31.94, 0.8964, 31.05, 0.9164, 37.44, 0.9737),
    _row("RCAN", 2, "15.44M", 38.27, 0.9614, 34.12, 0.9216, 32.41, 0.9027, 33.34, 0.9384, 39.44, 0.9786),
    _row("EDSR", 2, "40.73M", 38.25, 0.9613, 33.97, 0.9205, 32.36, 0.9020, 32.98, 0.9361, 39.17, 0.9781),
    _row("A2N", 2, "1.04M", 38.06, 0.9608, 33.75, 0.9194, 32.22, 0.9002, 32.43, 0.9311, 38.87, 0.9769),
    _row("DiVANet+", 2, "0.9M", 38.23, 0.9618, 33.88, 0.9201, 32.36, 0.9018, 32.67, 0.9330, 39.15, 0.9780),
    _row("RNAN+", 2, "9.11M", 38.22, 0.9613, 33.97, 0.9216, 32.36, 0.9018, 32.9, 0.9351, 39.41, 0.9789),
    _row("NLSN", 2, "41.80M", 38.34, 0.9618, 34.08, 0.9231, 32.43, 0.9027, 33.42, 0.9394, 39.59, 0.9789),
    _row("CCLNN", 2, "48.07M", 38.35, 0.9618, 34.15, 0.9230, 32.44, 0.9030, 33.46, 0.9398, 39.48, 0.9785),
    _row("SRCNN", 3, "0.02M", 32.52, 0.9052, 29.09, 0.8160, 28.10, 0.7781, 25.84, 0.7869, 29.62, 0.8999),
    _row("VDSR", 3, "0.67M", 33.76, 0.9225, 29.96, 0.8347, 28.85, 0.7986, 27.32, 0.8324, 32.41, 0.9356),
    _row("RCAN", 3, "15.63M", 34.74, 0.9299, 30.65, 0.8482, 29.32, 0.8111, 29.09, 0.8702, 34.44, 0.9499),
    _row("EDSR", 3, "43.68M", 34.74, 0.9297, 30.50, 0.8461, 29.24, 0.8095, 28.76, 0.8651, 34.01, 0.9481),
    _row("A2N", 3, "1.04M", 34.47, 0.9279, 30.44, 0.8437, 29.14, 0.8059, 28.41, 0.8570, 33.78, 0.9458),
    _row("DiVANet+", 3, "0.9M", 34.66, 0.9289, 30.53, 0.8452, 29.26, 0.8077, 28.66, 0.8610, 34.02, 0.9473),
    _row("NLSN", 3, "44.75M", 34.85, 0.9306, 30.70, 0.8485, 29.34, 0.8117, 29.25, 0.8726, 34.57, 0.9508),
    _row("CCLNN", 3, "51.02M", 34.88, 0.9308, 30.71, 0.8485, 29.35, 0.8118, 29.18, 0.8723, 34.46, 0.9507),
    _row("SRCNN", 4, "0.02M", 30.15, 0.8531, 27.20, 0.7415, 26.55, 0.6985, 24.05, 0.7005, 26.79, 0.8331),
    _row("VDSR", 4, "0.67M", 31.35, 0.8825, 28.16, 0.7703, 27.26, 0.7244, 25.28, 0.7554, 29.14, 0.8886),
    _row("RCAN", 4, "15.59M", 32.63, 0.9002, 28.87, 0.7889, 27.77, 0.7436, 26.82, 0.8087, 31.22, 0.9173),
    _row("EDSR", 4, "43.09M", 32.49, 0.8985, 28.81, 0.7872, 27.71, 0.7409, 26.58, 0.8015, 30.98, 0.9148),
    _row("A2N", 4, "1.05M", 32.30, 0.8966, 28.71, 0.7842, 27.61, 0.7374, 26.27, 0.7920, 30.67, 0.9110),
    _row("DiVANet+", 4, "0.9M", 32.48, 0.8978, 28.78, 0.7848, 27.73, 0.7395, 26.49, 0.7963, 30.78, 0.9124),
    _row("RNAN+", 4, "9.26M", 32.56, 0.8992, 28.90, 0.7883, 27.77, 0.7424, 26.75, 0.8052, 31.37, 0.9175),
    _row("NLSN", 4, "44.16M", 32.59, 0.9000, 28.87, 0.7891, 27.78, 0.7444, 26.96, 0.8109, 31.27, 0.9184),
    _row("CCLNN", 4, "50.43M", 32.64, 0.9003, 28.91, 0.7892, 27.79, 0.7439, 26.93, 0.8104, 31.36, 0.9191),
)
# fmt: on


def table5(scale: int) -> list[PaperRow]:
    """Return the rows of one scale in the paper's order."""
    return [row for row in TABLE5 if row.scale == scale]


@dataclass(frozen=True)
class Setting:
    """One column of the paper's Tables 1-4: its PSNR on Set5 x2, and the configuration that it stands for.

    arguments: values that the network's `config` must have
    weight:    lambda of Eq. 6 used in training, where the table compares it; it is not part of `config`
    """

    label: str
    psnr: float
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    weight: float | None = None


WHOLE = {"branch": "both", "sparsity": "contrastive"}
LIGHT = Setting("CCLNN-L", 38.19, "CCLNN", {**WHOLE, "ratio": 0.15})
ABLATIONS: dict[str, tuple[Setting, ...]] = {
    "Table 1: local and nonlocal branches": (
        Setting("EDSR-L", 38.07, "EDSR"),
        Setting("CCLNN-Local", 38.05, "CCLNN", {"branch": "local", "sparsity": "contrastive"}),
        Setting("NLSN-L", 38.09, "NLSN"),
        Setting("CCLNN-Non-L", 38.13, "CCLNN", {"branch": "nonlocal"}),
        LIGHT,
    ),
    "Table 2: loss of the channel weights": (
        Setting("CCLNN-NSparse", 38.17, "CCLNN", {"branch": "both", "sparsity": "none"}),
        Setting("CCLNN-TSparse", 38.14, "CCLNN", {"branch": "both", "sparsity": "l1"}),
        LIGHT,
    ),
    "Table 3: share n of relevant and irrelevant channels": tuple(
        Setting(f"n = {100 * ratio:.0f}%", psnr, "CCLNN", {**WHOLE, "ratio": ratio})
        for ratio, psnr in ((0.05, 38.18), (0.15, 38.19), (0.25, 38.18), (0.35, 38.18), (0.45, 38.17))
    ),
    "Table 4: weight of the contrastive loss": tuple(
        Setting(f"lambda = {weight:g}", psnr, "CCLNN", {**WHOLE, "ratio": 0.15}, weight)
        for weight, psnr in ((2e-3, 38.18), (4e-3, 38.19), (6e-3, 38.16), (8e-3, 38.16))
    ),
}
