"""The published weights that suit a picture, by what the manifest says they are for. Does not import torch."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from cclnn._target import passes
from cclnn.weights import manifest

Purpose = Literal["clean", "photo"]
# Quality of a JPEG -> strength, with straight lines between: within 0.03 dB of the best on held out photographs, as
# benchmarks/strength.py measured it; docs/results.md has the table.
STRENGTHS = ((85, 1.0), (90, 0.9), (95, 0.7), (100, 0.0))
STEP = 0.05  # strengths are rounded to this, so that images of like quality share one blend


@dataclass(frozen=True)
class Choice:
    """Published weights for a picture.

    models:   a name for every pass, the first pass first
    clean:    the clean weights for the first pass; where photo weights make it, those of the same network, with which
              they can be blended, or None
    photo:    the photo weights for the first pass; None where clean ones make it
    strength: 0 to 1, from `clean` to `photo`
    why:      the reason, in half a line
    """

    models: tuple[str, ...]
    clean: str | None
    photo: str | None
    strength: float
    why: str


def published(purpose: Purpose, *, model: str | None = None) -> dict[int, str]:
    """Scale -> name of the weights for a purpose; of several for one scale, the one that measures best on Set5.

    `model` limits them to those of one network, by its name in `list_models`.

    An entry of the manifest says what its weights are "for": "photo" (compressed photographs) or, by default, "clean".
    Weights that only a checkout of the repository has are left out.
    """
    best: dict[int, tuple[float, str]] = {}
    for name, entry in sorted(manifest().items()):
        if model is not None and entry["model"] != model:
            continue
        if entry.get("for", "clean") == purpose and ("file" in entry or "hub" in entry):
            scale, quality = entry["config"]["scale"], _quality(entry)
            if scale not in best or quality > best[scale][0]:
                best[scale] = quality, name
    return {scale: name for scale, (_, name) in best.items()}


def strength_of(quality: int | None) -> float:
    """How far from the clean weights to the photo weights a JPEG of this quality (1 to 100) is best upscaled.

    1 where the quality is not known.
    """
    if quality is None or quality <= STRENGTHS[0][0]:
        return 1.0
    for (low, high_strength), (high, low_strength) in itertools.pairwise(STRENGTHS):
        if quality <= high:
            exact = high_strength + (low_strength - high_strength) * (quality - low) / (high - low)
            return round(round(exact / STEP) * STEP, 2)
    raise ValueError(f"`quality` must lie between 1 and 100, got {quality}.")


def choose(
    factor: float, *, photo: bool, because: str, quality: int | None = None, strength: float | None = None
) -> Choice:
    """The weights for a picture that is enlarged by `factor`.

    The first pass of a compressed photograph is made by photo weights, where they are published. Its artefacts are gone
    after that, so clean weights make the other passes.

    Args:
        factor: output size / input size.
        photo: whether the picture was compressed with loss.
        because: how that is known, for the reason.
        quality: of a JPEG, which decides the strength of the photo weights.
        strength: of the photo weights, 0 to 1, whatever the quality.
    """
    clean, compressed = published("clean"), published("photo")
    if photo and compressed:
        scales = passes(factor, compressed, clean)
        first = compressed[scales[0]]
        chosen = (first, *(clean[scale] for scale in scales[1:]))
        alike = published("clean", model=manifest()[first]["model"]).get(scales[0])
        if strength is None:
            strength = strength_of(quality) if alike else 1.0
        at = f" at strength {strength:g}" if strength < 1 else ""
        return Choice(chosen, alike, first, strength, f"{because}: photo weights{at}")
    scales = passes(factor, clean, clean)
    names = tuple(clean[scale] for scale in scales)
    missing = f"; no photo weights for x{scales[0]} are published" if photo else ""
    return Choice(names, names[0], None, 0.0, f"{because}: clean weights{missing}")


def _quality(entry: dict[str, Any]) -> float:
    quality: float = entry.get("measured", {}).get("Set5", {}).get("psnr", 0.0)
    return quality
