"""Train a model of cclnn on folders of images: the reference loop, small enough to read in one sitting.

    python examples/train.py --data PHOTOS --out runs/tiny --model cclnn-t --scale 2

As in the CCLN paper, an LR patch is made from a random HR crop after one of the 8 flips and rotations, by MATLAB's
bicubic; the loss is L1, plus the blocks' contrastive loss once the warm-up is over (Eq. 5-6). The weights that are
kept and validated are an exponential moving average. Every STEP's batch depends on --seed and the step's number alone,
so a run that was stopped and started again with the same command ends with the same weights. Needs the extra "train".
"""

import argparse
import math
import random
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from cclnn import load
from cclnn.losses import CCLNNLoss
from cclnn.metrics import psnr
from cclnn.models import CCLNN, SRModel, create_model, list_models
from cclnn.ops import imresize
from cclnn.precision import PRECISIONS, autocast, choose_dtype, keep_freed_memory, lay_out

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
VALIDATION_CROP = 384
Picture = npt.NDArray[np.uint8]  # h w 3


def main() -> None:
    args = parse_arguments()
    keep_freed_memory()
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    dtype = choose_dtype(args.precision, device)
    args.out.mkdir(parents=True, exist_ok=True)

    pictures = read_pictures(args.data, least=args.patch * args.scale)
    if len(pictures) < 2 and not args.validation_data:
        sys.exit("one image cannot be both trained on and held out; give more, or --validation-data")
    training, kept_out = pictures, []
    if args.validation_data:
        kept_out = read_pictures(args.validation_data, least=16 * args.scale)
    else:
        held_out = set(random.Random(0).sample(range(len(pictures)), k=min(args.validation, len(pictures) - 1)))
        training = [picture for i, picture in enumerate(pictures) if i not in held_out]
        kept_out = [picture for i, picture in enumerate(pictures) if i in held_out]
    validation = [centre_crop(picture, args.scale) for picture in kept_out]
    print(f"{len(training)} training images, {len(validation)} for validation; {device}, {dtype}", file=sys.stderr)

    model = lay_out(create_model(args.model, scale=args.scale)).to(device)
    assert isinstance(model, SRModel)  # lay_out returns what it was given
    if args.init_from and not (args.out / "last.pt").exists():
        start_from(args.init_from, model)
    ema = AveragedModel(model, avg_fn=moving_average(args.ema))
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, betas=(0.9, 0.999), eps=1e-8, fused=True)
    objective = CCLNNLoss(weight=args.weight, warmup=int(args.contrastive_after * args.steps))
    done = restore(args.out / "last.pt", model, ema, optimizer)

    stop = StopRequest()
    loss_sum, count, score = 0.0, 0, math.nan
    bar = tqdm(total=args.steps, initial=done, unit="step", dynamic_ncols=True, mininterval=2)
    for step, (lr_image, hr_image) in batches(training, args, first=done + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * schedule(step, args.steps, args.warmup)
        lr_image = lr_image.to(device).contiguous(memory_format=torch.channels_last)
        with autocast(dtype, device):
            sr, block_loss = run(model, lr_image)
        loss = objective(sr, hr_image.to(device), block_loss, epoch=step)
        if not torch.isfinite(loss):
            sys.exit(f"the loss became {loss.item()} at step {step}; the last good state is {args.out / 'last.pt'}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        ema.update_parameters(model)

        loss_sum, count = loss_sum + loss.item(), count + 1
        bar.update()
        last = step == args.steps or stop.requested
        if step % args.validate_every == 0 or last:
            score = validate(averaged(ema), validation, device, dtype)
            tqdm.write(f"step {step}  loss {loss_sum / count:.5f}  contrastive {block_loss.item():.3f}  {score:.3f} dB")
            loss_sum, count = 0.0, 0
        if step % args.save_every == 0 or last:
            save(args.out / "last.pt", model, ema, optimizer, step)
        bar.set_postfix(loss=f"{loss.item():.4f}", psnr=f"{score:.3f}", refresh=False)
        if stop.requested:
            sys.exit(f"stopped after step {step}; the same command goes on from there")
    bar.close()
    averaged(ema).save_pretrained(args.out)
    print(f"wrote {args.out}/model.safetensors: {score:.3f} dB on {len(validation)} validation images", file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of images, searched recursively")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: last.pt, model.safetensors")
    parser.add_argument("--model", choices=list_models(), default="cclnn-t", help="which network")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="magnification")
    parser.add_argument("--init-from", help="trained weights to start from, of any scale: a name, folder or file")
    parser.add_argument("--steps", type=int, default=10_000, help="training steps")
    parser.add_argument("--batch", type=int, default=16, help="patches per step")
    parser.add_argument("--patch", type=int, default=32, help="LR patch, pixels per side (48 in the paper)")
    parser.add_argument("--candidates", type=int, default=3, help="crops drawn per patch; the most detailed is taken")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate (1e-4 in the paper)")
    parser.add_argument("--warmup", type=int, default=250, help="steps of linear warm-up before the cosine")
    parser.add_argument("--clip", type=float, default=1.0, help="largest gradient norm")
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the average of the weights")
    parser.add_argument("--weight", type=float, default=4e-3, help="lambda, weight of the contrastive loss (Eq. 6)")
    parser.add_argument("--contrastive-after", type=float, default=0.15, help="share of the steps on L1 alone")
    parser.add_argument("--validation", type=int, default=8, help="images of --data held out to measure PSNR on")
    parser.add_argument("--validation-data", type=Path, nargs="+", help="folders to measure PSNR on, instead")
    parser.add_argument("--validate-every", type=int, default=500, help="steps")
    parser.add_argument("--save-every", type=int, default=250, help="steps")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of products and convolutions")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to train")
    parser.add_argument("--seed", type=int, default=0, help="of weights, patches and hashing")
    return parser.parse_args()


def run(model: SRModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """Image and block loss; networks without CCLN blocks have none."""
    if isinstance(model, CCLNN):
        sr, block_loss = model(x, return_loss=True)
        return sr, block_loss
    return model(x), x.new_zeros(())


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to 1 %."""
    if step <= warmup:
        return step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Plain average of the first 1 / (1 - decay) weights, exponential from then on: no memory of the initial ones."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return torch.lerp(averaged, current, max(1 - decay, 1 / (int(count) + 1)))

    return average


def averaged(ema: AveragedModel) -> SRModel:
    """The network that holds the average."""
    assert isinstance(ema.module, SRModel)  # it copies what it was given
    return ema.module


# --- data ---------------------------------------------------------------------------------------------------------


def read_pictures(folders: list[Path], *, least: int) -> list[Picture]:
    """Decode every image once; broken and too small ones are named and left out."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    pictures: list[Picture] = []
    for path in tqdm(paths, desc="reading", unit="image", dynamic_ncols=True):
        try:
            with Image.open(path) as image:
                picture = np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            tqdm.write(f"left out {path}: {error}")
            continue
        if min(picture.shape[:2]) < least:
            tqdm.write(f"left out {path}: {picture.shape[1]} x {picture.shape[0]} pixels, {least} are needed")
            continue
        pictures.append(picture)
    if not pictures:
        sys.exit(f"no usable image of {least} pixels per side or more in {', '.join(map(str, folders))}")
    return pictures


def batches(
    pictures: list[Picture], args: argparse.Namespace, *, first: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Steps first..--steps, each with its (lr, hr) batch, prepared one ahead in a thread."""
    areas = np.array([picture.shape[0] * picture.shape[1] for picture in pictures], dtype=np.float64)
    chances = areas / areas.sum()
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(make_batch, pictures, chances, args, first)
        for step in range(first, args.steps + 1):
            batch = ahead.result()
            ahead = pool.submit(make_batch, pictures, chances, args, step + 1)
            yield step, batch


def make_batch(
    pictures: list[Picture], chances: npt.NDArray[np.float64], args: argparse.Namespace, step: int
) -> tuple[Tensor, Tensor]:
    """HR crops under random flips and rotations, and their bicubic reductions, in [0, 1]."""
    rng = np.random.default_rng((args.seed, step))
    side = args.patch * args.scale
    crops = []
    for index in rng.choice(len(pictures), size=args.batch, p=chances):
        candidates = [random_crop(pictures[index], side, rng) for _ in range(args.candidates)]
        crop = max(candidates, key=detail)
        crop = np.rot90(crop, k=int(rng.integers(4)))
        crops.append(crop[:, ::-1] if rng.integers(2) else crop)
    hr = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    lr = imresize(hr, 1 / args.scale)
    return lr.float() / 255, hr.float() / 255


def random_crop(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    row = rng.integers(picture.shape[0] - side + 1)
    col = rng.integers(picture.shape[1] - side + 1)
    return picture[row : row + side, col : col + side]


def detail(crop: Picture) -> float:
    """Mean absolute difference of neighbours in the green channel: near zero in skies."""
    green = crop[:, :, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def centre_crop(picture: Picture, scale: int) -> Picture:
    """The middle of an image, VALIDATION_CROP pixels per side at most, a multiple of the scale."""
    height, width = (min(length, VALIDATION_CROP) // scale * scale for length in picture.shape[:2])
    row, col = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[row : row + height, col : col + width]


@torch.no_grad()
def validate(model: SRModel, pictures: list[Picture], device: torch.device, dtype: torch.dtype) -> float:
    """Mean PSNR on Y, `scale` pixels shaved."""
    training = model.training
    model.eval()
    scores = []
    for picture in pictures:
        hr = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        lr = (imresize(hr, 1 / model.scale).float() / 255).to(device).contiguous(memory_format=torch.channels_last)
        with autocast(dtype, device):
            sr = model(lr)
        scores.append(psnr(sr.cpu(), hr.float() / 255, border=model.scale).item())
    model.train(training)
    return float(np.mean(scores))


# --- state --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def start_from(source: str, model: SRModel) -> None:
    """Copy the weights of another network where name and shape agree (the trunk, when the scales differ), and say key
    by key which were not found there and keep their random values.
    """
    trained, own = load(source).state_dict(), model.state_dict()
    fitting = {name: own[name].shape == tensor.shape for name, tensor in trained.items() if name in own}
    for name, tensor in own.items():
        if fitting.get(name):
            tensor.copy_(trained[name])
        else:
            found = f"it has shape {tuple(trained[name].shape)} there" if name in fitting else "it is not there"
            print(f"not started from {source}: {name} {tuple(tensor.shape)}, {found}", file=sys.stderr)
    if not any(fitting.values()):
        sys.exit(f"nothing in {source} fits {type(model).__name__} with {model.config}")


def save(path: Path, model: SRModel, ema: AveragedModel, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Everything the run depends on, written beside `path` and renamed."""
    state = {
        "step": step,
        "config": model.config,
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
    }
    temporary = path.with_suffix(".partial")
    torch.save(state, temporary)
    temporary.replace(path)


def restore(path: Path, model: SRModel, ema: AveragedModel, optimizer: torch.optim.Optimizer) -> int:
    """The step reached by an earlier run in the same folder, whose state is taken over; 0 if there is none."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["config"] != model.config:
        sys.exit(f"{path} is a run of another model: {state['config']}, this one is {model.config}")
    model.load_state_dict(state["model"])
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return int(state["step"])


class StopRequest:
    """SIGTERM and Ctrl-C ask for a stop after the step at hand; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


if __name__ == "__main__":
    main()
