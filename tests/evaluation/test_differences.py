"""Intervals of differences, against the normal distribution and against cases worked by hand."""

import numpy as np
import pytest

from cclnn.evaluation.differences import compare, paired_difference
from cclnn.evaluation.results import Contestant, Evaluation, Result, Score


def test_many_images_give_the_interval_of_the_normal_distribution():
    rng = np.random.default_rng(1)
    b = rng.normal(30, 5, 2000)
    a = b + rng.normal(0.1, 0.4, 2000)
    found = paired_difference(a.tolist(), b.tolist())
    error = 1.96 * (a - b).std(ddof=1) / 2000**0.5
    assert found.mean == pytest.approx((a - b).mean())
    assert found.low == pytest.approx(found.mean - error, abs=0.05 * error)
    assert found.high == pytest.approx(found.mean + error, abs=0.05 * error)


def test_two_images_by_hand():
    """A resample has both images, or one twice: means 1, 2 and 3 with chances 1/4, 1/2, 1/4."""
    assert paired_difference([1.0, 3.0], [0.0, 0.0]) == (2.0, 1.0, 3.0)
    assert paired_difference([1.0, 3.0], [0.0, 0.0], confidence=0.4) == (2.0, 2.0, 2.0)


def test_the_order_of_models_turns_the_sign():
    a, b = [3.0, 5.0, 4.0], [2.0, 5.5, 3.0]
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.mean, one.low) == pytest.approx((-other.mean, -other.high))


@pytest.mark.parametrize(
    ("a", "b", "confidence", "message"),
    [
        ([1.0], [1.0, 2.0], 0.95, "`a` and `b` must be scores of the same images, got 1 and 2"),
        ([], [], 0.95, "`a` and `b` must be scores of the same images, got 0 and 0"),
        ([1.0], [2.0], 1.0, "`confidence` must be between 0 and 1, got 1.0"),
    ],
)
def test_refuses(a, b, confidence, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b, confidence=confidence)


def test_each_model_is_compared_with_those_before_it_on_the_images_of_both():
    """ "b" has no image "z" and reproduces "w" exactly; "c" was not measured on the second set."""
    psnr = {
        ("a", "One"): {"x": 30.0, "y": 31.0, "z": 32.0, "w": 40.0},
        ("b", "One"): {"y": 31.5, "x": 30.5, "w": float("inf")},
        ("c", "One"): {"x": 33.0, "y": 31.0, "z": 33.0, "w": 40.0},
        ("a", "Two"): {"x": 20.0},
        ("b", "Two"): {"x": 19.0},
    }
    results = [
        Result(model, dataset, "imresize", [Score(image, p, 0.9, 1.0, (4, 5), "") for image, p in scores.items()])
        for (model, dataset), scores in psnr.items()
    ]
    found = compare(Evaluation(2, {}, {}, [Contestant(name, name) for name in "abc"], results))
    named = {(one.model, one.baseline, one.dataset): (one.images, one.mean, one.low, one.high) for one in found}
    assert named.keys() == {("b", "a", "One"), ("b", "a", "Two"), ("c", "a", "One"), ("c", "b", "One")}
    assert named["b", "a", "One"] == (2, 0.5, 0.5, 0.5)
    assert named["b", "a", "Two"] == (1, -1.0, -1.0, -1.0)
    assert named["c", "a", "One"] == (4, 1.0, *paired_difference([33, 31, 33, 40], [30, 31, 32, 40])[1:])
