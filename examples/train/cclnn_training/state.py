"""Everything a run depends on, in one file: what is written is whole, what is read fits.

No generator's state is among it: the randomness of a step is a function of --seed and the step's number (`reseed`).
"""

import dataclasses
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

import cclnn
from cclnn._files import write_atomically
from cclnn.models import SRModel
from cclnn_training.settings import Settings, differences

HALF_A_FILE = (EOFError, RuntimeError, UnpicklingError, LookupError)  # what torch.load raises for one


@dataclass
class RunStatus:
    """What a run has come to.

    step:    steps done, which is the position in the data, too
    seconds: of training, validation included, over all resumptions
    best:    validation's highest PSNR so far, and the step that it belongs to
    usual:   running mean of the loss, and over how many steps
    """

    step: int = 0
    seconds: float = 0.0
    best: tuple[float, int] | None = None
    usual: tuple[float, int] = (0.0, 0)


@dataclass
class Run:
    """The parts of a run that a checkpoint holds."""

    model: SRModel
    ema: AveragedModel | None
    optimizer: Optimizer
    settings: Settings
    scaler: Any = None  # of fp16's gradients
    data: str = ""  # fingerprint of the training images
    status: RunStatus = field(default_factory=RunStatus)
    made_with: dict[str, str] = field(default_factory=lambda: made_with())

    @property
    def averaged(self) -> SRModel:
        """The network that is validated and kept."""
        if self.ema is None:
            return self.model
        assert isinstance(self.ema.module, SRModel)  # it copied our model
        return self.ema.module


def reseed(seed: int, step: int) -> None:
    """Set torch's generators for one step: NLSA's rotations are then the same on every process and in every repeat."""
    torch.manual_seed(seed * 1_000_003 + step)


def moving_average(decay: float) -> Any:
    """Plain average of the first 1 / (1 - decay) weights, exponential from then on: no memory of the initial ones."""

    def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        share = max(1 - decay, 1 / (int(count) + 1))
        for mean, new in zip(averaged, current, strict=True):
            mean.lerp_(new, share)

    return average


def save(path: Path, run: Run) -> None:
    """Write a checkpoint beside `path` and rename it, so that the one before is there until this one is whole.

    Exits with a message if that fails, because the disk is full for example.
    """
    state = {
        **dataclasses.asdict(run.status),
        "config": run.model.config,
        "model": run.model.state_dict(),
        "ema": run.ema.state_dict() if run.ema is not None else None,
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict() if run.scaler is not None else None,
        "settings": dataclasses.asdict(run.settings),
        "data": run.data,
        "made_with": run.made_with,
    }
    try:
        write_atomically(path, lambda temporary: torch.save(state, temporary))
    except (OSError, RuntimeError) as error:  # torch reports a failed write as either
        kept = f"the checkpoint of step {_step_in(path)} is still there" if path.exists() else "there is no earlier one"
        sys.exit(f"cannot write {path} at step {run.status.step}: {error}; {kept}")


def restore(path: Path, run: Run) -> None:
    """Go on from a checkpoint, if there is one. Exits where it is damaged, or of other settings or images."""
    if not path.exists():
        return
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except HALF_A_FILE:
        sys.exit(f"{path} cannot be read: it is no whole checkpoint; move it away, and the run starts anew")
    if "data" not in state:
        sys.exit(f"{path} is of an earlier version of train.py; give this run another --out")
    if changed := differences(run.settings, state["settings"]):
        sys.exit(f"{path} is of a run with other settings: {', '.join(changed)}; give it another --out")
    if run.data != state["data"]:
        sys.exit(f"{path} is of a run on other images: one was added, removed or changed; give it another --out")
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    if run.ema is not None:
        run.ema.load_state_dict(state["ema"])
    if run.scaler is not None and state["scaler"] is not None:
        run.scaler.load_state_dict(state["scaler"])
    run.status = RunStatus(**{entry.name: state[entry.name] for entry in dataclasses.fields(RunStatus)})


@torch.no_grad()
def start_from(source: str, model: SRModel) -> list[str]:
    """Copy the weights of another network of the class, the trunk alone if its scale is another.

    Returns:
        A line for each tensor that keeps its random values, or of the other network is not used, saying why.
    """
    try:
        other = cclnn.load(source)
    except (ValueError, OSError) as error:
        sys.exit(f"--init-from: {error}")
    if type(other) is not type(model):
        sys.exit(f"--init-from {source}: it is of class {type(other).__name__}, not {type(model).__name__}")
    trained, own = other.state_dict(), model.state_dict()
    of_one_scale = {name for name in own if other.scale != model.scale and model.architecture.upscales(name)}
    reasons = {name: _why_not(name, tensor, trained, name in of_one_scale) for name, tensor in own.items()}
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad and weight.ndim > 1}
    if all(reasons[name] for name in learned):
        sys.exit(f"--init-from {source}: nothing in it fits {type(model).__name__} with {model.config}")
    for name, tensor in own.items():
        if not reasons[name]:
            tensor.copy_(trained[name])
    return [
        *(f"not started from {source}: {name} {tuple(own[name].shape)}, {why}" for name, why in reasons.items() if why),
        *(f"not used of {source}: {name}, there is no such tensor here" for name in trained if name not in own),
    ]


def _why_not(name: str, tensor: Tensor, trained: dict[str, Tensor], scaled: bool) -> str | None:
    if name not in trained:
        return "it is not there"
    if trained[name].shape != tensor.shape:
        return f"it has shape {tuple(trained[name].shape)} there"
    if scaled:
        return "the scale is another"
    return None


def made_with() -> dict[str, str]:
    """Versions, machine and commit, for the model card."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return {
        "cclnn": cclnn.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device,
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit of the running code: "unknown" outside a repository, with "-changed" where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=-changed", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _step_in(path: Path) -> int:
    return int(torch.load(path, weights_only=True, map_location="cpu", mmap=True)["step"])
