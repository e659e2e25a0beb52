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
SIDE = 48  # pixels of the photograph's middle: a multiple of every scale, and few enough that hardly one can tip


def golden_output(model: SRModel) -> dict[str, Any]:
    """sha256 of the 8-bit result (rows, columns, RGB) for the middle of a photograph reduced by `imresize`; its PSNR.

    A value that lies within rounding of the middle between two grey levels can tip on other hardware. With 6,912 values
    none did with 1 and 2 threads, AVX-512, AVX2 and SSE4.1; the PSNR (on Y, `scale` pixels shaved, dB) is for the rest.
    """
    with Image.open(PHOTO) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    hr = rearrange(pixels[top : top + SIDE, left : left + SIDE], "h w c -> 1 c h w")
    lr = imresize(hr, 1 / model.scale).float() / 255
    with torch.no_grad():
        sr = model.float().eval()(lr).clamp(0, 1).mul(255).round().byte()
    digest = hashlib.sha256(rearrange(sr, "1 c h w -> h w c").contiguous().numpy().tobytes()).hexdigest()
    return {"sha256": digest, "psnr": round(psnr(sr, hr, border=model.scale).item(), 3)}
