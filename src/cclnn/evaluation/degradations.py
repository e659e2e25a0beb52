"""Degrade the LR images of a benchmark under fixed seeds: compression and noise, as photographs have them."""

import hashlib
from io import BytesIO

import numpy as np
import torch
from einops import rearrange

from cclnn._checks import check_choice
from cclnn._names import DEGRADATIONS, Degrade
from cclnn._typing import Float, Tensor

QUALITIES = {"jpeg75": 75, "jpeg85": 85, "jpeg95": 95}
SIGMAS = {"noise2": 2.0, "noise5": 5.0}  # grey levels of 255


def degrade(lr: Float[Tensor, "1 3 h w"], kind: Degrade, *, name: str) -> Float[Tensor, "1 3 h w"]:
    """Return the image in [0, 1] compressed or with noise, rounded to 8 bits; "clean" returns it as it is.

    Args:
        lr: an image whose values are whole grey levels of 255.
        kind: "clean"; "jpeg75", "jpeg85" or "jpeg95", JPEG of that quality with 4:2:0 chroma, as Pillow writes it;
            "noise2" or "noise5", Gaussian noise of that standard deviation in grey levels, in each channel.
        name: the image's name, which decides the noise: the same image gets the same noise in every run.
    """
    check_choice("degrade", kind, DEGRADATIONS)
    if kind == "clean":
        return lr
    pixels = rearrange((lr * 255).round().byte(), "1 c h w -> h w c").cpu().numpy()
    if kind in SIGMAS:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        noise = np.random.default_rng(seed).standard_normal(pixels.shape)
        pixels = np.clip(np.rint(pixels + SIGMAS[kind] * noise), 0, 255).astype(np.uint8)
    else:
        from PIL import Image

        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=QUALITIES[kind], subsampling=2)
        with Image.open(file) as image:
            pixels = np.array(image)
    return rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").to(lr) / 255
