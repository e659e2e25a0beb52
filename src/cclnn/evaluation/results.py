"""What an evaluation found: plain data, to JSON and back."""

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
    """One image through one model: dB, SSIM, seconds, rows and columns of the input, and which files they were."""

    image: str
    psnr: float
    ssim: float
    seconds: float
    size: tuple[int, int]
    fingerprint: str


@dataclass
class Result:
    """One model on one dataset. `lr_source` is the folder of the inputs, or "imresize" where they were made."""

    model: str
    dataset: str
    lr_source: str
    scores: list[Score] = field(default_factory=list)

    @property
    def psnr(self) -> float:
        """Mean over the images, dB."""
        return mean(score.psnr for score in self.scores)

    @property
    def ssim(self) -> float:
        """Mean over the images."""
        return mean(score.ssim for score in self.scores)

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Quartiles over the images; the second is the median."""
        seconds = [score.seconds for score in self.scores]
        if len(seconds) == 1:
            return (seconds[0],) * 3
        first, second, third = quantiles(seconds, method="inclusive")
        return first, second, third


@dataclass
class Contestant:
    """What is known of a model besides its scores; parameters and counts are None for bicubic interpolation.

    macs, activations: for the input whose output is nearest to 1280 x 720
    peak_bytes:        of one call on the largest input, of peak_size, beyond the weights; None where not measured
    """

    name: str
    fingerprint: str
    parameters: int | None = None
    macs: int | None = None
    activations: int | None = None
    peak_bytes: int | None = None
    peak_size: tuple[int, int] | None = None


@dataclass
class Evaluation:
    """Models on datasets at one scale: what `evaluate` gives, and what its JSON file holds."""

    scale: int
    settings: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    models: list[Contestant] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def result(self, model: str, dataset: str) -> Result:
        """The one of this model on this dataset."""
        for result in self.results:
            if (result.model, result.dataset) == (model, dataset):
                return result
        known = ", ".join(f"{result.model} on {result.dataset}" for result in self.results)
        raise ValueError(f"there is no result of {model!r} on {dataset!r}, only of {known or 'nothing'}.")

    @property
    def datasets(self) -> list[str]:
        """Names, in the order evaluated."""
        return list(dict.fromkeys(result.dataset for result in self.results))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, whole or not at all."""
        text = json.dumps(_finite({"schema": SCHEMA, **asdict(self)}), indent=1) + "\n"
        write_atomically(Path(path), lambda temporary: temporary.write_text(text))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Evaluation":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file. ValueError: not such a file.
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
            return cls(**data, models=models, results=results)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise ValueError(f"{str(path)!r} holds no results of `cclnn evaluate` (schema {SCHEMA}).") from error


def merge(evaluations: Iterable[Evaluation]) -> dict[int, Evaluation]:
    """Scale -> one evaluation with the models and results of all those at that scale."""
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
    """JSON has no tuples."""
    return None if numbers is None else (numbers[0], numbers[1])


def _finite(data: Any) -> Any:
    """JSON knows no infinity: the PSNR of equal images becomes "inf"."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return "inf" if data == math.inf else data
