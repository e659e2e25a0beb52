"""`cclnn upscale`: upscale image files, folders and streams."""

import io
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from cclnn._files import remove_leftovers
from cclnn._names import PRECISIONS
from cclnn.cli._errors import in_one_line, reason
from cclnn.cli._jobs import STREAM, Job, collisions, plan
from cclnn.cli._options import Named, Tile
from cclnn.cli._published import AUTO, known_scale, target_of
from cclnn.image.formats import FORMATS, FormatName, ImageFileWarning

if TYPE_CHECKING:
    from cclnn.image.picture import Picture
    from cclnn.upscaler.automatic import Sizer
    from cclnn.weights.choice import Choice

INTERRUPTED = 130  # the exit code of shells for Ctrl-C


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=Named())
@click.option(
    "-o",
    "--output",
    type=Named(),
    help="File, folder (for several images) or - (standard output).  [default: NAME_xN beside each input]",
)
@click.option(
    "--model",
    default=AUTO,
    show_default=True,
    help="Published name (see `cclnn list`), folder, file, or auto: weights that suit each image.",
)
@click.option("--scale", type=click.FloatRange(1, 8), help="Factor, such as 2 or 2.7.  [default: the model's; auto: 2]")
@click.option("--width", type=click.IntRange(min=1), help="Pixels per row of the output, instead of --scale.")
@click.option("--height", type=click.IntRange(min=1), help="Rows of the output, instead of --scale.")
@click.option(
    "--megapixels",
    type=click.FloatRange(0, min_open=True),
    help="Millions of pixels of the output, instead of --scale.",
)
@click.option(
    "--photo/--no-photo",
    default=None,
    help="Use the weights for compressed photographs, or for clean images.  [default: by each file's compression]",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="From the clean weights (0) to those for photographs (1), where the latter are used.",
)
@click.option(
    "--tile",
    type=Tile(),
    default="auto",
    show_default=True,
    help="Pixels per side of a tile, auto or none (whole image).",
)
@click.option(
    "--overlap", type=click.IntRange(min=0), default=16, show_default=True, help="Pixels of context around tiles."
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="Number format: bf16 is faster on recent hardware, fp32 is exact everywhere.",
)
@click.option("--device", default="auto", show_default=True, help="Device of the network: cpu, cuda, ...")
@click.option("--ensemble", is_flag=True, help="Average over eight flips and rotations: slightly better, 8x the time.")
@click.option(
    "--alpha",
    type=click.Choice(["bicubic", "model"]),
    default="bicubic",
    show_default=True,
    help="Method that upscales the opacity channel.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([*FORMATS, "same"]),
    help="Output format; same keeps each input's format.  [default: the output's suffix, or png]",
)
@click.option("--quality", type=click.IntRange(1, 100), help="Quality of JPEG [default: 95], WebP [90] and AVIF [80].")
@click.option("--lossless", is_flag=True, help="Write WebP without loss; --format same does for lossless sources.")
@click.option("--page", type=click.IntRange(min=1), help="Page of a TIFF with several pages, from 1.")
@click.option(
    "--max-megapixels", type=click.IntRange(min=1), help="Largest input in millions of pixels.  [default: 178]"
)
@click.option("-r", "--recursive", is_flag=True, help="Include subfolders.")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
@click.option("--quiet", is_flag=True, help="Print no progress bar and no line per image.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per image on the standard output.")
def upscale(
    inputs: tuple[Path, ...],
    output: Path | None,
    model: str,
    scale: float | None,
    width: int | None,
    height: int | None,
    megapixels: float | None,
    photo: bool | None,
    strength: float,
    tile: Any,
    overlap: int,
    precision: str,
    device: str,
    ensemble: bool,
    alpha: str,
    file_format: Any,
    quality: int | None,
    lossless: bool,
    page: int | None,
    max_megapixels: int | None,
    recursive: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upscale images: files, folders, or - for the standard input.

    Reads PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF; animations become animations of the same kind. Keeps bit depth,
    transparency, grey, colour profile, EXIF and resolution. The results of a folder have the same names in the output
    folder. Several images whose results exist are skipped, so the same command resumes an interrupted run.

    \b
    Examples:
      cclnn upscale holiday.jpg                          writes holiday_x2.png
      cclnn upscale holiday.jpg -o large.webp --quality 95
      cclnn upscale scans/ -o large/ --recursive --format same
      cclnn upscale *.png --ensemble --overwrite
      cclnn upscale logo.png --width 1920
      cat in.png | cclnn upscale - -o - > out.png

    \b
    Exit codes:
      0    every image is done, in this run or before
      1    an image failed; the failed images of a batch are listed at the end
      2    the command is invalid: an unknown option, several images into one file, ...
      130  interrupted (Ctrl-C); no partial file is left
    """
    if as_json and (output == STREAM or (STREAM in inputs and output is None)):
        raise click.UsageError("--json and the image cannot both go to the standard output: give -o FILE.")
    with in_one_line():
        target = target_of(scale, width, height, megapixels)
        settings = {
            "tile": tile,
            "overlap": overlap,
            "precision": precision,
            "device": device,
            "ensemble": ensemble,
            "alpha": alpha,
        }
        if max_megapixels is not None:
            from cclnn.image.read import allow_megapixels

            allow_megapixels(max_megapixels)
        keep = lossless, file_format == "same"
        sizer = {"model": model, "target": target, "photo": photo, "strength": strength, "settings": settings}
        worker = _Worker(sizer, quality, keep, page, overwrite, quiet)
        worker.scale = known_scale(model, target) or (0 if target.is_given else worker.upscaler.scale)
        label = target.label or f"x{worker.scale}"
        todo = plan(inputs, output, asked=file_format, label=label, recursive=recursive)
        formats: set[FormatName] = {"webp" if job.target.suffix == ".webp" else job.format for job in todo.jobs}
        _check_quality(quality, formats)
        if lossless and formats and "webp" not in formats:
            raise click.UsageError(f"--lossless is for webp, the output is {' and '.join(sorted(formats))}.")
    wrong = collisions(todo.jobs)
    report, failed = _Report(as_json, quiet), []
    for path, why in todo.left_out.items():
        report.left_out(path, why)
    try:
        with _warnings_in_one_line(report):
            for number, job in enumerate(todo.jobs, start=1):
                place = f"[{number}/{len(todo.jobs)}] " if todo.batch else ""
                if todo.batch and job.target.exists() and not overwrite and job not in wrong:
                    report.skipped(job)
                    continue
                report.begin(job, batch=todo.batch)
                try:
                    if job in wrong:
                        raise ValueError(wrong[job])
                    report.done(job, worker.run(job, place, make_folders=todo.batch))
                except FileExistsError:  # another run on the same folder was faster
                    report.skipped(job)
                except click.ClickException:
                    raise  # every image would fail in the same way
                except Exception as error:  # noqa: BLE001  # whatever one file does, the others are done
                    report.failed(job, reason(error), alone=not todo.batch)
                    failed.append((job.source, reason(error)))
    except KeyboardInterrupt:
        resume = " The same command resumes the run." if todo.batch else ""
        click.echo(f"Interrupted.{resume}", err=True)
        sys.exit(INTERRUPTED)
    failed += [(path, f"cannot list the folder: {why}") for path, why in todo.unreadable.items()]
    if todo.batch:
        report.summary(failed)
    if failed:
        sys.exit(1)


@dataclass(frozen=True)
class _Result:
    """Sizes, bytes and time of an image that was written."""

    before: tuple[int, int]  # width, height
    after: tuple[int, int]
    size: int  # bytes of the file
    seconds: float
    models: tuple[str, ...]  # of every pass
    why: str  # they were chosen; "" where --model names one


class _Worker:
    """Upscales images with one model, which is loaded when the first image needs it."""

    def __init__(
        self,
        sizer: dict[str, Any],
        quality: int | None,
        lossless: tuple[bool, bool],
        page: int | None,
        overwrite: bool,
        quiet: bool,
    ) -> None:
        self.sizer = sizer  # the arguments of `Sizer`
        self.quality, self.page, self.overwrite, self.quiet = quality, page, overwrite, quiet
        self.lossless, self.lossless_as_source = lossless
        self.scale = 0  # where no size is asked for; set once it is known
        self._upscaler: Sizer | None = None

    @property
    def upscaler(self) -> "Sizer":
        if self._upscaler is None:
            from cclnn.precision import keep_freed_memory
            from cclnn.upscaler.automatic import Sizer

            keep_freed_memory()
            with in_one_line():  # every image would fail in the same way: the run ends here
                self._upscaler = Sizer(**self.sizer)
                self._upscaler.prepare()
        return self._upscaler

    def run(self, job: Job, place: str, *, make_folders: bool) -> _Result:
        """Read, upscale, write."""
        from cclnn.image.compression import read_compression
        from cclnn.image.write import check_fits, convert

        started = time.perf_counter()
        if job.animated:
            return self._run_animation(job, place, started, make_folders=make_folders)
        source: Path | io.BytesIO = Path(job.source)
        if job.source == STREAM:
            source = io.BytesIO(sys.stdin.buffer.read())
        elif Path(job.source).is_fifo():  # a pipe is read once
            source = io.BytesIO(Path(job.source).read_bytes())
        picture, compression = _read(source, self.page), read_compression(source)
        self._prepare_target(job, make_folders=make_folders)
        target = self.sizer["target"]
        factor = target.factor(picture.height, picture.width) if target.is_given else self.scale
        check_fits(picture, job.format, scale=factor)  # before torch is loaded
        picture = convert(picture, job.format)
        with self._bar(place + job.source.name) as progress:
            choice = self.upscaler.choose(picture.height, picture.width, compression)
            result = self.upscaler(picture, compression=compression, progress=progress)
        lossless = self.lossless or (self.lossless_as_source and result.metadata.lossless)
        size = _write(result, job, self.quality, lossless=lossless)
        seconds = time.perf_counter() - started
        told = self._told(choice)
        return _Result((picture.width, picture.height), (result.width, result.height), size, seconds, *told)

    def _run_animation(self, job: Job, place: str, started: float, *, make_folders: bool) -> _Result:
        """The same for an animation, frame by frame."""
        from cclnn.image.animation import read_animation, write_animation
        from cclnn.image.compression import read_compression

        animation, compression = read_animation(job.source), read_compression(job.source)
        first = animation.frames[0]
        choice = self.upscaler.choose(first.height, first.width, compression)
        self._prepare_target(job, make_folders=make_folders)
        with self._bar(place + job.source.name) as progress:
            result = animation.map(lambda frame: self.upscaler(frame, compression=compression, progress=progress))
        write_animation(result, job.target, quality=self.quality)
        sizes = [(one.frames[0].width, one.frames[0].height) for one in (animation, result)]
        seconds = time.perf_counter() - started
        return _Result(sizes[0], sizes[1], job.target.stat().st_size, seconds, *self._told(choice))

    def _told(self, choice: "Choice | None") -> tuple[tuple[str, ...], str]:
        """The weights of every pass, and the reason for their choice."""
        return (choice.models, choice.why) if choice else ((str(self.sizer["model"]),), "")

    def _prepare_target(self, job: Job, *, make_folders: bool) -> None:
        """Check that the target can be written, before the work."""
        from cclnn.image.write import check_target

        if job.target == STREAM:
            return
        if make_folders:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            if job.target.is_file() and not self.overwrite:
                raise FileExistsError
        check_target(job.target, overwrite=self.overwrite)
        remove_leftovers(job.target)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        with tqdm(desc=title, unit="tile", disable=True if self.quiet else None, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show


class _Report:
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

    def done(self, job: Job, result: _Result) -> None:
        self.count["done"] += 1
        (before, after) = ({"width": width, "height": height} for width, height in (result.before, result.after))
        told: dict[str, Any] = {"warnings": self.warnings} if self.warnings else {}
        told |= {"models": result.models, "why": result.why} if result.why else {"models": result.models}
        seconds = round(result.seconds, 3)
        self._json(job, "done", source_size=before, **after, bytes=result.size, seconds=seconds, **told)
        self._line(
            f"wrote {_named(job.target)}: {result.after[0]} x {result.after[1]} pixels, {result.size / 1e6:.2f} MB, "
            f"from {result.before[0]} x {result.before[1]} in {result.seconds:.1f} s, by {', '.join(result.models)}"
            + (f" ({result.why})" if result.why else ""),
            err=str(job.target) == "-",
        )

    def skipped(self, job: Job) -> None:
        self.count["skipped"] += 1
        self._json(job, "skipped")

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


def _check_quality(quality: int | None, formats: set[FormatName]) -> None:
    """Raise click.UsageError where a quality is given and every format is lossless."""
    if quality is not None and all(FORMATS[name].quality is None for name in formats):
        raise click.UsageError(f"--quality has no meaning for {' and '.join(sorted(formats))}, which are lossless.")


def _read(source: Path | io.BytesIO, page: int | None) -> "Picture":
    from cclnn.image.read import read_picture

    return read_picture(source, name="the standard input" if isinstance(source, io.BytesIO) else None, page=page)


def _write(picture: "Picture", job: Job, quality: int | None, *, lossless: bool) -> int:
    """Write the result; the number of bytes written."""
    from cclnn.image.write import encode, save

    if job.target == STREAM:
        content = encode(picture, job.format, quality, lossless=lossless)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return len(content)
    save(picture, job.target, job.format, quality, lossless=lossless)
    return job.target.stat().st_size


@contextmanager
def _warnings_in_one_line(report: _Report) -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        report.warning(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=ImageFileWarning)
        warnings.showwarning = show
        yield
