"""How sure a difference between two models is: the interval of a paired bootstrap over images."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cclnn.evaluation.results import Comparison, Evaluation

RESAMPLES = 10_000


class Difference(NamedTuple):
    """Mean of a - b over the images, and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def paired_difference(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Difference:
    """Mean of a_i - b_i, with the percentile interval of 10,000 resamples of the images.   (Efron 1979)

    Images differ far more from each other than models do on one image, so only the differences are resampled. With
    fewer than about 20 images the interval is narrower than it should be.

    Args:
        a, b: scores of two models on the same images, in the same order.
        confidence: share of the resampled means that lie within the interval; 0 < confidence < 1.
        seed: seed of the resampling.

    >>> paired_difference([30.5, 31.5, 28.5], [30.0, 31.0, 28.0])
    Difference(mean=0.5, low=0.5, high=0.5)
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"`a` and `b` must be scores of the same images, got {len(a)} and {len(b)}.")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1, got {confidence}.")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(differences), size=(RESAMPLES, len(differences)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences[drawn].mean(axis=1), [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high))


def compare(evaluation: Evaluation) -> list[Comparison]:
    """Each model with each one before it: the paired difference of PSNR on every dataset that both were measured on.

    Images on which one of them has no finite PSNR, because its result is the HR image itself, are left out.
    """
    found = []
    for baseline, model in combinations(evaluation.models, 2):
        for dataset in evaluation.datasets:
            scores = {
                result.model: {score.image: score.psnr for score in result.scores if math.isfinite(score.psnr)}
                for result in evaluation.results
                if result.dataset == dataset
            }
            a, b = (scores.get(name, {}) for name in (model.name, baseline.name))
            if images := [image for image in a if image in b]:
                difference = paired_difference([a[image] for image in images], [b[image] for image in images])
                found.append(Comparison(model.name, baseline.name, dataset, len(images), *difference))
    return found
