"""What happens to an LR patch before a network sees it: resampling, noise and compression as of photographs in use.

A preset is a TOML file in the folder `degradations` beside the program; `photo.toml` says what each value is.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter

from cclnn.ops import imresize

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = Path(__file__).parents[1] / "degradations"
RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "blur": Image.Resampling.BICUBIC,
}
MIDDLE = 0.5  # the grey at which `noise` is the noise's standard deviation
SUBSAMPLING = (0, 2)  # Pillow's numbers for 4:4:4 and 4:2:0

Pixels = npt.NDArray[np.uint8]  # h w 3


@dataclass(frozen=True)
class Degradation:
    """One preset; see degradations/photo.toml for what each value is."""

    clean: float
    kernels: tuple[str, ...]
    blur: tuple[float, float]
    noise: float
    webp: float
    quality: tuple[int, int]

    def __call__(self, hr: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        """The LR patch of an HR patch; everything random comes from `rng`."""
        if rng.random() < self.clean:
            return reduce(hr, scale)
        lr = resample(hr, scale, str(rng.choice(self.kernels)), rng.uniform(*self.blur))
        lr = add_noise(lr, self.noise * rng.random() ** 2, rng.random(), rng)  # strong noise is rare in photographs
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        webp, subsampling = rng.random() < self.webp, SUBSAMPLING[rng.integers(2)]
        return compress(lr, quality, format="WEBP" if webp else "JPEG", subsampling=subsampling)


def names() -> list[str]:
    """What `--degrade` takes."""
    return ["clean", *sorted(path.stem for path in PRESETS.glob("*.toml"))]


def read(name: str) -> Degradation | None:
    """The preset of this name; None for "clean"."""
    if name == "clean":
        return None
    values: Mapping[str, Any] = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    return Degradation(
        clean=values["clean"],
        kernels=tuple(values["kernels"]),
        blur=(values["blur"][0], values["blur"][1]),
        noise=values["noise"],
        webp=values["webp"],
        quality=(values["quality"][0], values["quality"][1]),
    )


def reduce(hr: Pixels, scale: int) -> Pixels:
    """MATLAB's bicubic, as for clean patches."""
    image = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None]
    small: Pixels = imresize(image, 1 / scale)[0].permute(1, 2, 0).contiguous().numpy()
    return small


def resample(hr: Pixels, scale: int, kernel: str, sigma: float) -> Pixels:
    """Reduced by Pillow's kernel of this name; "blur" is a Gaussian of `sigma` LR pixels, then bicubic."""
    image = Image.fromarray(np.ascontiguousarray(hr))
    if kernel == "blur":
        image = image.filter(ImageFilter.GaussianBlur(sigma * scale))
    small = image.resize((hr.shape[1] // scale, hr.shape[0] // scale), RESAMPLING[kernel])
    return np.asarray(small)


def add_noise(lr: Pixels, sigma: float, poisson: float, rng: np.random.Generator) -> Pixels:
    """Noise whose variance grows with the light for its share `poisson`, and is constant for the rest.

    sigma is the standard deviation, in grey levels, at middle grey: variance = sigma^2 (1 - p + p x / 0.5).
    """
    light = lr / 255
    spread = sigma * np.sqrt(1 - poisson + poisson * light / MIDDLE)
    noisy: Pixels = np.clip(np.rint(lr + spread * rng.standard_normal(lr.shape)), 0, 255).astype(np.uint8)
    return noisy


def compress(lr: Pixels, quality: int, *, format: str, subsampling: int) -> Pixels:  # noqa: A002  # Pillow's name
    """Written to JPEG or WebP of this quality and read back; `subsampling` is JPEG's, as Pillow numbers it."""
    file = BytesIO()
    options = {"subsampling": subsampling} if format == "JPEG" else {}
    Image.fromarray(lr).save(file, format, quality=quality, **options)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def blockiness(patch: Pixels, row: int, col: int) -> float:
    """Differences across the borders of JPEG's 8 x 8 blocks, in those inside the blocks: about 1 where there are none.

    Args:
        patch: cut from its picture at `row` and `col`, which say where the borders lie.
    """
    green = patch[:, :, 1].astype(np.int16)
    across, inside = 0.0, 0.0
    for start, axis in ((row, 0), (col, 1)):
        difference = np.abs(np.diff(green, axis=axis)).mean(axis=1 - axis)
        border = (np.arange(1, len(difference) + 1) + start) % 8 == 0
        across += float(difference[border].mean())
        inside += float(difference[~border].mean())
    return across / max(inside, 1e-3)
