"""The weights for a picture follow from what the manifest says they are for, not from their names."""

import pytest

from cclnn import weights
from cclnn.weights import choice
from cclnn.weights.choice import choose, published, strength_of


def entry(scale, purpose=None, psnr=30.0, **more):
    made = {"file": "x.safetensors", "model": "small", "config": {"scale": scale}, "measured": {"Set5": {"psnr": psnr}}}
    made |= more
    return made if purpose is None else {**made, "for": purpose}


CLEAN = {f"clean-{scale}": entry(scale) for scale in (2, 3, 4)}
PHOTO = {"two": entry(2, "photo"), "four": entry(4, "photo")}  # names tell nothing


@pytest.fixture
def manifest(monkeypatch):
    def use(entries):
        monkeypatch.setattr(choice, "manifest", lambda: entries)

    return use


def test_todays_manifest_has_clean_weights_for_every_scale():
    assert set(published("clean")) == {2, 3, 4}
    for name in published("clean").values():
        assert weights.manifest()[name].get("for", "clean") == "clean"


def test_compressed_pictures_take_photo_weights_as_soon_as_they_are_published(manifest):
    manifest(CLEAN)
    before = choose(2, photo=True, because="JPEG of quality 75")
    assert (before.models, before.photo) == (("clean-2",), None)
    assert before.why == "JPEG of quality 75: clean weights; no photo weights for x2 are published"
    manifest({**CLEAN, **PHOTO})
    after = choose(2, photo=True, because="JPEG of quality 75")
    assert (after.models, after.clean, after.photo) == (("two",), "clean-2", "two")
    assert after.why == "JPEG of quality 75: photo weights"
    assert choose(2, photo=False, because="PNG, lossless").models == ("clean-2",)
    assert choose(2, photo=False, because="PNG, lossless").why == "PNG, lossless: clean weights"


@pytest.mark.parametrize(
    ("factor", "models"),
    [(1.5, ("two",)), (3, ("four",)), (4, ("four",)), (6, ("two", "clean-3")), (8, ("two", "clean-4"))],
)
def test_photo_weights_make_the_first_pass_alone(manifest, factor, models):
    manifest({**CLEAN, **PHOTO})
    assert choose(factor, photo=True, because="").models == models


def test_of_several_the_best_measured_is_taken(manifest):
    manifest({"a": entry(2, psnr=37.0), "b": entry(2, psnr=38.0), "c": entry(2, psnr=37.5)})
    assert published("clean") == {2: "b"}


def test_weights_that_only_a_checkout_has_are_left_out(manifest):
    far = {"config": {"scale": 4}, "path": "weights/far.safetensors"}
    hub = {"config": {"scale": 3}, "hub": "org/repo@commit"}
    manifest({"a": entry(2), "far": far, "hub": hub})
    assert published("clean") == {2: "a", 3: "hub"}


def test_photo_weights_are_blended_with_clean_ones_of_the_same_network(manifest):
    """Even where another network's are better; where there are none, there is nothing to blend with."""
    better = {"better-2": entry(2, psnr=40.0, model="large")}
    manifest({**CLEAN, **PHOTO, **better})
    assert choose(2, photo=True, because="").clean == "clean-2"
    assert choose(2, photo=False, because="").models == ("better-2",)
    manifest({**PHOTO, **better})
    assert choose(2, photo=True, because="").clean is None


@pytest.mark.parametrize(
    ("quality", "strength"),
    [(None, 1), (1, 1), (85, 1), (88, 0.95), (90, 0.9), (92, 0.8), (95, 0.7), (99, 0.15), (100, 0)],
)
def test_the_less_a_jpeg_is_compressed_the_nearer_to_the_clean_weights(manifest, quality, strength):
    assert strength_of(quality) == strength
    manifest({**CLEAN, **PHOTO})
    choice = choose(2, photo=True, because="JPEG", quality=quality)
    assert choice.strength == strength
    assert choice.why == ("JPEG: photo weights" if strength == 1 else f"JPEG: photo weights at strength {strength}")


def test_strengths_fall_with_quality_and_are_few():
    strengths = [strength_of(quality) for quality in range(1, 101)]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) <= 21


def test_a_strength_that_is_asked_for_is_taken(manifest):
    manifest({**CLEAN, **PHOTO})
    assert choose(2, photo=True, because="JPEG", quality=95, strength=1.0).strength == 1
    assert choose(2, photo=True, because="JPEG", quality=30, strength=0.0).strength == 0


def test_photo_weights_without_clean_ones_of_their_network_are_taken_whole(manifest):
    manifest({**CLEAN, "two": entry(2, "photo", model="other")})
    choice = choose(2, photo=True, because="JPEG", quality=95)
    assert (choice.clean, choice.strength, choice.why) == (None, 1, "JPEG: photo weights")


def test_a_quality_that_is_none_is_refused(rejects):
    with rejects("`quality` must lie between 1 and 100, got 101"):
        strength_of(101)
