"""The files that `cclnn upscale` reads and writes, decided from their names before any work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import click

from cclnn.image.formats import BY_SUFFIX, FORMATS, SUFFIXES, WRITABLE_SUFFIXES, FormatName

STREAM = Path("-")
Asked: TypeAlias = FormatName | Literal["same"] | None


@dataclass(frozen=True)
class Job:
    """One image: its source and target (paths, or `STREAM`), and the format of the target."""

    source: Path
    target: Path
    format: FormatName


@dataclass(frozen=True)
class Plan:
    """The jobs. In a batch, a job whose target exists is skipped, and the rest goes on after a failure."""

    jobs: list[Job]
    batch: bool


def plan(inputs: tuple[Path, ...], output: Path | None, *, asked: Asked, scale: int, recursive: bool) -> Plan:
    """The jobs.

    The result of a file is `output` if that names a file, lies in `output` if that is a folder, and without `output`
    is NAME_xN beside the source. The results of a folder have its images' names in `output` (by default FOLDER_xN
    beside the folder) and, with `recursive`, lie in the same subfolders. `-` is the standard input or output.

    Raises:
        click.UsageError: the inputs and the output contradict each other.
    """
    if STREAM in inputs or output == STREAM:
        return _streamed(inputs, output, asked)
    batch = len(inputs) > 1 or inputs[0].is_dir()
    into_folder = output is not None and (batch or output.is_dir())
    if output is not None and batch and (output.is_file() or output.suffix.lower() in BY_SUFFIX):
        raise click.UsageError(f"{str(output)!r} is one file, but there are several images: give a folder.")
    jobs = []
    for source in inputs:
        if source.is_dir():
            folder = output or source.with_name(f"{source.resolve().name}_x{scale}")
            if folder.resolve() == source.resolve():
                raise click.UsageError(
                    f"the results of the folder {str(source)!r} cannot go into itself: give another folder."
                )
            found = sorted(_images(source, folder, recursive=recursive))
            if not found:
                more = "" if recursive else " (--recursive includes its subfolders)"
                raise click.UsageError(f"there is no image in {str(source)!r}{more}.")
            jobs += [_job(path, folder / path.relative_to(source), asked) for path in found]
        elif into_folder and output is not None:
            jobs.append(_job(source, output / source.name, asked))
        elif output is not None:
            jobs.append(Job(source, output, _format_of(output, asked, source)))
        else:
            jobs.append(_job(source, source.with_name(f"{source.stem}_x{scale}{source.suffix}"), asked))
    return Plan(list(dict.fromkeys(jobs)), batch)  # an image that was given twice is one job


def _streamed(inputs: tuple[Path, ...], output: Path | None, asked: Asked) -> Plan:
    if len(inputs) > 1:
        raise click.UsageError("the standard input and output hold one image: give one INPUT.")
    if inputs[0].is_dir():
        raise click.UsageError("a folder cannot be written to the standard output.")
    target = output or STREAM
    if target.is_dir():
        raise click.UsageError("the standard input has no name: give -o FILE instead of a folder.")
    chosen = _by_source(inputs[0], asked) if target == STREAM else _format_of(target, asked, inputs[0])
    return Plan([Job(inputs[0], target, chosen)], batch=False)


def _images(folder: Path, without: Path, *, recursive: bool) -> Iterator[Path]:
    """The files with the suffix of an image that are neither hidden nor results."""
    results = without.resolve()
    for path in folder.rglob("*") if recursive else folder.iterdir():
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and results not in path.resolve().parents:
            yield path


def _job(source: Path, target: Path, asked: Asked) -> Job:
    """The job, with the suffix of its format on the target."""
    chosen = _by_source(source, asked)
    fitting = target.suffix.lower() in FORMATS[chosen].suffixes
    return Job(source, target if fitting else target.with_suffix(FORMATS[chosen].suffixes[0]), chosen)


def _by_source(source: Path, asked: Asked) -> FormatName:
    if asked == "same":
        return BY_SUFFIX.get(source.suffix.lower(), "png")
    return asked or "png"


def _format_of(target: Path, asked: Asked, source: Path) -> FormatName:
    """The format of a target that was named with -o."""
    named = BY_SUFFIX.get(target.suffix.lower())
    chosen = _by_source(source, asked) if asked else named
    if chosen is None:
        raise click.UsageError(
            f"the name {str(target)!r} must end in {WRITABLE_SUFFIXES}, or be an existing folder; or give --format."
        )
    if named is not None and named != chosen:
        raise click.UsageError(f"--format {asked} does not fit the name {str(target)!r}.")
    return chosen


def collisions(jobs: Iterable[Job]) -> dict[Job, str]:
    """The jobs whose target is a source or the target of an earlier job, with the reason."""
    jobs = list(jobs)
    sources = {job.source.resolve(): job.source for job in jobs if job.source != STREAM}
    taken: dict[Path, Path] = {}
    wrong = {}
    for job in jobs:
        if job.target == STREAM:
            continue
        target = job.target.resolve()
        if target in sources:
            wrong[job] = f"its output {str(job.target)!r} would replace the input {str(sources[target])!r}."
        elif target in taken:
            wrong[job] = f"{str(taken[target])!r} already writes to its output {str(job.target)!r}."
        else:
            taken[target] = job.source
    return wrong
