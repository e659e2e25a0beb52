"""The learning rate of a step, as a factor of the highest. Steps count from 1."""

import math
from collections.abc import Callable
from functools import partial

from cclnn_training.settings import Settings

Schedule = Callable[[int], float]


def schedule(settings: Settings) -> Schedule:
    """Step -> factor: linear growth over the first --warmup steps, then the schedule over what remains.

    One-cycle grows at its beginning by itself, and is not given another warm-up.
    """
    warmup = 0 if settings.schedule == "one-cycle" else settings.warmup
    after = settings.steps - warmup
    shape: Schedule = {
        "steps": partial(halving, every=settings.decay_every),
        "cosine": partial(cosine, steps=after),
        "one-cycle": partial(one_cycle, steps=after),
    }[settings.schedule]

    def factor(step: int) -> float:
        return step / warmup if step <= warmup else shape(step - warmup)

    return factor


def halving(step: int, every: int) -> float:
    """The paper's: 1 for the first `every` steps, 1/2 for the next, and so on."""
    return 0.5 ** ((step - 1) // every)


def cosine(step: int, steps: int, lowest: float = 0.01) -> float:
    """From 1 down to `lowest` at the last step."""
    return _between(1, lowest, step / steps)


def one_cycle(step: int, steps: int, rise: float = 0.3, first: float = 1 / 25, last: float = 4e-6) -> float:
    """Up from `first` for the share `rise` of the steps, then down to `last`: Smith's, with torch's defaults."""
    top = rise * steps - 1
    if step - 1 <= top:
        return _between(first, 1, (step - 1) / max(top, 1))
    return _between(1, last, (step - 1 - top) / (steps - 1 - top))


def _between(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
