"""Upscale an image file in three lines of Python.

python examples/upscale_image.py PHOTO OUTPUT
"""

import sys

from PIL import Image

import cclnn


def main() -> None:
    source, target = sys.argv[1:3]
    photo = Image.open(source)  # grey stays grey, transparency is kept
    larger = cclnn.upscale(photo, model="cclnn-s-x2")
    larger.save(target)
    print(f"{source}: {photo.size} -> {target}: {larger.size}")


if __name__ == "__main__":
    main()
