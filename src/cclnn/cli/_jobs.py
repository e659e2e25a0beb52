"""The files that `cclnn upscale` reads and writes, decided before any work."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal, TypeAlias

import click

from cclnn.image.formats import (
    BY_SUFFIX,
    FORMATS,
    HEIC,
    RAW,
    SUFFIXES,
    UNREAD,
    WRITABLE_SUFFIXES,
    FormatName,
    animated_suffix,
    content_format,
    reads_heic,
    way_out,
)

STREAM = Path("-")
EVERY = "all"  # pages
Asked: TypeAlias = FormatName | Literal["same"] | None


@dataclass(frozen=True)
class Job:
    """One image: its source and target (paths, or `STREAM`), the target's format, whether it is an animation.

    page: of a TIFF, from 1, or EVERY; None is the only one
    """

    source: Path
    target: Path
    format: FormatName
    animated: bool = False
    page: int | Literal["all"] | None = None


@dataclass(frozen=True)
class JobList:
    """The jobs. In a batch, a job whose target exists is skipped, and the rest goes on after a failure.

    left_out:   files that are no jobs though their names look so -> the reason
    unreadable: folders that cannot be listed -> the reason; the run has failed in part
    """

    jobs: list[Job]
    batch: bool
    left_out: dict[Path, str] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


def list_jobs(
    inputs: tuple[Path, ...],
    output: Path | None,
    *,
    asked: Asked,
    label: str,
    recursive: bool,
    page: int | Literal["all"] | None = None,
) -> JobList:
    """The jobs.

    The result of a file is `output` if that names a file, lies in `output` if that is a folder, and without `output`
    is NAME_LABEL beside the source, such as NAME_x2; then an input that is another input's result is left out. The
    results of a folder have its images' names in `output` (by default FOLDER_LABEL beside the folder) and, with
    `recursive`, lie in the same subfolders. `-` is the standard input or output. Every page of a TIFF is a job of its
    own, NAME_pN, unless the target is a TIFF, too, which holds them all.

    Raises:
        click.UsageError: the inputs and the output contradict each other.
    """
    if STREAM in inputs or output == STREAM:
        return _streamed(inputs, output, asked, page)
    batch = len(inputs) > 1 or inputs[0].is_dir()
    into_folder = output is not None and (batch or output.is_dir())
    if output is not None and batch and (output.is_file() or output.suffix.lower() in BY_SUFFIX):
        raise click.UsageError(f"{str(output)!r} is one file, but there are several images: give a folder.")
    whole, jobs, beside = JobList([], batch), [], []
    for source in inputs:
        if source.is_dir():
            folder = output or _beside(source, label)
            if folder.resolve() == source.resolve():
                raise click.UsageError(
                    f"the results of the folder {str(source)!r} cannot go into itself: give another folder."
                )
            found = sorted(_images(source, folder, whole, recursive=recursive))
            if not found and not whole.unreadable:
                more = "" if recursive else " (--recursive includes its subfolders)"
                raise click.UsageError(f"there is no image in {str(source)!r}{more}.")
            jobs += [_job(path, folder / path.relative_to(source), asked) for path in found]
        elif into_folder and output is not None:
            jobs.append(_job(source, output / source.name, asked))
        elif output is not None:
            animated = output.suffix.lower() == animated_suffix(source)
            jobs.append(Job(source, output, "png" if animated else _format_of(output, asked, source), animated))
        else:
            job = _job(source, source.with_name(f"{source.stem}_{label}{source.suffix}"), asked)
            jobs.append(job)
            beside.append(job)
    results = {job.target.resolve(): job for job in beside}
    for job in chain.from_iterable(_pages(one, page) for one in jobs):  # an image that was given twice is one job
        maker = results.get(job.source.resolve())
        if maker is not None and maker.source.resolve() != job.source.resolve():
            whole.left_out[job.source] = f"it is the result of {str(maker.source)!r}"
        elif job not in whole.jobs:
            whole.jobs.append(job)
    return replace(whole, batch=batch or len(whole.jobs) > 1)


def _pages(job: Job, page: int | Literal["all"] | None) -> list[Job]:
    """The job for a page, or those for every page."""
    if page != EVERY or job.format == "tiff" or job.animated or content_format(job.source) != "tiff":
        return [replace(job, page=page)]
    from cclnn.image.pages import own_pages

    numbers = own_pages(job.source)
    if len(numbers) < 2:
        return [job]
    width = len(str(numbers[-1]))
    target = job.target
    names = {n: f"{target.stem}_p{n:0{width}}{target.suffix}" for n in numbers}
    return [replace(job, target=target.with_name(name), page=n) for n, name in names.items()]


def _beside(folder: Path, label: str) -> Path:
    """FOLDER_xN beside a folder, also where it was given as `.` or `..`."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    if not named.name:
        raise click.UsageError(f"{str(folder)!r} has no folder beside it: give -o FOLDER.")
    return named.with_name(f"{named.name}_{label}")


def _streamed(
    inputs: tuple[Path, ...], output: Path | None, asked: Asked, page: int | Literal["all"] | None
) -> JobList:
    if len(inputs) > 1:
        raise click.UsageError("the standard input and output hold one image: give one INPUT.")
    if inputs[0].is_dir():
        raise click.UsageError("a folder cannot be written to the standard output.")
    target = output or STREAM
    if target.is_dir():
        raise click.UsageError("the standard input has no name: give -o FILE instead of a folder.")
    chosen = _by_source(inputs[0], asked) if target == STREAM else _format_of(target, asked, inputs[0])
    return JobList([Job(inputs[0], target, chosen, page=page)], batch=False)


def _images(folder: Path, without: Path, whole: JobList, *, recursive: bool) -> list[Path]:
    """The files with the suffix of an image that are neither hidden nor results; symbolic links to folders stay."""
    results = without.resolve()

    def failed(error: OSError) -> None:
        whole.unreadable[Path(error.filename)] = error.strerror or "it cannot be listed"

    found = []
    for top, folders, files in os.walk(folder, onerror=failed):
        here = Path(top)
        folders[:] = [x for x in folders if recursive and not x.startswith(".") and (here / x).resolve() != results]
        for name in files:
            path = here / name
            if name.startswith(".") or not path.is_file() or results in path.resolve().parents:
                continue
            kind = UNREAD.get(path.suffix.lower())
            if kind and not (kind == HEIC and reads_heic()) and (kind == RAW or not content_format(path)):
                whole.left_out[path] = f"{kind} {way_out(kind)}"
            elif kind or path.suffix.lower() in SUFFIXES:
                found.append(path)
    return found


def _job(source: Path, target: Path, asked: Asked) -> Job:
    """The job, with the suffix of its format on the target."""
    suffix = animated_suffix(source)
    if suffix and asked in (None, "same", suffix[1:]):
        return Job(source, target.with_suffix(suffix), "png", animated=True)
    chosen = _by_source(source, asked)
    fitting = target.suffix.lower() in FORMATS[chosen].suffixes
    return Job(source, target if fitting else target.with_suffix(FORMATS[chosen].suffixes[0]), chosen)


def _by_source(source: Path, asked: Asked) -> FormatName:
    if asked == "same":
        return content_format(source) or BY_SUFFIX.get(source.suffix.lower(), "png")
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
