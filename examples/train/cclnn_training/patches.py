"""Pictures -> batches of (LR, HR) patches. Sample number k of a run is the same whoever cuts it, and whenever."""

import hashlib
import signal
from bisect import bisect
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cclnn.ops import imresize
from cclnn_training.degradations import Degradation, blockiness
from cclnn_training.pictures import Picture, Pictures

ATTEMPTS = 8  # draws of one patch where flat and blocky ones are rejected
FLAT = 1.0  # grey levels between neighbours below which a patch is flat
BLOCKY = 1.5  # differences across JPEG's borders in those inside its blocks


class Sample(NamedTuple):
    """HR patch, and LR patch if it was cut from a reduced image; uint8 [h, w, 3]."""

    hr: Picture
    lr: Picture | None


class Patches(Dataset[Sample]):
    """Patch k of a run: a random place of a random picture under one of the 8 flips and rotations, from (seed, k).

    Larger pictures are drawn more often, so that every pixel has about the same chance. Of `candidates` places the one
    with the most detail is taken: photographs are largely sky.

    Args:
        hr: the pictures to draw from.
        lr: the same, reduced, for patches cut from both; None to leave the reduction to `collate`.
        side: LR pixels per side.
        scale: HR pixels per LR pixel.
        shrink: the largest factor by which a picture is reduced before the HR patch is cut, drawn evenly from 1 to it;
            less where the picture is too small. Reduced pictures have sharper edges and less noise than cameras give.
        degradation: makes the LR patch of an HR patch; None for the plain reduction.
        reject: draw again where a patch is flat or blocky, `ATTEMPTS` times at most.
    """

    def __init__(
        self,
        hr: Pictures,
        lr: Pictures | None,
        chosen: list[int],
        *,
        side: int,
        scale: int,
        candidates: int,
        seed: int,
        shrink: float = 1.0,
        degradation: Degradation | None = None,
        reject: bool = False,
    ) -> None:
        self.hr, self.lr = hr, lr
        self.degradation, self.reject = degradation, reject
        self.side, self.scale, self.candidates, self.seed, self.shrink = side, scale, candidates, seed, shrink
        self.chosen = chosen
        areas = list(accumulate(hr.shapes[i][0] * hr.shapes[i][1] for i in chosen))
        self.shares = [area / areas[-1] for area in areas]

    def fingerprint(self) -> str:
        """A hash of the images' names and sizes: a resumed run draws the same patches only if it is equal."""
        facts = [(Path(self.hr.names[i]).name, *self.hr.shapes[i]) for i in self.chosen]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def __getitem__(self, k: int) -> Sample:
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng((self.seed, k, attempt) if attempt else (self.seed, k))
            i, row, col, whole = self._place(rng)
            step = self.scale if self.lr else 1
            hr = cut(self.hr[i], row * step, col * step, whole)
            if not (self.reject and (detail(hr) < FLAT or blockiness(hr, row * step, col * step) > BLOCKY)):
                break
        hr = reduce(hr, self.side * self.scale)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        lr = turn(cut(self.lr[i], row, col, self.side), turns, flip) if self.lr else None
        hr = turn(hr, turns, flip)
        if self.degradation is not None:
            lr = self.degradation(hr, self.scale, rng)
        return Sample(hr, lr)

    def _place(self, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """A picture; row and column, in pixels of what is cut, and side, in HR pixels, of the best candidate in it."""
        i = self.chosen[min(bisect(self.shares, rng.random()), len(self.chosen) - 1)]
        hr, step = self.hr[i], self.scale if self.lr else 1
        side = self.side * self.scale
        if self.shrink > 1:
            side = min(round(side * rng.uniform(1, self.shrink)), *hr.shape[:2])
        places = [
            (int(rng.integers((hr.shape[0] - side) // step + 1)), int(rng.integers((hr.shape[1] - side) // step + 1)))
            for _ in range(self.candidates)
        ]
        row, col = max(places, key=lambda place: detail(cut(hr, place[0] * step, place[1] * step, side)))
        return i, row, col, side


def batches(patches: Patches, indices: Iterator[list[int]], *, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(LR, HR) float batches [b, 3, h, w] in [0, 1] of these samples, prepared ahead by worker processes."""
    loader = DataLoader(
        patches,
        batch_sampler=indices,
        num_workers=workers,
        collate_fn=partial(collate, scale=patches.scale),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_trainer if workers else None,
    )
    for hr, lr in loader:
        yield lr.float() / 255, hr.float() / 255


def sample_numbers(first: int, last: int, *, batch: int, parts: int, rank: int, ranks: int) -> Iterator[list[int]]:
    """What one of several processes cuts for steps first..last: each step's samples are dealt out to the processes, a
    process's share to the `parts` passes that its gradient is summed over.
    """
    share = batch // ranks
    for step in range(first, last + 1):
        start = (step - 1) * batch + rank * share
        for part in range(parts):
            yield list(range(start + part * share // parts, start + (part + 1) * share // parts))


def collate(samples: list[Sample], *, scale: int) -> tuple[Tensor, Tensor]:
    """uint8 [b, 3, sh, sw] and [b, 3, h, w]; LR is MATLAB's bicubic of the HR patch where it was not cut itself."""
    hr = _stack([sample.hr for sample in samples])
    stored = [sample.lr for sample in samples if sample.lr is not None]
    return hr, _stack(stored) if stored else imresize(hr, 1 / scale)


def cut(picture: Picture, row: int, col: int, side: int) -> Picture:
    return picture[row : row + side, col : col + side]


def reduce(patch: Picture, side: int) -> Picture:
    """A square patch with `side` pixels per side, by MATLAB's bicubic."""
    if len(patch) == side:
        return patch
    reduced = imresize(rearrange(torch.from_numpy(patch.copy()), "h w c -> 1 c h w"), size=(side, side))
    return rearrange(reduced, "1 c h w -> h w c").contiguous().numpy()


def turn(patch: Picture, turns: int, flip: bool) -> Picture:
    """One of the 8 flips and rotations."""
    patch = np.rot90(patch, k=turns)
    return patch[:, ::-1] if flip else patch


def detail(patch: Picture) -> float:
    """Mean absolute difference of neighbours in the green channel: near zero in skies."""
    green = patch[:, :, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def _stack(patches: list[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()


def _leave_signals_to_the_trainer(_worker: int) -> None:
    """Ctrl-C, and SIGTERM to a whole group, reach the workers too: they go on until the trainer has saved and ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
