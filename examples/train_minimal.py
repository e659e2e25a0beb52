"""Train a small super-resolution network with CCLN blocks: data, model, loss, schedule, checkpoint, PSNR in one file.

python examples/train_minimal.py PHOTOS -o runs/minimal --steps 2000

PHOTOS is a folder of images. The same command resumes an interrupted run. The full loop, with several processes, checks
of the images, presets and logs, is examples/train/train.py.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from cclnn import create_model
from cclnn.image import read_image
from cclnn.losses import CCLNNLoss
from cclnn.metrics import psnr
from cclnn.models import SRModel
from cclnn.ops import imresize

SCALE = 2
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


def load_images(folder: Path, smallest: int) -> list[Tensor]:
    """Images as uint8 tensors (3, h, w); those with a side below `smallest` pixels are left out."""
    images = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        image: Image.Image = read_image(path).convert("RGB")
        if min(image.size) >= smallest:
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
            images.append(pixels.view(image.height, image.width, 3).movedim(-1, 0).contiguous())
    if len(images) < 2:
        raise SystemExit(f"{folder} must hold at least 2 images with sides of {smallest} pixels or more.")
    return images


def batches(
    images: list[Tensor], *, batch: int, patch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random pairs of LR and HR patches in [0, 1]: crop HR, flip or rotate it, reduce it by bicubic interpolation."""

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    side = SCALE * patch
    while True:
        crops = []
        for _ in range(batch):
            image = images[draw(len(images))]
            row, column = (draw(length - side + 1) for length in image.shape[1:])
            crop = image[:, row : row + side, column : column + side]
            crop = crop.rot90(draw(4), dims=(1, 2))
            crops.append(crop.flip(2) if draw(2) else crop)
        hr = torch.stack(crops)
        yield imresize(hr, 1 / SCALE).float() / 255, hr.float() / 255


def learning_rate(step: int, *, steps: int, highest: float, warmup: int = 50) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the highest rate. Steps count from 1."""
    if step <= warmup:
        return highest * step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


@torch.no_grad()
def validate(model: SRModel, image: Tensor) -> tuple[float, float]:
    """PSNR on Y of the model and of bicubic interpolation on the middle of one image."""
    rows, columns = (SCALE * (min(length, 256) // SCALE) for length in image.shape[1:])
    top, left = (image.shape[1] - rows) // 2, (image.shape[2] - columns) // 2
    hr = image[None, :, top : top + rows, left : left + columns]
    lr = imresize(hr, 1 / SCALE)
    truth = hr.float() / 255
    model.eval()
    found = psnr(model(lr.float() / 255), truth, border=SCALE).item()
    model.train()
    return found, psnr(imresize(lr, SCALE).float() / 255, truth, border=SCALE).item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of training images; the last one is used for validation")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the checkpoint and the model")
    parser.add_argument("--model", default="cclnn-s", help="a name of cclnn.list_models()")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32, help="side of the LR patches in pixels")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--every", type=int, default=200, help="steps between validations and checkpoints")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)  # initial weights, and the rotations of the attention
    generator = torch.Generator().manual_seed(0)  # patches
    *images, held_out = load_images(options.photos, smallest=SCALE * options.patch)
    model = create_model(options.model, scale=SCALE).train()
    objective = CCLNNLoss(warmup=options.steps // 10)  # L1 alone in the first tenth (Eq. 5-6)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = options.out / "last.pt", 1
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        first = state["step"] + 1

    pairs = batches(images, batch=options.batch, patch=options.patch, generator=generator)
    for step in range(first, options.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=options.steps, highest=options.lr)
        lr, hr = next(pairs)
        sr, block_loss = model(lr, return_loss=True)
        loss = objective(sr, hr, block_loss, epoch=step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % options.every == 0 or step == options.steps:
            found, bicubic = validate(model, held_out)
            print(f"step {step}: loss {loss.item():.4f}, PSNR {found:.2f} dB (bicubic {bicubic:.2f} dB)", flush=True)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            state |= {"generator": generator.get_state(), "torch": torch.get_rng_state()}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)  # an interrupted write leaves the old checkpoint
    model.eval().save_pretrained(options.out)
    print(f"wrote {options.out}; load it with cclnn.load({str(options.out)!r})")


if __name__ == "__main__":
    main()
