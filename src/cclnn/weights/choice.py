"""The published weights that suit a picture, by what the manifest says they are for. Does not import torch."""

from dataclasses import dataclass
from typing import Any, Literal

from cclnn._target import passes
from cclnn.weights import manifest

Purpose = Literal["clean", "photo"]


@dataclass(frozen=True)
class Choice:
    """Published weights for a picture.

    models: a name for every pass, the first pass first
    clean:  the clean weights for the first pass; where photo weights make it, those of the same network, with which
            they can be blended, or None
    photo:  the photo weights for the first pass; None where clean ones make it
    why:    the reason, in half a line
    """

    models: tuple[str, ...]
    clean: str | None
    photo: str | None
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


def choose(factor: float, *, photo: bool, because: str) -> Choice:
    """The weights for a picture that is enlarged by `factor`.

    The first pass of a compressed photograph is made by photo weights, where they are published. Its artefacts are gone
    after that, so clean weights make the other passes.

    Args:
        factor: output size / input size.
        photo: whether the picture was compressed with loss.
        because: how that is known, for the reason.
    """
    clean, compressed = published("clean"), published("photo")
    if photo and compressed:
        scales = passes(factor, compressed, clean)
        first = compressed[scales[0]]
        chosen = (first, *(clean[scale] for scale in scales[1:]))
        alike = published("clean", model=manifest()[first]["model"])
        return Choice(chosen, alike.get(scales[0]), first, f"{because}: photo weights")
    scales = passes(factor, clean, clean)
    names = tuple(clean[scale] for scale in scales)
    missing = f"; no photo weights for x{scales[0]} are published" if photo else ""
    return Choice(names, names[0], None, f"{because}: clean weights{missing}")


def _quality(entry: dict[str, Any]) -> float:
    quality: float = entry.get("measured", {}).get("Set5", {}).get("psnr", 0.0)
    return quality
