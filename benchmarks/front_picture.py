"""Draw the comparisons of README and docs/guide/choosing.md: reduced photographs, upscaled in several ways, and true.

python benchmarks/front_picture.py             # docs/figures/front.png and docs/figures/choosing.png

The photographs are those that the wheel of scikit-image carries: the astronaut (NASA, public domain), of whom the name
on the suit is shown, and the cup of coffee (Rachel Michetti, CC0), which is compressed as JPEG of quality 75 after the
reduction. For choosing.md the coffee is also left as it is and made noisy. Under each result stands its PSNR on Y over
the whole photograph, two pixels shaved.
"""

import argparse
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw

import cclnn
from cclnn._files import write_atomically
from cclnn._names import Degrade
from cclnn.evaluation.degradations import degrade
from cclnn.metrics import psnr
from cclnn.ops import imresize

ROOT = Path(__file__).parents[1]
SCALE = 2
NEAREST = Image.Resampling.NEAREST
SIDE, GAP, CAPTION, FONT = 232, 8, 40, 14  # pixels of the picture


@dataclass(frozen=True)
class Row:
    """A photograph of scikit-image's, the detail that is shown of it, and what is done to its reduction."""

    file: str
    box: tuple[int, int, int]  # left, top, side; pixels of the true image
    degrade: Degrade = "clean"


COFFEE = (330, 110, 116)
FRONT = (Row("astronaut.png", (120, 335, 100)), Row("coffee.png", COFFEE, "jpeg75"))
CHOOSING = tuple(Row("coffee.png", COFFEE, degrade) for degrade in ("clean", "jpeg75", "noise5"))
GIVEN = {"clean": "reduced by 2", "jpeg75": "reduced by 2, JPEG 75", "noise5": "reduced by 2, noise 5"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "figures", help="folder of the pictures")
    args = parser.parse_args()
    draw(FRONT, {"cclnn": None}, args.into / "front.png")
    draw(CHOOSING, {"clean weights": False, "photo weights": True}, args.into / "choosing.png")


def draw(rows: tuple[Row, ...], results: dict[str, bool | None], path: Path) -> None:
    """One row of panels for each photograph; results are those of cclnn.upscale(photo=...), by caption."""
    drawn = [panels(row, results) for row in rows]
    width = len(drawn[0]) * (SIDE + GAP) - GAP
    canvas = Image.new("RGB", (width, len(rows) * (SIDE + CAPTION)), "white")
    pen = ImageDraw.Draw(canvas)
    for i, row in enumerate(drawn):
        for j, (caption, panel) in enumerate(row):
            left, top = j * (SIDE + GAP), i * (SIDE + CAPTION)
            canvas.paste(panel, (left, top))
            pen.multiline_text((left + 2, top + SIDE + 2), caption, fill="black", font_size=FONT, spacing=2)
    write_atomically(path, lambda temporary: canvas.save(temporary, "PNG", optimize=True))
    print(f"wrote {path}: {canvas.width} x {canvas.height}")


def panels(row: Row, results: dict[str, bool | None]) -> list[tuple[str, Image.Image]]:
    """Caption and detail of what is given, of each result, and of the truth."""
    with Image.open(Path(skimage.__file__).parent / "data" / row.file) as file:
        image = file.convert("RGB")
    truth = image.crop((0, 0, image.width // SCALE * SCALE, image.height // SCALE * SCALE))
    reduced = imresize(tensor(truth), 1 / SCALE)
    small: Image.Image
    if row.degrade.startswith("jpeg"):
        stored = BytesIO()
        quality = int(row.degrade.removeprefix("jpeg"))
        picture(reduced).save(stored, "JPEG", quality=quality, subsampling=2)
        small = Image.open(stored)  # still a JPEG, which `photo=None` notices
    else:
        small = picture((degrade(reduced.float() / 255, row.degrade, name=row.file) * 255).round().byte())
    given = small.convert("RGB")
    bicubic = picture(imresize(tensor(given), SCALE))
    shown = {
        f"{GIVEN[row.degrade]}\n{small.width} x {small.height} pixels": given.resize(truth.size, NEAREST),
        f"bicubic\n{decibels(bicubic, truth):.2f} dB": bicubic,
    }
    for caption, photo in results.items():
        ours = cclnn.upscale(small, scale=SCALE, photo=photo, precision="fp32", device="cpu")
        shown[f"{caption}\n{decibels(ours, truth):.2f} dB"] = ours
    shown[f"the original\n{truth.width} x {truth.height} pixels"] = truth
    left, top, side = row.box
    box = (left, top, left + side, top + side)
    return [(caption, panel.crop(box).resize((SIDE, SIDE), NEAREST)) for caption, panel in shown.items()]


def decibels(image: Image.Image, truth: Image.Image) -> float:
    return psnr(tensor(image).float() / 255, tensor(truth).float() / 255, border=SCALE).item()


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image[0].permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
