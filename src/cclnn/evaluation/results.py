"""The results of an evaluation as plain data, saved to and loaded from JSON."""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from cclnn._files import write_atomically

SCHEMA = 1


@dataclass(frozen=True)
class Score:
    """One model on one image: PSNR in dB, SSIM, seconds, rows and columns of the input, and the files' fingerprint."""

    image: str
    psnr: float
    ssim: float
    seconds: float
    size: tuple[int, int]
    fingerprint: str


@dataclass
class Result:
    """One model on one dataset; `lr_source` is the folder of the LR images, or "imresize"."""

    model: str
    dataset: str
    lr_source: str
    scores: list[Score] = field(default_factory=list)

    @property
    def psnr(self) -> float:
        """Mean over the images in dB."""
        return mean(score.psnr for score in self.scores)

    @property
    def ssim(self) -> float:
        """Mean over the images."""
        return mean(score.ssim for score in self.scores)

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Quartiles over the images; the second one is the median."""
        seconds = [score.seconds for score in self.scores]
        if len(seconds) == 1:
            return (seconds[0],) * 3
        first, second, third = quantiles(seconds, method="inclusive")
        return first, second, third


@dataclass
class Contestant:
    """Facts about an evaluated model other than its scores; the counts are None for bicubic interpolation.

    macs, activations: for the input whose output is nearest to 1280 x 720
    peak_bytes:        peak memory of one call on the largest input (peak_size) beyond the weights; None if not measured
    """

    name: str
    fingerprint: str
    parameters: int | None = None
    macs: int | None = None
    activations: int | None = None
    peak_bytes: int | None = None
    peak_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Comparison:
    """PSNR of `model` less that of `baseline` in dB over the images of a dataset, paired image by image.

    low, high: the 95 % interval of the mean, from `paired_difference`
    """

    model: str
    baseline: str
    dataset: str
    images: int
    mean: float
    low: float
    high: float


@dataclass
class Evaluation:
    """Models on datasets at one scale: the result of `evaluate` and the content of its JSON file.

    comparisons: each model with each one before it, on every dataset; empty until all images are measured
    """

    scale: int
    settings: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    models: list[Contestant] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def comparison(self, model: str, baseline: str, dataset: str) -> Comparison | None:
        """Return the comparison of these two on one dataset, if there is one."""
        wanted = (model, baseline, dataset)
        return next((one for one in self.comparisons if (one.model, one.baseline, one.dataset) == wanted), None)

    def result(self, model: str, dataset: str) -> Result:
        """Return the result of one model on one dataset; raise ValueError if there is none."""
        for result in self.results:
            if (result.model, result.dataset) == (model, dataset):
                return result
        known = ", ".join(f"{result.model} on {result.dataset}" for result in self.results)
        raise ValueError(f"there is no result of {model!r} on {dataset!r}, only of {known or 'nothing'}.")

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets in the order of evaluation."""
        return list(dict.fromkeys(result.dataset for result in self.results))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the evaluation as JSON; an interrupted write leaves the old file."""
        text = json.dumps(_finite({"schema": SCHEMA, **asdict(self)}), indent=1) + "\n"
        write_atomically(Path(path), lambda temporary: temporary.write_text(text))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Evaluation":
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file does not hold an evaluation of this schema.
        """
        try:
            data = json.loads(Path(path).read_text())
            schema = data.pop("schema")
            assert schema == SCHEMA
            models = [Contestant(**{**model, "peak_size": _pair(model["peak_size"])}) for model in data.pop("models")]
            results = [
                Result(**{**result, "scores": [_score(score) for score in result["scores"]]})
                for result in data.pop("results")
            ]
            comparisons = [Comparison(**comparison) for comparison in data.pop("comparisons", [])]
            return cls(**data, models=models, results=results, comparisons=comparisons)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise ValueError(f"{str(path)!r} holds no results of `cclnn evaluate` (schema {SCHEMA}).") from error


def merge(evaluations: Iterable[Evaluation]) -> dict[int, Evaluation]:
    """Merge the evaluations of each scale into one; returns scale -> evaluation."""
    merged: dict[int, Evaluation] = {}
    for one in evaluations:
        whole = merged.setdefault(one.scale, Evaluation(one.scale, one.settings, one.machine))
        whole.models += [model for model in one.models if model not in whole.models]
        whole.results += one.results
    return merged


def _score(data: dict[str, Any]) -> Score:
    numbers = {key: float(data[key]) for key in ("psnr", "ssim", "seconds")}
    size = _pair(data["size"])
    assert size is not None
    return Score(data["image"], **numbers, size=size, fingerprint=data["fingerprint"])


def _pair(numbers: list[int] | None) -> tuple[int, int] | None:
    """Make a tuple of the list that JSON has in its place."""
    return None if numbers is None else (numbers[0], numbers[1])


def _finite(data: Any) -> Any:
    """Replace infinity, which JSON cannot represent, by "inf": the PSNR of equal images."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return "inf" if data == math.inf else data
