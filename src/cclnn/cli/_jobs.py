"""Which files `cclnn upscale` reads, and where it writes each: decided from names alone, before any work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import click

from cclnn.image.files import BY_SUFFIX, FORMATS, SUFFIXES, FormatName

STREAM = Path("-")
Asked: TypeAlias = FormatName | Literal["same"] | None


@dataclass(frozen=True)
class Job:
    """One image. source, target: paths, or `STREAM`; format: of the target."""

    source: Path
    target: Path
    format: FormatName


@dataclass(frozen=True)
class Plan:
    """jobs, and whether they are a batch: then a job whose target exists is done, and one that fails stops no other."""

    jobs: list[Job]
    batch: bool


def plan(inputs: tuple[Path, ...], output: Path | None, *, asked: Asked, scale: int, recursive: bool) -> Plan:
    """The jobs.

    A file goes to `output` if that is a file's name, into it if it is a folder, and beside itself as NAME_xN if there
    is none. A folder's images go into `output` (FOLDER_xN beside it, if there is none) under the same names and, with
    `recursive`, in the same folders. `-` is the standard input or output.

    Raises:
        click.UsageError: inputs and output that do not fit together.
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
                raise click.UsageError(f"the folder {str(source)!r} cannot take its own results: give another one.")
            found = sorted(_images(source, folder, recursive=recursive))
            if not found:
                more = "" if recursive else " (--recursive looks into its folders, too)"
                raise click.UsageError(f"there is no image in {str(source)!r}{more}.")
            jobs += [_job(path, folder / path.relative_to(source), asked) for path in found]
        elif into_folder and output is not None:
            jobs.append(_job(source, output / source.name, asked))
        elif output is not None:
            jobs.append(Job(source, output, _format_of(output, asked, source)))
        else:
            jobs.append(_job(source, source.with_name(f"{source.stem}_x{scale}{source.suffix}"), asked))
    return Plan(list(dict.fromkeys(jobs)), batch)  # an image that is named twice is one job


def _streamed(inputs: tuple[Path, ...], output: Path | None, asked: Asked) -> Plan:
    if len(inputs) > 1:
        raise click.UsageError("the standard input or output takes one image: give one INPUT.")
    if inputs[0].is_dir():
        raise click.UsageError("a folder cannot be written to the standard output.")
    target = output or STREAM
    if target.is_dir():
        raise click.UsageError("the standard input has no name: give the output's.")
    chosen = _by_source(inputs[0], asked) if target == STREAM else _format_of(target, asked, inputs[0])
    return Plan([Job(inputs[0], target, chosen)], batch=False)


def _images(folder: Path, without: Path, *, recursive: bool) -> Iterator[Path]:
    """Files with a suffix of images that are not hidden and not among the results."""
    results = without.resolve()
    for path in folder.rglob("*") if recursive else folder.iterdir():
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and results not in path.resolve().parents:
            yield path


def _job(source: Path, target: Path, asked: Asked) -> Job:
    """`target` with the suffix of the format."""
    chosen = _by_source(source, asked)
    fitting = target.suffix.lower() in FORMATS[chosen].suffixes
    return Job(source, target if fitting else target.with_suffix(FORMATS[chosen].suffixes[0]), chosen)


def _by_source(source: Path, asked: Asked) -> FormatName:
    if asked == "same":
        return BY_SUFFIX.get(source.suffix.lower(), "png")
    return asked or "png"


def _format_of(target: Path, asked: Asked, source: Path) -> FormatName:
    """The format of a file that was named."""
    named = BY_SUFFIX.get(target.suffix.lower())
    chosen = _by_source(source, asked) if asked else named
    if chosen is None:
        raise click.UsageError(
            f"the name {str(target)!r} must end in {', '.join(sorted(BY_SUFFIX))}, or be a folder that exists; or give "
            "--format."
        )
    if named is not None and named != chosen:
        raise click.UsageError(f"--format {asked} does not fit the name {str(target)!r}.")
    return chosen


def collisions(jobs: Iterable[Job]) -> dict[Job, str]:
    """Jobs that cannot be, and why: their target is a source, or that of a job before them."""
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
            wrong[job] = f"its output {str(job.target)!r} is that of {str(taken[target])!r}, too."
        else:
            taken[target] = job.source
    return wrong
