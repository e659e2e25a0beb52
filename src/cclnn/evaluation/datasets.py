"""Find pairs of a low-resolution input and its high-resolution reference image in folders."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange

from cclnn._checks import check_at_least
from cclnn._typing import Float, Tensor, UInt8
from cclnn.image.read import read_image
from cclnn.ops import imresize

SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
MODES = ("RGB", "L", "P")
MADE = "imresize"  # lr_source where there are no LR files


@dataclass(frozen=True)
class Layout:
    """Where a benchmark keeps its HR and LR images; `{scale}` and the image's `{name}` are filled in."""

    hr: str
    lr: str
    hr_file: str = "{name}"
    lr_file: str = "{name}"


LAYOUTS = (
    Layout("HR", "LR_bicubic/X{scale}", lr_file="{name}x{scale}"),  # EDSR, RCAN, NLSN: Set5/LR_bicubic/X2/babyx2.png
    Layout("HR", "LR_x{scale}"),
    Layout("GTmod12", "LRbicx{scale}"),  # BasicSR
    Layout("image_SRF_{scale}", "image_SRF_{scale}", "{name}_SRF_{scale}_HR", "{name}_SRF_{scale}_LR"),  # SelfExSR
    Layout("", "", "{name}_SRF_{scale}_HR", "{name}_SRF_{scale}_LR"),  # the same for image_SRF_2 itself
    Layout("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{scale}", lr_file="{name}x{scale}"),
)
ALONE = ("HR", "GTmod12", "DIV2K_valid_HR", "")  # folders of HR images without LR files


@dataclass(frozen=True)
class Pair:
    """One image: its name, the HR file, and the LR file or None where LR is computed from HR."""

    name: str
    hr: Path
    lr: Path | None

    def fingerprint(self) -> str:
        """Hash the bytes of both files: equal pairs have equal fingerprints."""
        digest = hashlib.sha256(self.hr.read_bytes())
        if self.lr is not None:
            digest.update(self.lr.read_bytes())
        return digest.hexdigest()[:16]

    def load(self, scale: int) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 sh sw"]]:
        """Return (LR, HR) in [0, 1], with HR cropped at its right and bottom to a multiple of the scale.

        Without an LR file, `imresize` reduces the cropped HR image in uint8, as MATLAB does. Grey images become three
        equal channels and are measured on the luma of these, as in the released SR code.
        """
        hr = read_rgb(self.hr)
        height, width = (length // scale for length in hr.shape[2:])
        if min(height, width) < 1:
            raise ValueError(f"{self.hr} has {hr.shape[2]} x {hr.shape[3]} pixels, fewer than the scale x{scale}.")
        hr = hr[:, :, : height * scale, : width * scale]
        if self.lr is None:
            lr = imresize(hr, 1 / scale)
        else:
            lr = read_rgb(self.lr)
            if lr.shape != (1, 3, height, width):
                raise ValueError(
                    f"{self.lr} must have {height} x {width} pixels to be x{scale} of {self.hr}, got "
                    f"{lr.shape[2]} x {lr.shape[3]}."
                )
        return lr.float() / 255, hr.float() / 255


@dataclass(frozen=True)
class Dataset:
    """The pairs of one benchmark at one scale; `lr_source` is the name of the LR folder, or "imresize"."""

    name: str
    scale: int
    lr_source: str
    pairs: tuple[Pair, ...]


def find_dataset(folder: str | os.PathLike[str], *, scale: int) -> Dataset:
    """Find the image pairs below a folder, sorted by name.

    These layouts are tried in this order:

    - `HR/baby.png` and `LR_bicubic/X2/babyx2.png` (EDSR, RCAN, NLSN), or `LR_x2/baby.png`;
    - `GTmod12/baby.png` and `LRbicx2/baby.png` (BasicSR);
    - `image_SRF_2/img_001_SRF_2_HR.png` and `..._LR.png` (SelfExSR), also given `image_SRF_2` itself;
    - `DIV2K_valid_HR/0801.png` and `DIV2K_valid_LR_bicubic/X2/0801x2.png`;
    - images in `HR` or `GTmod12` alone, or in the folder itself: `imresize` computes their LR images.

    Args:
        folder: the folder of one benchmark. PNG, BMP, JPEG, TIFF and WebP files count as images.
        scale: 2 or more.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: there are no images, an HR image has no LR image or the reverse, or a name occurs twice.
    """
    check_at_least("scale", scale, 2)
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {str(folder)!r}.")
    name = _name(folder, scale)
    for layout in LAYOUTS:
        hr_folder, lr_folder = (folder / part.format(scale=scale) for part in (layout.hr, layout.lr))
        hr, lr = (
            _images(where, pattern, scale)
            for where, pattern in ((hr_folder, layout.hr_file), (lr_folder, layout.lr_file))
        )
        if hr and lr_folder.is_dir():
            _check_match(hr_folder, hr, lr_folder, lr)
            source = layout.lr.format(scale=scale) or folder.name
            return Dataset(name, scale, source, tuple(Pair(key, hr[key], lr[key]) for key in sorted(hr)))
    for part in ALONE:
        if hr := _images(folder / part, "{name}", scale):
            return Dataset(name, scale, MADE, tuple(Pair(key, hr[key], None) for key in sorted(hr)))
    raise ValueError(f"{str(folder)!r} holds no images, nor do HR, GTmod12 or image_SRF_{scale} below it.")


def _name(folder: Path, scale: int) -> str:
    """Return the folder's name, or its parent's if the folder is a part of the layout such as `HR`."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in (*ALONE, f"image_SRF_{scale}") else folder.name


def _images(folder: Path, pattern: str, scale: int) -> dict[str, Path]:
    """Map image names to the files in `folder` whose stem matches `pattern`."""
    if not folder.is_dir():
        return {}
    before, after = pattern.format(name="\0", scale=scale).split("\0")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = path.stem
        fits = stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after)
        if not fits or path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        key = stem[len(before) : len(stem) - len(after)]
        if key in found:
            raise ValueError(f"{str(folder)!r} holds {found[key].name} and {path.name}: one name, two images.")
        found[key] = path
    return found


def _check_match(hr_folder: Path, hr: dict[str, Path], lr_folder: Path, lr: dict[str, Path]) -> None:
    for one, other, where in ((hr, lr, lr_folder), (lr, hr, hr_folder)):
        if missing := sorted(one.keys() - other.keys()):
            listed = ", ".join(one[key].name for key in missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise ValueError(f"{str(where)!r} has nothing for {listed} ({len(missing)} of {len(one)} images).")


def read_rgb(path: str | os.PathLike[str]) -> UInt8[Tensor, "1 3 h w"]:
    """Read an 8-bit image from a file; grey becomes three equal channels."""
    image = read_image(path)
    if image.mode not in MODES:
        raise ValueError(
            f"cannot measure with {str(path)!r}: its mode is {image.mode}, needed is {' or '.join(MODES)}."
        )
    return rearrange(torch.from_numpy(np.array(image.convert("RGB"))), "h w c -> 1 c h w")
