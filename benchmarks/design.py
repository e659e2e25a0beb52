"""How cclnn-s was chosen: networks and optimisers compared at equal time of training, on the held out photographs.

python benchmarks/design.py --photos PHOTOS [--only NAME ...]

A case is trained for as many steps as `BUDGET` steps of the plain trunk take: the processor time of its steps, measured
by turns with the trunk's in one thread, decides how many. The time does not count what else runs on the machine. All
see the same patches in the same order, and none sees a benchmark. Results are added to benchmarks/results/design.json,
where a case that is there is not repeated; benchmarks/results_page.py makes the table.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cclnn
from cclnn._files import write_atomically
from cclnn.losses import CCLNNLoss
from cclnn.metrics import psnr
from cclnn.models import SRModel
from cclnn.models.cclnn_s import ResidualUnit, SmallCCLNN
from cclnn.precision import keep_freed_memory, lay_out

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "train"))
from cclnn_training import loop, patches, pictures
from cclnn_training.optimizers import make_optimizer

RESULTS = Path(__file__).parent / "results" / "design.json"
BUDGET = 220  # steps of 8 patches of 32 pixels of the trunk with Adam
LONG = 3 * BUDGET
WARMUP = 0.08  # of the steps: linear growth of the learning rate, before its cosine
L1_ALONE = 40  # steps before the contrastive loss
BLOCK = {"n_blocks": 1, "similarity": "dot", "centre": False}


@dataclass(frozen=True)
class Case:
    """One run. `network` holds arguments of `SmallCCLNN`; `change` alters the network once it is built."""

    network: dict[str, Any] = field(default_factory=dict)
    change: str = ""
    muon_lr: float = 0.0
    beta2: float = 0.999
    batch: int = 4
    patch: int = 32
    budget: int = BUDGET


TRUNK = Case({"n_blocks": 0}, batch=8)
CASES = {
    "trunk, Adam": TRUNK,
    "trunk, Adam, 4 patches": Case({"n_blocks": 0}),
    "trunk": Case({"n_blocks": 0}, muon_lr=3e-3),
    "trunk, rate 2e-3": Case({"n_blocks": 0}, muon_lr=2e-3),
    "trunk, rate 6e-3": Case({"n_blocks": 0}, muon_lr=6e-3),
    "trunk, beta2 0.99": Case({"n_blocks": 0}, muon_lr=3e-3, beta2=0.99),
    "trunk, patches of 48": Case({"n_blocks": 0}, muon_lr=3e-3, batch=2, patch=48),
    "trunk, pixel attention": Case({"n_blocks": 0}, "gate", muon_lr=3e-3),
    "trunk, bicubic anchor": Case({"n_blocks": 0}, "bicubic", muon_lr=3e-3),
    "trunk, 64 channels, 5 units of 2": Case({"n_blocks": 0, "channels": 64, "n_units": 5, "n_convs": 2}, muon_lr=3e-3),
    "CCLN block": Case(BLOCK, muon_lr=3e-3),
    "CCLN block, local branch alone": Case(BLOCK, "local", muon_lr=3e-3),
    "CCLN block, cosine, centre": Case({}, muon_lr=3e-3),
    "CCLN block, cosine, centre, stride 2": Case({"stride": 2}, muon_lr=3e-3),
    "cclnn-t, Adam": Case(change="cclnn-t"),
    "trunk, rate 2e-3, three times the steps": Case({"n_blocks": 0}, muon_lr=2e-3, budget=LONG),
    "CCLN block, cosine, centre, rate 2e-3, three times the steps": Case({}, muon_lr=2e-3, budget=LONG),
}


class GatedUnit(ResidualUnit):
    """y = (x + f) * 2 sigmoid(conv1x1(f)), f the unit's convolutions: pixel attention that starts at 1."""

    def __init__(self, channels: int, n_convs: int) -> None:
        super().__init__(channels, n_convs)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        deep = x
        for number, conv in enumerate(list(self)[:-1]):
            deep = conv(F.relu(deep) if number else deep)
        gate: Tensor = self.gate(deep).sigmoid()
        return (x + deep) * (2 * gate)


def build(case: Case) -> SRModel:
    torch.manual_seed(0)
    if case.change == "cclnn-t":
        return lay_out(cclnn.create_model("cclnn-t"))  # type: ignore[return-value]
    model = SmallCCLNN(2, **case.network)
    match case.change:
        case "gate":
            model.body = nn.ModuleList(GatedUnit(model.head.out_channels, len(unit)) for unit in model.body)  # type: ignore[arg-type]
        case "bicubic":
            model.enlarge = partial(F.interpolate, scale_factor=2, mode="bicubic", align_corners=False)  # type: ignore[method-assign]
        case "local":
            for block in model.body:
                if not isinstance(block, ResidualUnit):
                    block.branch = "local"  # type: ignore[assignment]
                    del block.nonlocal_attention, block.pixel_attention
    return lay_out(model)  # type: ignore[return-value]


class Training:
    """A network, its optimiser and its patches."""

    def __init__(self, case: Case, hr: pictures.Pictures, chosen: list[int]) -> None:
        self.case, self.model = case, build(case)
        kind = "muon" if case.muon_lr else "adam"
        self.optimizer = make_optimizer(self.model, kind=kind, lr=1e-3, muon_lr=case.muon_lr, beta2=case.beta2)
        self.patches = patches.Patches(hr, None, chosen, side=case.patch, scale=2, candidates=3, seed=100)
        self.objective = CCLNNLoss(warmup=L1_ALONE)

    def step(self, number: int, factor: float) -> float:
        """One step; its processor time in seconds, without that of cutting the patches."""
        samples = [self.patches[k] for k in range((number - 1) * self.case.batch, number * self.case.batch)]
        hr, lr = (images.float() / 255 for images in patches.collate(samples, scale=2))
        start = time.process_time()
        torch.manual_seed(number)
        sr, loss = self.model(lr.contiguous(memory_format=torch.channels_last), return_loss=True)
        self.optimizer.zero_grad()
        self.objective(sr, hr, loss, epoch=number).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * factor
        self.optimizer.step()
        return time.process_time() - start


def ratio(case: Case, hr: pictures.Pictures, chosen: list[int]) -> float:
    """Time of a step in steps of the trunk, both measured by turns."""
    one, other = Training(TRUNK, hr, chosen), Training(case, hr, chosen)
    times = [(one.step(number, 0.0), other.step(number, 0.0)) for number in range(L1_ALONE + 1, L1_ALONE + 7)][1:]
    trunk, mine = zip(*times, strict=True)
    return float(statistics.median(mine) / statistics.median(trunk))


def run(case: Case, hr: pictures.Pictures, chosen: list[int], held_out: list[int]) -> dict[str, Any]:
    share = 1.0 if case == TRUNK else ratio(case, hr, chosen)
    steps = round(case.budget / share)
    warmup = round(WARMUP * steps)
    training = Training(case, hr, chosen)
    seconds = 0.0
    for number in range(1, steps + 1):
        progress = (number - 1 - warmup) / (steps - warmup)
        factor = number / warmup if progress < 0 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
        seconds += training.step(number, factor)
    training.model.eval()
    with torch.no_grad():
        pairs = [loop.middle_of_picture(hr, i, 2, 384) for i in held_out]
        each = [psnr(training.model(lr).clamp(0, 1), truth, border=2).item() for lr, truth in pairs]
    return {"ratio": round(share, 3), "steps": steps, "seconds": round(seconds, 1), "validation": each}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of training images")
    parser.add_argument("--only", nargs="+", choices=CASES, default=[*CASES], help="these cases")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    hr = pictures.decode(pictures.find([args.photos]), pictures.default_cache(), least=64)
    held_out = sorted(random.Random(0).sample(range(len(hr)), k=8))
    chosen = [i for i in range(len(hr)) if i not in held_out]
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"hardware": "", "cases": {}}
    for name in args.only:
        if name not in found["cases"]:
            found["cases"][name] = run(CASES[name], hr, chosen, held_out)
            text = json.dumps(found, indent=1) + "\n"
            write_atomically(RESULTS, lambda path, text=text: path.write_text(text))  # type: ignore[misc]
            print(name, found["cases"][name])


if __name__ == "__main__":
    main()
