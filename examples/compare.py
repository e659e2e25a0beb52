"""Draw a photograph with a box, and what is in the box upscaled by bicubic interpolation and by cclnn.

python examples/compare.py PHOTO OUTPUT [--box X Y WIDTH HEIGHT] [--model cclnn-s-x2]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import cclnn

HEIGHT, GAP, CAPTION = 300, 8, 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--box", type=int, nargs=4, default=(100, 80, 80, 75), metavar=("X", "Y", "WIDTH", "HEIGHT"))
    parser.add_argument("--model", default="cclnn-s-x2")
    args = parser.parse_args()

    photo = Image.open(args.photo).convert("RGB")
    sharp = cclnn.upscale(photo, model=args.model)
    smooth = photo.resize(sharp.size, Image.Resampling.BICUBIC)
    x, y, width, height = args.box
    scale = sharp.width // photo.width
    large_box = (x * scale, y * scale, (x + width) * scale, (y + height) * scale)

    boxed = photo.copy()
    ImageDraw.Draw(boxed).rectangle((x, y, x + width, y + height), outline="white", width=2)
    panels = {
        f"{args.photo.name}, {photo.width} x {photo.height}": boxed,
        f"bicubic x{scale}": smooth.crop(large_box),
        f"{args.model}": sharp.crop(large_box),
    }
    scaled = [
        panel.resize((panel.width * HEIGHT // panel.height, HEIGHT), Image.Resampling.NEAREST)
        for panel in panels.values()
    ]
    canvas = Image.new("RGB", (sum(p.width for p in scaled) + GAP * (len(scaled) - 1), HEIGHT + CAPTION), "white")
    left = 0
    for caption, panel in zip(panels, scaled, strict=True):
        canvas.paste(panel, (left, 0))
        ImageDraw.Draw(canvas).text((left + 2, HEIGHT + 4), caption, fill="black", font_size=14)
        left += panel.width + GAP
    canvas.save(args.output)
    print(f"wrote {args.output}: {canvas.width} x {canvas.height}")


if __name__ == "__main__":
    main()
