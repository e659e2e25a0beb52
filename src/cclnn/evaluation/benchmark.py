"""Measure models on datasets by one protocol: PSNR and SSIM of every image, seconds, memory, cost."""

import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from einops import rearrange

from cclnn import _machine
from cclnn._checks import check_at_least, check_choice
from cclnn._names import DEGRADATIONS, Degrade
from cclnn._typing import Float, Tensor
from cclnn.evaluation.complexity import cost, input_size
from cclnn.evaluation.datasets import Dataset, Pair, find_dataset
from cclnn.evaluation.degradations import degrade as degraded
from cclnn.evaluation.differences import compare
from cclnn.evaluation.memory import peak_memory
from cclnn.evaluation.results import Contestant, Evaluation, Result, Score
from cclnn.image.write import write_png
from cclnn.metrics import psnr, ssim
from cclnn.models import SRModel
from cclnn.ops import imresize
from cclnn.precision import Precision
from cclnn.pretrained.foreign import Network
from cclnn.upscaler import Upscaler
from cclnn.upscaler.network import Tile

BICUBIC = "bicubic"
WARM_UP = (32, 40)  # pixels of a first call that is not timed
StepReport = Callable[[int, int, str], None]
Model = str | SRModel


@dataclass(frozen=True)
class Runner:
    """A model ready to run: takes b c h w in [0, 1] and returns images `scale` times as large."""

    name: str
    fingerprint: str
    run: Callable[[Tensor], Tensor]
    model: Network | None  # None for bicubic


def evaluate(
    models: Iterable[str] | Mapping[str, Model],
    data: Iterable[str | os.PathLike[str]],
    *,
    scale: int,
    tile: Tile = "none",
    ensemble: bool = False,
    precision: Precision = "fp32",
    device: str = "auto",
    degrade: Degrade = "clean",
    memory: bool = True,
    json_path: str | os.PathLike[str] | None = None,
    save_images: str | os.PathLike[str] | None = None,
    progress: StepReport | None = None,
) -> Evaluation:
    """Measure PSNR and SSIM as the papers do: on Y of the 8-bit result, `scale` pixels shaved, averaged over images.

    Each image goes through all models before the next one, so that a slow phase of the machine affects all of them
    alike. Seconds are those of one call of `Upscaler`; each model makes one call first that is not timed.

    Args:
        models: names, folders or files that `cclnn.load` accepts, or "bicubic"; a mapping may also hold models.
        data: folders in a layout that `find_dataset` knows.
        scale: the scale of all models.
        tile: as in `Upscaler`; the papers use "none".
        ensemble: average over the 8 flips and rotations (the papers' "+").
        precision: as in `Upscaler`; the papers use "fp32".
        device: "cpu", "cuda", ...; "auto" is the GPU if there is one.
        degrade: what happens to every LR image first, "clean", "jpeg75", "jpeg85", "jpeg95", "noise2" or "noise5"; see
            `cclnn.evaluation.degradations.degrade`.
        memory: measure the peak memory of each model, each in its own process.
        json_path: file to save the results to after every image; if it exists, the run continues from it.
        save_images: folder to save the upscaled images to: MODEL/DATASET_x2/NAME.png.
        progress: called with (images done, images in all, description of the next step).

    Raises:
        ValueError: there are no models, a model has another scale, a dataset is incomplete, or the file at `json_path`
            has other settings.
        FileNotFoundError: a folder does not exist.
    """
    check_at_least("scale", scale, 2)
    datasets = [find_dataset(folder, scale=scale) for folder in data]
    runners = make_runners(models, scale, tile=tile, ensemble=ensemble, precision=precision, device=device)
    for name, found in (("data", datasets), ("models", runners)):
        if not found:
            raise ValueError(f"`{name}` must not be empty.")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"`data` must have different names, got {', '.join(names)}.")
    check_choice("degrade", degrade, DEGRADATIONS)
    settings: dict[str, Any] = {"tile": tile, "ensemble": ensemble, "precision": precision}
    if degrade != "clean":
        settings["degrade"] = degrade
    evaluation = _start(
        json_path,
        Evaluation(scale, settings, _machine.facts(gpu=torch.cuda.is_available() and device != "cpu")),
        runners,
    )
    save = partial(evaluation.save, json_path) if json_path is not None else _nothing
    save()

    todo = [
        (dataset, pair, [runner for runner in runners if not _is_done(evaluation, runner, dataset, pair)])
        for dataset in datasets
        for pair in dataset.pairs
    ]
    total, done = len(runners) * len(todo), 0
    warm: set[str] = set()
    for dataset, pair, waiting in todo:
        done += len(runners) - len(waiting)
        images = _load(pair, scale, degrade) if waiting else None
        for runner in waiting:
            assert images is not None  # loaded if a runner waits
            if progress:
                progress(done, total, f"{runner.name} {dataset.name}/{pair.name}")
            if runner.name not in warm:
                runner.run(torch.zeros(1, 3, *WARM_UP))
                warm.add(runner.name)
            score, sr = _score(runner, pair, *images, scale=scale)
            _result(evaluation, runner, dataset).scores.append(score)
            if save_images is not None:
                _save_image(sr, Path(save_images) / _file_name(runner.name) / f"{dataset.name}_x{scale}", pair.name)
            save()
            done += 1
    if progress:
        progress(done, total, "cost and memory")
    for runner in runners:
        _add_cost(evaluation, runner, memory=memory)
        save()
    evaluation.comparisons = compare(evaluation)
    save()
    return evaluation


def _load(pair: Pair, scale: int, degrade: Degrade) -> tuple[Tensor, Tensor]:
    lr, hr = pair.load(scale)
    return degraded(lr, degrade, name=pair.name), hr


def bicubic(lr: Float[Tensor, "b c h w"], *, scale: int) -> Float[Tensor, "b c sh sw"]:
    """Upscale by `imresize`, with the image rounded to 8 bits before and after each pass, as MATLAB does."""
    return imresize((lr * 255).round().byte(), scale).to(lr.dtype) / 255


def fingerprint(model: torch.nn.Module) -> str:
    """Hash the class, the configuration and all tensors of a model: equal models have equal fingerprints."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    if isinstance(model, SRModel):
        digest.update(repr(sorted(model.config.items())).encode())
    return digest.hexdigest()[:16]


def make_runners(
    models: Iterable[str] | Mapping[str, Model],
    scale: int,
    *,
    tile: Tile = "none",
    ensemble: bool = False,
    precision: Precision = "fp32",
    device: str = "auto",
) -> list[Runner]:
    """Load the models that `evaluate` runs; arguments and errors as there."""
    if isinstance(models, str):
        raise TypeError(f"`models` must be several, got the one string {models!r}.")
    named = dict(models) if isinstance(models, Mapping) else {name: name for name in models}
    runners = []
    for name, source in named.items():
        if isinstance(source, str) and source == BICUBIC:
            runners.append(Runner(name, BICUBIC, partial(bicubic, scale=scale), None))
            continue
        upscaler = Upscaler(source, tile=tile, precision=precision, device=device, ensemble=ensemble, edges="network")
        if upscaler.scale != scale:
            raise ValueError(f"model {name!r} is for x{upscaler.scale}, `scale` is {scale}.")
        runners.append(Runner(name, fingerprint(upscaler.model), upscaler, upscaler.model))
    return runners


def _start(json_path: Any, fresh: Evaluation, runners: list[Runner]) -> Evaluation:
    """Load the results that the file holds already, if they were made with these settings and weights."""
    evaluation = fresh
    if json_path is not None and Path(json_path).exists():
        evaluation = Evaluation.load(json_path)
        for what in ("scale", "settings"):
            old, new = getattr(evaluation, what), getattr(fresh, what)
            if old != new:
                raise ValueError(
                    f"{str(json_path)!r} holds results of {what} {old}, now it is {new}: use another file."
                )
    known = {model.name: model.fingerprint for model in evaluation.models}
    for runner in runners:
        if runner.name not in known:
            evaluation.models.append(Contestant(runner.name, runner.fingerprint))
        elif known[runner.name] != runner.fingerprint:
            raise ValueError(
                f"{str(json_path)!r} holds results of other weights named {runner.name!r}: use another file."
            )
    return evaluation


def _result(evaluation: Evaluation, runner: Runner, dataset: Dataset) -> Result:
    for result in evaluation.results:
        if (result.model, result.dataset) == (runner.name, dataset.name):
            return result
    evaluation.results.append(Result(runner.name, dataset.name, dataset.lr_source))
    return evaluation.results[-1]


def _is_done(evaluation: Evaluation, runner: Runner, dataset: Dataset, pair: Pair) -> bool:
    """Return whether the file has this image's score; raise ValueError if the image has changed since."""
    for result in evaluation.results:
        if (result.model, result.dataset) != (runner.name, dataset.name):
            continue
        for score in result.scores:
            if score.image == pair.name:
                if score.fingerprint != pair.fingerprint():
                    raise ValueError(f"{pair.hr} has changed since its results were written: use another file.")
                return True
    return False


def _score(runner: Runner, pair: Pair, lr: Tensor, hr: Tensor, *, scale: int) -> tuple[Score, Tensor]:
    started = time.perf_counter()
    sr = runner.run(lr)
    seconds = time.perf_counter() - started
    try:
        quality = psnr(sr, hr, border=scale).item(), ssim(sr, hr, border=scale).item()
    except ValueError as error:
        raise ValueError(f"{pair.hr} cannot be measured: {error}") from error
    rows, columns = lr.shape[2:]
    return Score(pair.name, *quality, seconds, (rows, columns), pair.fingerprint()), sr


def _add_cost(evaluation: Evaluation, runner: Runner, *, memory: bool) -> None:
    contestant = next(model for model in evaluation.models if model.name == runner.name)
    if runner.model is not None and contestant.macs is None:
        counted = cost(runner.model, input_size(evaluation.scale), repeats=0, memory=False)
        contestant.parameters, contestant.macs = counted.parameters, counted.macs
        contestant.activations = counted.activations
    sizes = [s.size for result in evaluation.results if result.model == runner.name for s in result.scores]
    largest = max(sizes, key=math.prod)
    if memory and contestant.peak_size != largest:
        where = "cpu" if runner.model is None else str(next(runner.model.parameters()).device)
        contestant.peak_bytes, contestant.peak_size = peak_memory(runner.run, largest, device=where), largest


def _save_image(sr: Float[Tensor, "1 3 h w"], folder: Path, name: str) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    pixels = rearrange((sr * 255).round().clamp(0, 255).byte(), "1 c h w -> h w c").cpu().numpy()
    write_png(Image.fromarray(pixels), folder / f"{name}.png")


def _file_name(model: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", model).strip("_")


def _nothing() -> None:
    """Replace `save` where there is no file."""
