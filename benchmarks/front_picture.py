"""Draw the README's first picture: reduced photographs, upscaled by bicubic interpolation and by cclnn, and true.

python benchmarks/front_picture.py [--compressed-model auto] [--clean-model auto] [-o docs/figures/front.png]

The photographs are those that the wheel of scikit-image carries: the astronaut (NASA, public domain), of whom the name
on the suit is shown, and the cup of coffee (Rachel Michetti, CC0), which is compressed as JPEG of quality 75 after the
reduction. Under each result stands its PSNR on Y over the whole photograph, two pixels shaved.
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
from cclnn.metrics import psnr
from cclnn.ops import imresize

ROOT = Path(__file__).parents[1]
SCALE = 2
SIDE, GAP, CAPTION, FONT = 232, 8, 40, 14  # pixels of the picture


@dataclass(frozen=True)
class Row:
    """A photograph of scikit-image's, the detail that is shown of it, and the JPEG quality of its reduction, if any."""

    file: str
    box: tuple[int, int, int]  # left, top, side; pixels of the true image
    quality: int | None = None


ROWS = (Row("astronaut.png", (330, 345, 116)), Row("coffee.png", (330, 110, 116), quality=75))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean-model", default="auto")
    parser.add_argument("--compressed-model", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "figures" / "front.png")
    args = parser.parse_args()
    rows = [panels(row, args.compressed_model if row.quality else args.clean_model) for row in ROWS]
    width = len(rows[0]) * (SIDE + GAP) - GAP
    canvas = Image.new("RGB", (width, len(rows) * (SIDE + CAPTION)), "white")
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        for j, (caption, panel) in enumerate(row):
            left, top = j * (SIDE + GAP), i * (SIDE + CAPTION)
            canvas.paste(panel, (left, top))
            draw.multiline_text((left + 2, top + SIDE + 2), caption, fill="black", font_size=FONT, spacing=2)
    write_atomically(args.output, lambda path: canvas.save(path, "PNG", optimize=True))
    print(f"wrote {args.output}: {canvas.width} x {canvas.height}")


def panels(row: Row, model: str) -> list[tuple[str, Image.Image]]:
    """Caption and detail of what is given, of both results, and of the truth."""
    with Image.open(Path(skimage.__file__).parent / "data" / row.file) as file:
        image = file.convert("RGB")
    truth = image.crop((0, 0, image.width // SCALE * SCALE, image.height // SCALE * SCALE))
    small = picture(imresize(tensor(truth), 1 / SCALE))
    what = f"reduced by {SCALE}"
    if row.quality is not None:
        stored = BytesIO()
        small.save(stored, "JPEG", quality=row.quality, subsampling=2)
        small = Image.open(stored)
        what += f", JPEG {row.quality}"
    ours = cclnn.upscale(small, model=model, precision="fp32")
    bicubic = picture(imresize(tensor(small.convert("RGB")), SCALE))
    given = small.convert("RGB").resize(truth.size, Image.Resampling.NEAREST)
    shown = {
        f"{what}\n{small.width} x {small.height} pixels": given,
        f"bicubic\n{decibels(bicubic, truth):.2f} dB": bicubic,
        f"cclnn\n{decibels(ours, truth):.2f} dB": ours,
        f"the original\n{truth.width} x {truth.height} pixels": truth,
    }
    left, top, side = row.box
    box = (left, top, left + side, top + side)
    return [
        (caption, panel.crop(box).resize((SIDE, SIDE), Image.Resampling.NEAREST)) for caption, panel in shown.items()
    ]


def decibels(image: Image.Image, truth: Image.Image) -> float:
    return psnr(tensor(image).float() / 255, tensor(truth).float() / 255, border=SCALE).item()


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image[0].permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
