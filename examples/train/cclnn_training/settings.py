"""What a run does: defaults, then a preset (a TOML file), then the command line."""

import argparse
import dataclasses
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from cclnn.losses.objective import CONTRASTIVE_WEIGHT
from cclnn.models import list_models
from cclnn.precision import PRECISIONS
from cclnn_training import degradations

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = Path(__file__).parents[1] / "presets"


def setting(default: Any, text: str, choices: tuple[Any, ...] | None = None) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass
class Settings:
    """One run. On the command line and in TOML files a name's "_" is "-"."""

    # What is trained
    model: str = setting("cclnn-s", "which network, by its name in cclnn.list_models()", tuple(list_models()))
    arguments: tuple[str, ...] = setting((), "of the network, as NAME=VALUE: channels=32 branch=local")
    scale: int = setting(2, "magnification", (2, 3, 4, 8))
    init_from: str = setting("", "trained weights to start from, of any scale: a name, folder or file")

    # On what
    data: tuple[str, ...] = setting((), "folders of images, searched recursively, or roots of DIV2K, Flickr2K, BSD")
    validation_data: tuple[str, ...] = setting((), "folders to measure PSNR on; none: hold out some of --data")
    validation: int = setting(8, "images of --data held out, a tenth at most, where there is no --validation-data")
    validation_crop: int = setting(384, "largest side of what is validated of an image, HR pixels; 0: all of it")
    lr_from: str = setting(
        "patch", "reduce the HR patch (paper), or cut from a reduced image (EDSR)", ("patch", "image")
    )
    degrade: str = setting("clean", "what LR patches go through, see degradations/*.toml", tuple(degradations.names()))
    reject: bool = setting(False, "draw again where a patch is flat or shows the blocks of JPEG")
    patch: int = setting(48, "LR patch, pixels per side (paper: 48)")
    shrink: float = setting(1.0, "reduce HR by a random factor from 1 to this before a patch is cut (paper: 1)")
    candidates: int = setting(3, "crops drawn per patch, of which the most detailed is taken (paper: 1)")
    workers: int = setting(1, "processes that prepare batches, for each process that trains")

    # How
    steps: int = setting(24_000, "steps of the optimiser")
    batch: int = setting(4, "patches per step, over all processes")
    accumulate: int = setting(1, "forward and backward passes that a step's batch is split into")
    lr: float = setting(1e-3, "highest learning rate of Adam (paper: 1e-4)")
    optimizer: str = setting("muon", "Muon for the trunk's convolutions, or Adam for every weight", ("adam", "muon"))
    muon_lr: float = setting(1e-3, "highest learning rate of Muon, for --optimizer muon")
    muon_decay: float = setting(0.2, "of those kernels, in shares of the learning rate; without it they grow on and on")
    beta2: float = setting(0.999, "Adam's second beta (paper: 0.999)")
    schedule: str = setting("cosine", "of the learning rates, see schedules.py", ("steps", "cosine", "one-cycle"))
    decay_every: int = setting(200_000, "steps until the learning rate halves, for --schedule steps")
    warmup: int = setting(500, "steps of linear growth before the schedule (one-cycle has its own)")
    contrastive_weight: float = setting(CONTRASTIVE_WEIGHT, "lambda, the weight of the blocks' loss (Eq. 6)")
    luma_weight: float = setting(0.0, "of luma's L1, added to that of RGB (paper: 0)")
    contrastive_after: int = setting(2500, "steps on L1 alone (paper: 15 % of them)")
    clip: float = setting(1.0, "largest norm of the gradient; 0: any")
    ema: float = setting(0.999, "decay of the average of the weights that is validated and kept; 0: no average")
    explosion: float = setting(10.0, "stop where the loss is this many times its running mean")
    seed: int = setting(0, "of weights, patches and hashing")

    # Where and how fast
    out: str = setting("", "folder of the run")
    cache: str = setting("", "folder of decoded images; by default in ~/.cache/cclnn")
    precision: str = setting("auto", "of products and convolutions", PRECISIONS)
    compile: bool = setting(False, "torch.compile the network")
    cpu: bool = setting(False, "train on the CPU even where there is a GPU")
    validate_every: int = setting(1000, "steps")
    save_every: int = setting(250, "steps")
    log_every: int = setting(50, "steps")


LISTS = {name for name, kind in get_type_hints(Settings).items() if kind == tuple[str, ...]}
MAY_CHANGE = {  # between a run and its resumption; the rest decides what the weights become
    "steps", "data", "out", "cache", "workers", "precision", "compile", "cpu", "explosion", "validate_every",
    "save_every", "log_every",
}  # fmt: skip


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings of a command line. Exits with a line that names what is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train a network of cclnn; see README.md beside this program."
    )
    parser.add_argument("--preset", default="small-cpu", help=f"a TOML file, or one of {', '.join(preset_names())}")
    types = get_type_hints(Settings)
    for entry in dataclasses.fields(Settings):
        flag = "--" + entry.name.replace("_", "-")
        shared = {"default": argparse.SUPPRESS, "help": entry.metadata["help"].replace("%", "%%")}
        if types[entry.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **shared)
        elif entry.name in LISTS:
            parser.add_argument(flag, nargs="*", **shared)
        else:
            parser.add_argument(flag, type=types[entry.name], choices=entry.metadata["choices"], **shared)
    given = vars(parser.parse_args(arguments))
    try:
        values: dict[str, Any] = {**read_preset(given.pop("preset")), **given}
        for name in LISTS & values.keys():
            values[name] = tuple(values[name])
        settings = Settings(**values)
        check(settings)
    except ValueError as error:
        parser.error(str(error))
    return settings


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_preset(source: str) -> dict[str, Any]:
    """Values of one of our presets, or of a TOML file such as the settings.toml of another run."""
    path = PRESETS / f"{source}.toml" if source in preset_names() else Path(source)
    if not path.is_file():
        raise ValueError(f"--preset {source}: no such file, nor one of {', '.join(preset_names())}")
    try:
        values = {name.replace("-", "_"): value for name, value in tomllib.loads(path.read_text()).items()}
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--preset {path}: {error}") from None
    types = get_type_hints(Settings)
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"--preset {path}: there is no setting {name.replace('_', '-')!r}")
        wanted = list if name in LISTS else types[name]
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ValueError(f"--preset {path}: {name.replace('_', '-')} must be {wanted.__name__}, got {value!r}")
        if isinstance(value, list) and not all(isinstance(part, str) for part in value):
            raise ValueError(f"--preset {path}: {name.replace('_', '-')} must hold strings, got {value!r}")
    return values


def check(settings: Settings) -> None:
    """What argparse cannot: presence, ranges, and the choices of values that come from a file."""
    for name in ("data", "out"):
        if not getattr(settings, name):
            raise ValueError(f"--{name} is needed, on the command line or in the preset")
    for entry in dataclasses.fields(Settings):
        value, choices, flag = getattr(settings, entry.name), entry.metadata["choices"], entry.name.replace("_", "-")
        if choices and value not in choices:
            raise ValueError(f"--{flag} must be one of {', '.join(map(str, choices))}, got {value!r}")
        least = LEAST.get(entry.name)
        if least is not None and not value >= least:
            raise ValueError(f"--{flag} must be at least {least}, got {value}")
    if 0 < settings.validation_crop < (least := least_validated(settings.scale)):
        raise ValueError(f"--validation-crop must be 0 or at least {least}, got {settings.validation_crop}")
    for name in ("ema", "beta2"):
        if not getattr(settings, name) < 1:
            raise ValueError(f"--{name} must be below 1, got {getattr(settings, name)}")
    if settings.degrade != "clean" and settings.lr_from == "image":
        raise ValueError("--degrade reduces the HR patch: it takes --lr-from patch")
    if not settings.shrink < math.inf:
        raise ValueError(f"--shrink must be finite, got {settings.shrink}")
    if settings.shrink > 1 and settings.lr_from == "image":
        raise ValueError("--shrink reduces the HR image: it takes --lr-from patch")
    if settings.batch % settings.accumulate:
        raise ValueError(f"--batch {settings.batch} does not divide into --accumulate {settings.accumulate} parts")
    model_arguments(settings)


LEAST = {
    "validation": 1, "validation_crop": 0, "patch": 1, "shrink": 1, "candidates": 1, "workers": 0, "steps": 1,
    "batch": 1, "accumulate": 1, "lr": 0, "muon_lr": 0, "muon_decay": 0, "beta2": 0, "decay_every": 1, "warmup": 0,
    "contrastive_weight": 0, "luma_weight": 0, "contrastive_after": 0, "clip": 0, "ema": 0, "explosion": 1, "seed": 0,
    "validate_every": 1, "save_every": 1, "log_every": 1,
}  # fmt: skip


def least_validated(scale: int) -> int:
    """HR pixels per side that SSIM's window of 11 needs once `scale` of them are shaved on each side."""
    return (math.ceil(11 / scale) + 2) * scale


def model_arguments(settings: Settings) -> dict[str, Any]:
    """--arguments channels=32 branch=local -> {"channels": 32, "branch": "local"}."""
    result: dict[str, Any] = {}
    for argument in settings.arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"--arguments takes NAME=VALUE, got {argument!r}")
        try:
            result[name] = json.loads(value)
        except json.JSONDecodeError:
            result[name] = value
    return result


def to_toml(settings: Settings) -> str:
    """The settings as a file that --preset takes. JSON's strings, numbers, booleans and lists are TOML's, too."""

    def text(value: Any) -> str:
        return "inf" if value == math.inf else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    return "".join(
        f"{name.replace('_', '-')} = {text(value)}\n" for name, value in dataclasses.asdict(settings).items()
    )


def differences(settings: Settings, earlier: dict[str, Any]) -> list[str]:
    """What a resumed run may not change: "batch 16 -> 8"."""
    now = dataclasses.asdict(settings)
    return [
        f"{name.replace('_', '-')} {earlier[name]} -> {now[name]}"
        for name in now
        if name not in MAY_CHANGE and name in earlier and earlier[name] != now[name]
    ]
