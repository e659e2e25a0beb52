"""The golden output of published weights: what they make of a fixed input in fp32 on a CPU."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from cclnn.metrics import psnr
from cclnn.models import SRModel
from cclnn.ops import imresize

PHOTO = Path(__file__).parents[1] / "examples" / "images" / "chelsea.png"
SIDE = 48  # pixels, a multiple of every scale
APART = 8  # pixels between the places that are tried


def golden_output(model: SRModel, place: tuple[int, int]) -> dict[str, Any]:
    """sha256 of the 8-bit result (rows, columns, RGB) for a square of a photograph reduced by `imresize`; its PSNR.

    The PSNR is on Y with `scale` pixels shaved, in dB.

    Args:
        place: row and column of the square's corner.
    """
    hr, levels = _result(model, place)
    sr = levels.round().byte()
    digest = hashlib.sha256(rearrange(sr, "1 c h w -> h w c").contiguous().numpy().tobytes()).hexdigest()
    quality = psnr(sr, hr, border=model.scale).item()
    return {"place": list(place), "sha256": digest, "psnr": round(quality, 3)}


def steady_place(model: SRModel) -> tuple[int, int]:
    """Where a golden output is best taken: no value may tip on other hardware.

    Sums of float32 differ by their order there; a value that lies almost in the middle between two grey levels would be
    rounded to the other one. Of all places the one is chosen whose values keep farthest from such middles.
    """
    with Image.open(PHOTO) as image:
        rows, columns = (range(0, length - SIDE + 1, APART) for length in (image.height, image.width))

    return max(((row, column) for row in rows for column in columns), key=lambda place: margin(model, place))


def margin(model: SRModel, place: tuple[int, int]) -> float:
    """How far all values are from the middle between two grey levels, in levels: 0.5 at most."""
    levels = _result(model, place)[1]
    return float((levels - levels.floor() - 0.5).abs().min())


def _result(model: SRModel, place: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The square (1, 3, h, w) as uint8, and what the model makes of its reduction, unrounded in [0, 255]."""
    with Image.open(PHOTO) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    row, column = place
    hr = rearrange(pixels[row : row + SIDE, column : column + SIDE], "h w c -> 1 c h w")
    lr = imresize(hr, 1 / model.scale).float() / 255
    with torch.no_grad():
        return hr, model.float().eval()(lr).clamp(0, 1).mul(255)
