"""The program that train.py beside this folder starts.

settings  ->  pictures  ->  patches  ->  a step: loss, gradient, optimiser, moving average  ->  validation, checkpoint

The loss is L1, plus the blocks' contrastive loss once the warm-up is over (Liu et al. 2024, Eq. 5-6). A step's batch
and its hashing depend on --seed and the step's number alone: a run that was stopped, or killed, and started again with
the same command ends with the same weights, and so (but for rounding) does one on another number of processes.
"""

import dataclasses
import inspect
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from cclnn._files import write_atomically
from cclnn.attribution import attention_health
from cclnn.evaluation import find_dataset
from cclnn.evaluation.datasets import Pair as DatasetPair
from cclnn.layers import NonLocalSparseAttention
from cclnn.losses import CCLNNLoss
from cclnn.metrics import psnr, ssim
from cclnn.models import SRModel, create_model
from cclnn.ops import imresize
from cclnn.precision import DTYPES, autocast, choose_dtype, keep_freed_memory, lay_out
from cclnn_training import degradations, patches, pictures, state
from cclnn_training import settings as configuration
from cclnn_training.optimizers import make_optimizer
from cclnn_training.report import Report
from cclnn_training.schedules import schedule
from cclnn_training.settings import Settings

Pair = tuple[Tensor, Tensor]  # LR and HR, (b, 3, h, w) in [0, 1]
Validation = list[Callable[[], Pair]]  # an image each
MIXED_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
HEALTH_CROP = 96  # largest side of what the attention's health is measured on, LR pixels
SETTLED = 100  # steps after which the loss's running mean says what is normal
OVERFLOWS = 30  # steps in a row that fp16's scaler may leave out: it halves the scale each time
SAME_REQUEST = 10  # seconds in which signals are one: a launcher passes on what its processes were sent, too
DECODING = timedelta(hours=2)  # that the other processes wait for the first to decode the images


def main() -> None:
    settings = configuration.parse()
    keep_freed_memory()
    cpu = settings.cpu or not torch.accelerator.is_available()
    dtype = choose_dtype(settings.precision, PartialState(cpu=cpu, timeout=DECODING).device)  # type: ignore[arg-type]
    settings = dataclasses.replace(settings, precision=NAMES[dtype])
    accelerator = Accelerator(mixed_precision=MIXED_PRECISION[dtype], cpu=cpu)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        sys.exit(f"{started} processes were started, but accelerate makes {accelerator.num_processes} of them one run")
    if settings.batch % (accelerator.num_processes * settings.accumulate):
        sys.exit(
            f"--batch {settings.batch} does not divide among {accelerator.num_processes} processes with "
            f"--accumulate {settings.accumulate}"
        )
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    training, validation = read_data(settings, accelerator)

    run = build(settings, accelerator)
    run.data = training.fingerprint()
    state.restore(out / "last.pt", run)
    agree_on_start(run, accelerator)
    if accelerator.is_main_process:
        write_atomically(out / "settings.toml", lambda path: path.write_text(configuration.to_toml(settings)))
    report = Report(out, step=run.status.step, steps=settings.steps, silent=not accelerator.is_main_process)
    report.say(
        f"{len(training.chosen)} training images, {len(validation)} for validation; "
        f"{accelerator.num_processes} x {accelerator.device}, {dtype}"
    )
    scores = train(run, training, validation, report, accelerator, dtype)
    if scores is None:  # all steps were made before
        scores = validate(run.averaged, validation, report, settings.steps, accelerator, dtype)
    if accelerator.is_main_process:
        run.averaged.save_pretrained(out)
    summarise(run, scores, report)
    report.close()
    leave(accelerator)


def build(settings: Settings, accelerator: Accelerator) -> state.Run:
    """Network, average and optimiser as they are before the first step."""
    torch.manual_seed(settings.seed)
    try:
        model = create_model(settings.model, scale=settings.scale, **configuration.model_arguments(settings))
    except (TypeError, ValueError) as error:
        sys.exit(f"--arguments {' '.join(settings.arguments)}: {error}")
    lay_out(model).to(accelerator.device)
    if settings.init_from and not (Path(settings.out) / "last.pt").exists():
        for line in state.start_from(settings.init_from, model):
            accelerator.print(line)
    ema = AveragedModel(model, multi_avg_fn=state.moving_average(settings.ema)) if settings.ema else None
    try:
        optimizer = make_optimizer(
            model,
            kind=settings.optimizer,
            lr=settings.lr,
            muon_lr=settings.muon_lr,
            muon_decay=settings.muon_decay,
            beta2=settings.beta2,
        )
    except ValueError as error:
        sys.exit(f"--optimizer {settings.optimizer}: {error}; --optimizer adam takes every network")
    return state.Run(model, ema, optimizer, settings, accelerator.scaler)


def train(
    run: state.Run,
    training: patches.Patches,
    validation: Validation,
    report: Report,
    accelerator: Accelerator,
    dtype: torch.dtype,
) -> tuple[float, float] | None:
    """All steps that are left, and the scores after the last. Exits when asked to stop, or where the loss explodes.

    The state after a step is saved in the course of the next, once its loss has shown that the weights are sound.
    """
    settings, status, last = run.settings, run.status, Path(run.settings.out) / "last.pt"
    factor = schedule(settings)
    numbers = patches.sample_numbers(
        status.step + 1, settings.steps, batch=settings.batch, parts=settings.accumulate,
        rank=accelerator.process_index, ranks=accelerator.num_processes,
    )  # fmt: skip
    stream = patches.batches(training, numbers, workers=settings.workers)
    if settings.compile:
        run.model.compile()
    network, optimizer = accelerator.prepare(run.model, run.optimizer)
    objective = CCLNNLoss(weight=settings.contrastive_weight, warmup=settings.contrastive_after)

    stop, watch = StopRequest(), Watch(settings.explosion, *status.usual)
    scores, saved, clock = None, status.step, time.monotonic()
    for step in range(status.step + 1, settings.steps + 1):
        for group in run.optimizer.param_groups:
            group["lr"] = group["highest"] * factor(step)
        parts = islice(stream, settings.accumulate)
        mine = backward(network, run, parts, objective, step, accelerator)
        norm = float(accelerator.clip_grad_norm_(network.parameters(), settings.clip or math.inf))
        losses, stopping = agree(mine, stop.requested, accelerator)
        if trouble := watch.trouble(losses["loss"], norm, norms_may_overflow=run.scaler is not None):
            leave(accelerator)
            sys.exit(f"{trouble} at step {step}; {last_good(last)}")
        due = status.step > saved and status.step % settings.save_every == 0
        if (due or stopping) and accelerator.is_main_process:
            state.save(last, run)
        if stopping:
            report.close()
            leave(accelerator)
            sys.exit(f"stopped after step {status.step}; the same command goes on from there")
        status.usual = watch.mean, watch.count
        optimizer.step()
        optimizer.zero_grad()
        if run.ema is not None:
            run.ema.update_parameters(run.model)

        now = time.monotonic()
        status.step, status.seconds, clock = step, status.seconds + now - clock, now
        ends = step == settings.steps
        told = ends or step % settings.log_every == 0
        report.count(
            step, settings.batch, losses | {"gradient": norm}, lr=run.optimizer.param_groups[-1]["lr"], now=told
        )
        if ends or step % settings.validate_every == 0:
            with report.aside():
                scores = validate(run.averaged, validation, report, step, accelerator, dtype)
            if not math.isfinite(scores[0]):
                leave(accelerator)
                sys.exit(f"the network's output became {scores[0]} at step {step}; {last_good(last)}")
            report.scalars(step, psnr=scores[0], ssim=scores[1])
            report.say(f"step {step}  {scores[0]:.3f} dB  SSIM {scores[1]:.4f}")
            if accelerator.is_main_process:
                with report.aside(), autocast(dtype, accelerator.device):
                    report.log(step, health(run.averaged, validation[0], accelerator.device))
            keep_best(run, scores, accelerator)
        if ends and accelerator.is_main_process:
            state.save(last, run)
    return scores


def backward(
    network: torch.nn.Module,
    run: state.Run,
    parts: Iterator[Pair],
    objective: CCLNNLoss,
    step: int,
    accelerator: Accelerator,
) -> dict[str, Tensor]:
    """Add up the gradient of the mean loss over the parts of this process's share; the loss and its terms, detached."""
    total: dict[str, Tensor] = {}
    of = run.settings.accumulate
    has_loss = "return_loss" in inspect.signature(run.model.forward).parameters
    for number, (lr, hr) in enumerate(parts, 1):
        lr = lr.to(accelerator.device, non_blocking=True, memory_format=torch.channels_last)
        hr = hr.to(accelerator.device, non_blocking=True)
        with accelerator.no_sync(network) if number < of else nullcontext():
            state.reseed(run.settings.seed, step)  # after the loader, which draws a number of its own
            if has_loss:
                sr, block_loss = network(lr, return_loss=True)
            else:
                sr, block_loss = network(lr), lr.new_zeros(())
            loss = objective(sr, hr, block_loss, epoch=step)
            if run.settings.luma_weight:
                loss = loss + run.settings.luma_weight * luma_error(sr, hr)
            accelerator.backward(loss / of)
        values = {"loss": loss, "l1": (sr.detach().float() - hr).abs().mean(), "contrastive": block_loss}
        total = {name: total.get(name, 0) + value.detach().float() / of for name, value in values.items()}
    return total


def luma_error(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean of |Y(sr) - Y(hr)|, Y = 0.299 R + 0.587 G + 0.114 B: what benchmarks measure, but for BT.601's range."""
    luma = hr.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return ((sr.float() - hr) * luma).sum(1).abs().mean()


def agree(mine: dict[str, Tensor], stop: bool, accelerator: Accelerator) -> tuple[dict[str, float], bool]:
    """Means of the losses over all processes, and whether any was asked to stop: all act alike at the same step."""
    both = torch.stack([*mine.values(), torch.tensor(float(stop), device=accelerator.device)])
    *means, stops = accelerator.reduce(both, reduction="mean").tolist()
    return dict(zip(mine, means, strict=True)), stops > 0


def agree_on_start(run: state.Run, accelerator: Accelerator) -> None:
    """Exit unless all processes go on from the same step."""
    steps = accelerator.gather(torch.tensor([run.status.step], device=accelerator.device)).tolist()
    if len({*steps}) > 1:
        found = ", ".join(map(str, steps))
        sys.exit(f"the processes found checkpoints of steps {found}: --out must be one folder that all machines share")


def leave(accelerator: Accelerator) -> None:
    """End the processes' connection, once all have come here.

    Without it one may end while another still writes, and a launcher ends the others as soon as one has ended; or it
    aborts in the midst of its connection's threads.
    """
    accelerator.wait_for_everyone()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Watch:
    """Sees a training run go wrong before its weights do. `mean` and `count` are of the losses so far."""

    def __init__(self, explosion: float, mean: float = 0.0, count: int = 0) -> None:
        self.explosion = explosion
        self.mean, self.count = mean, count
        self.overflows = 0

    def trouble(self, loss: float, norm: float, *, norms_may_overflow: bool) -> str | None:
        """What is wrong with a step that is about to be made; None if nothing is."""
        if not math.isfinite(loss):
            return f"the loss became {loss}"
        self.overflows = 0 if math.isfinite(norm) else self.overflows + 1
        if self.overflows > (OVERFLOWS if norms_may_overflow else 0):  # in fp16 the scaler leaves such a step out
            return f"the norm of the gradient became {norm}"
        if self.count >= SETTLED and loss > self.explosion * self.mean:
            return f"the loss became {loss:.4g}, {loss / self.mean:.1f} times its running mean"
        self.count += 1
        self.mean += (loss - self.mean) / min(self.count, SETTLED)
        return None


def last_good(path: Path) -> str:
    return f"the last good checkpoint is {path}" if path.exists() else "there is no checkpoint yet"


# --- data ---------------------------------------------------------------------------------------------------------


def read_data(settings: Settings, accelerator: Accelerator) -> tuple[patches.Patches, Validation]:
    """Patches to train on, and what to validate on, decoded by the first process."""
    cache = Path(settings.cache) if settings.cache else pictures.default_cache()
    lr, least = None, max(settings.patch * settings.scale, configuration.least_validated(settings.scale))
    with accelerator.main_process_first():
        paths = pictures.find(settings.data)
        if settings.lr_from == "image":
            lr = pictures.decode(paths, cache, scale=settings.scale, least=math.ceil(least / settings.scale))
            paths = [Path(name) for name in lr.names]
        hr = pictures.decode(paths, cache, least=least)
    chosen = list(range(len(hr)))
    if settings.validation_data:
        validation = read_validation(settings, accelerator)
    else:
        if len(hr) < 2:
            sys.exit("one image cannot be both trained on and held out; give more, or --validation-data")
        most = max(1, len(hr) // 10)
        held_out = sorted(random.Random(0).sample(chosen, k=min(settings.validation, most)))
        chosen = [i for i in chosen if i not in held_out]
        validation = [partial(middle_of_picture, hr, i, settings.scale, settings.validation_crop) for i in held_out]
    training = patches.Patches(
        hr, lr, chosen, side=settings.patch, scale=settings.scale, candidates=settings.candidates, seed=settings.seed,
        shrink=settings.shrink, degradation=degradations.read(settings.degrade), reject=settings.reject,
    )  # fmt: skip
    return training, validation


def read_validation(settings: Settings, accelerator: Accelerator) -> Validation:
    """The usable images of --validation-data: one that cannot be read is named now, not in hours."""
    validation: Validation = []
    for folder in settings.validation_data:
        try:
            pairs = find_dataset(folder, scale=settings.scale).pairs
        except (ValueError, OSError) as error:
            sys.exit(f"--validation-data: {error}")
        for pair in pairs:
            image = partial(middle_of_pair, pair, settings.scale, settings.validation_crop)
            try:
                side = min(image()[1].shape[2:])
                if side < (least := configuration.least_validated(settings.scale)):
                    raise ValueError(f"{pair.hr} has {side} pixels on a side, {least} are needed")
                validation.append(image)
            except (ValueError, OSError) as error:
                if accelerator.is_main_process:
                    print(f"left out {error}", file=sys.stderr)
    if not validation:
        sys.exit(f"--validation-data: no usable image in {', '.join(settings.validation_data)}")
    return validation


def middle_of_picture(hr: pictures.Pictures, i: int, scale: int, crop: int) -> Pair:
    """The middle of a training image, with its reduction."""
    image = torch.from_numpy(hr[i].copy()).permute(2, 0, 1)[None]
    truth = image[..., middle(image.shape[-2] // scale, crop // scale, scale), :]
    truth = truth[..., middle(image.shape[-1] // scale, crop // scale, scale)]
    return imresize(truth, 1 / scale).float() / 255, truth.float() / 255


def middle_of_pair(pair: DatasetPair, scale: int, crop: int) -> Pair:
    """The middle of a benchmark's image, both sizes as they are stored."""
    lr, hr = pair.load(scale)
    height, width = lr.shape[-2:]
    return (
        lr[..., middle(height, crop // scale), :][..., middle(width, crop // scale)],
        hr[..., middle(height, crop // scale, scale), :][..., middle(width, crop // scale, scale)],
    )


def middle(length: int, most: int, scale: int = 1) -> slice:
    """The middle `most` of `length` LR pixels (0: all of them), as a slice of an image `scale` times as large."""
    size = min(length, most) if most else length
    start = (length - size) // 2
    return slice(start * scale, (start + size) * scale)


# --- validation ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def validate(
    model: SRModel,
    validation: Validation,
    report: Report,
    step: int,
    accelerator: Accelerator,
    dtype: torch.dtype,
) -> tuple[float, float]:
    """Mean PSNR and SSIM on Y with `scale` pixels shaved, the images dealt out to the processes.

    NaN where the network's output is not finite.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    for number in range(accelerator.process_index, len(validation), accelerator.num_processes):
        lr, hr = validation[number]()
        with autocast(dtype, accelerator.device):
            sr = model(lr.to(accelerator.device, memory_format=torch.channels_last)).float().cpu()
        if not sr.isfinite().all():
            sums += math.nan
            continue
        sr = sr.clamp(0, 1)  # early on it may be anything
        sums += torch.stack([psnr(sr, hr, border=model.scale)[0], ssim(sr, hr, border=model.scale)[0]])
        if number == 0:
            report.image(step, "validation", sr[0])
    model.train(was_training)
    total = accelerator.reduce(sums.float().to(accelerator.device), reduction="sum") / len(validation)
    return float(total[0]), float(total[1])


def health(model: SRModel, image: Callable[[], Pair], device: torch.device) -> dict[str, float]:
    """What the sparse attentions do with the middle of an image, by name; empty for networks without any."""
    if not any(isinstance(module, NonLocalSparseAttention) for module in model.modules()):
        return {}
    lr, hr = image()
    rows, columns = (middle(length, HEALTH_CROP) for length in lr.shape[-2:])
    hr_rows, hr_columns = (middle(length, HEALTH_CROP, model.scale) for length in lr.shape[-2:])
    found = attention_health(model, lr[..., rows, columns].to(device), hr[..., hr_rows, hr_columns].to(device))
    return {f"attention/{name}": value for name, value in found.numbers().items()}


def keep_best(run: state.Run, scores: tuple[float, float], accelerator: Accelerator) -> None:
    """Store the weights of the highest PSNR so far in the run's folder `best`."""
    if run.status.best is None or scores[0] > run.status.best[0]:
        run.status.best = scores[0], run.status.step
        if accelerator.is_main_process:
            run.averaged.save_pretrained(Path(run.settings.out) / "best")


def summarise(run: state.Run, scores: tuple[float, float], report: Report) -> None:
    status, settings = run.status, run.settings
    images, hours = status.step * settings.batch, status.seconds / 3600
    best = "none" if status.best is None else f"{status.best[0]:.3f} dB at step {status.best[1]}"
    report.summary(
        {
            "weights": f"{settings.out}/model.safetensors",
            "steps": status.step,
            "images": images,
            "time": f"{hours:.2f} h, {images / hours / 3600:.1f} images/s",
            "validation": f"{scores[0]:.3f} dB, SSIM {scores[1]:.4f}",
            "best": f"{best}, in {settings.out}/best",
        }
    )


class StopRequest:
    """SIGTERM and Ctrl-C ask for a stop in the course of the next step; one that comes later again stops at once."""

    def __init__(self) -> None:
        self.since: float | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    @property
    def requested(self) -> bool:
        return self.since is not None

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.since is None:
            self.since = now
        elif now - self.since > SAME_REQUEST:
            raise KeyboardInterrupt
