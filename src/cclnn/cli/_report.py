"""What `cclnn upscale` prints of each image: a line of text, or of JSON."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from cclnn.cli._jobs import Job
from cclnn.image.formats import ImageFileWarning


@dataclass(frozen=True)
class Result:
    """Sizes, bytes and time of an image that was written."""

    before: tuple[int, int]  # width, height
    after: tuple[int, int]
    size: int  # bytes of the file
    seconds: float
    models: tuple[str, ...]  # of every pass
    why: str  # they were chosen; "" where --model names one
    pages: int = 1  # sizes are those of the first


class Report:
    """Prints the outcome of each image: a line of text, or of JSON."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.count = {"done": 0, "skipped": 0}
        self.source = ""  # of the job of a batch that runs now
        self.warnings: list[str] = []

    def begin(self, job: Job, *, batch: bool) -> None:
        self.source = str(job.source) if batch else ""
        self.warnings = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)
        place = f"{self.source}: " if self.source and self.source not in text else ""
        tqdm.write(f"warning: {place}{text}", file=sys.stderr)

    def left_out(self, path: Path, why: str) -> None:
        """Report a file that is no job."""
        if self.as_json:
            click.echo(json.dumps({"source": str(path), "status": "left out", "reason": why}))
        click.echo(f"left out: {path}: {why}", err=True)

    def done(self, job: Job, result: Result) -> None:
        self.count["done"] += 1
        (before, after) = ({"width": width, "height": height} for width, height in (result.before, result.after))
        told: dict[str, Any] = {"warnings": self.warnings} if self.warnings else {}
        told |= {"models": result.models, "why": result.why} if result.why else {"models": result.models}
        told |= {"pages": result.pages} if result.pages > 1 else {}
        seconds = round(result.seconds, 3)
        self._json(job, "done", source_size=before, **after, bytes=result.size, seconds=seconds, **told)
        (width, height), old = result.after, result.before
        pages = f"{result.pages} pages, the first of " if result.pages > 1 else ""
        self._line(
            f"wrote {_named(job.target)}: {pages}{width} x {height} pixels, {result.size / 1e6:.2f} MB, "
            f"from {old[0]} x {old[1]} in {result.seconds:.1f} s, by {', '.join(result.models)}"
            + (f" ({result.why})" if result.why else ""),
            err=str(job.target) == "-",
        )

    def skipped(self, job: Job) -> None:
        self.count["skipped"] += 1
        self._json(job, "skipped")

    def waiting(self, count: int) -> None:
        """Say that what is left of a batch is in the hands of other runs."""
        self._line(f"waiting for other runs, which are at work on {count} of the images")

    def failed(self, job: Job, why: str, *, alone: bool) -> None:
        self._json(job, "failed", error=why)
        if alone:
            click.echo(f"Error: {why}", err=True)

    def summary(self, failed: list[tuple[Path, str]]) -> None:
        """Print the counts of a batch and its failures."""
        self._line(f"{self.count['done']} done, {self.count['skipped']} skipped (done before), {len(failed)} failed")
        for source, why in failed:
            click.echo(f"failed: {source}: {why}", err=True)

    def _json(self, job: Job, status: str, **more: Any) -> None:
        if self.as_json:
            click.echo(json.dumps({"source": str(job.source), "target": str(job.target), "status": status, **more}))

    def _line(self, text: str, *, err: bool = False) -> None:
        if not (self.as_json or self.quiet):
            click.echo(text, err=err)


def _named(path: Path) -> str:
    return "the standard output" if str(path) == "-" else str(path)


@contextmanager
def warnings_in_one_line(report: Report) -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        report.warning(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=ImageFileWarning)
        warnings.showwarning = show
        yield
