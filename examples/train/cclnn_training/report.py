"""What a run tells: a progress bar, log.jsonl (which plot_run.py draws), TensorBoard, the table at the end."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm

from cclnn._files import write_atomically


class Report:
    """Writes the log of a run: in the first process alone, the others have a `silent` one.

    When a run resumes, half lines and lines after the step it resumes from are removed.
    """

    def __init__(self, out: Path, *, step: int, steps: int, silent: bool) -> None:
        self.silent = silent
        self._sums: dict[str, float] = {}
        self._steps, self._images, self._since = 0, 0, time.monotonic()
        self.bar = tqdm(total=steps, initial=step, unit="step", dynamic_ncols=True, mininterval=2, disable=silent)
        if silent:
            return
        log = out / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        kept = [line for line in lines if _is_whole(line) and json.loads(line)["step"] <= step]
        write_atomically(log, lambda path: path.write_text("".join(line + "\n" for line in kept)))
        self._log = log.open("a", buffering=1)  # a line at a time
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def count(self, step: int, images: int, values: dict[str, float], *, now: bool, lr: float) -> None:
        """Take a step's values in; `now` is the time to tell their means since the last time, and the speed."""
        self.bar.update()
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in values.items()}
        self._steps, self._images = self._steps + 1, self._images + images
        if now:
            speed = self._images / (time.monotonic() - self._since)
            means = {name: value / self._steps for name, value in self._sums.items()}
            self.scalars(step, **means, lr=lr, images_per_second=speed)
            self._sums, self._steps, self._images, self._since = {}, 0, 0, time.monotonic()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time that is not training's, and not counted in its speed."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start

    def scalars(self, step: int, **values: float) -> None:
        """Into the log, TensorBoard and the bar."""
        self.log(step, values)
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Into the log and TensorBoard."""
        if self.silent:
            return
        self._log.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: Tensor) -> None:
        """A picture (3, h, w) in [0, 1] into TensorBoard."""
        if not self.silent:
            self._board.add_image(name, image.clamp(0, 1), step)

    def say(self, text: str) -> None:
        if not self.silent:
            tqdm.write(text)

    def summary(self, rows: dict[str, Any]) -> None:
        """The table at the end."""
        width = max(map(len, rows))
        self.say("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))

    def close(self) -> None:
        self.bar.close()
        if not self.silent:
            self._log.close()
            self._board.close()


def _is_whole(line: str) -> bool:
    """A power cut or a full disk leaves half a line."""
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True
