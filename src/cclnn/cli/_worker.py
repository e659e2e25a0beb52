"""One image of `cclnn upscale`: read, upscale, write."""

import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cclnn._files import remove_leftovers
from cclnn.cli._errors import in_one_line
from cclnn.cli._jobs import EVERY, STREAM, Job
from cclnn.cli._report import Result

if TYPE_CHECKING:
    from cclnn.image.compression import Compression
    from cclnn.image.picture import Picture
    from cclnn.upscaler.automatic import Sizer
    from cclnn.weights.choice import Choice


class Worker:
    """Upscales images with one model, which is loaded when the first image needs it."""

    def __init__(
        self,
        sizer: dict[str, Any],
        quality: int | None,
        lossless: tuple[bool, bool],
        keep_damaged: bool,
        overwrite: bool,
        quiet: bool,
    ) -> None:
        self.sizer = sizer  # the arguments of `Sizer`
        self.quality, self.overwrite, self.quiet = quality, overwrite, quiet
        self.keep_damaged = keep_damaged
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

    def run(self, job: Job, place: str, *, batch: bool) -> Result:
        """Read, upscale, write.

        Raises:
            FileExistsError: in a batch, another run has written the target meanwhile.
        """
        from cclnn.image.compression import read_compression

        started = time.perf_counter()
        if job.animated:
            return self._run_animation(job, place, started, batch=batch)
        source: Path | io.BytesIO = Path(job.source)
        if job.source == STREAM:
            source = io.BytesIO(sys.stdin.buffer.read())
        elif Path(job.source).is_fifo():  # a pipe is read once
            source = io.BytesIO(Path(job.source).read_bytes())
        if job.page == EVERY and len(pages := _pages(source, job)) > 1:
            return self._run_pages(job, place, started, source, pages, batch=batch)
        picture = _read(source, job.page if isinstance(job.page, int) else None, self.keep_damaged)
        self._prepare_target(job, batch=batch)
        self._check_fits(picture, job)  # before torch is loaded
        result, choice = self._upscale(picture, job, place, read_compression(source))
        lossless = self.lossless or (self.lossless_as_source and result.metadata.lossless)
        size = _write(result, job, self.quality, lossless=lossless)
        seconds = time.perf_counter() - started
        return Result(_size(picture), _size(result), size, seconds, *self._told(choice))

    def _upscale(
        self, picture: "Picture", job: Job, place: str, compression: "Compression | None"
    ) -> "tuple[Picture, Choice | None]":
        """The picture, which fits the target's format, as this holds it, upscaled; and the choice of weights."""
        from cclnn.image.write import convert

        fitting = convert(picture, job.format)
        with self._bar(place + job.source.name) as progress:
            choice = self.upscaler.choose(picture.height, picture.width, compression)
            return self.upscaler(fitting, compression=compression, progress=progress), choice

    def _check_fits(self, picture: "Picture", job: Job) -> None:
        from cclnn.image.write import check_fits

        check_fits(picture, job.format, scale=self._factor(picture))

    def _factor(self, picture: "Picture") -> float:
        target = self.sizer["target"]
        return target.factor(picture.height, picture.width) if target.is_given else self.scale

    def _run_pages(
        self, job: Job, place: str, started: float, source: Path | io.BytesIO, pages: list[int], *, batch: bool
    ) -> Result:
        """The same for the pages of a TIFF, into one TIFF."""
        from cclnn.image.compression import read_compression
        from cclnn.image.pages import join, save_pages
        from cclnn.image.write import encode

        with warnings.catch_warnings():  # which the second time shows
            warnings.simplefilter("ignore")
            for page in pages:
                self._check_fits(_read(source, page, self.keep_damaged), job)
        self._prepare_target(job, batch=batch)
        compression, encoded, sizes = read_compression(source), [], []
        for page in pages:
            picture = _read(source, page, self.keep_damaged)
            result, choice = self._upscale(picture, job, f"{place}page {page} of ", compression)
            encoded.append(encode(result, job.format))
            sizes.append((_size(picture), _size(result)))
        if job.target == STREAM:
            size = _to_stream(join(encoded))
        else:
            save_pages(encoded, job.target)
            size = job.target.stat().st_size
        return Result(*sizes[0], size, time.perf_counter() - started, *self._told(choice), pages=len(pages))

    def _run_animation(self, job: Job, place: str, started: float, *, batch: bool) -> Result:
        """The same for an animation, frame by frame."""
        from cclnn.image.animation import check_animation_fits, read_animation, write_animation
        from cclnn.image.compression import read_compression

        animation, compression = read_animation(job.source), read_compression(job.source)
        first = animation.frames[0]
        self._prepare_target(job, batch=batch)
        check_animation_fits(animation, scale=self._factor(first))  # before torch is loaded
        choice = self.upscaler.choose(first.height, first.width, compression)
        with self._bar(place + job.source.name) as progress:
            result = animation.map(lambda frame: self.upscaler(frame, compression=compression, progress=progress))
        write_animation(result, job.target, quality=self.quality)
        seconds = time.perf_counter() - started
        return Result(_size(first), _size(result.frames[0]), job.target.stat().st_size, seconds, *self._told(choice))

    def _told(self, choice: "Choice | None") -> tuple[tuple[str, ...], str]:
        """The weights of every pass, and the reason for their choice."""
        return (choice.models, choice.why) if choice else ((str(self.sizer["model"]),), "")

    def _prepare_target(self, job: Job, *, batch: bool) -> None:
        """Check that the target can be written, before the work."""
        from cclnn.image.write import check_target

        if job.target == STREAM:
            return
        if batch and job.target.is_file() and not self.overwrite:
            raise FileExistsError
        check_target(job.target, overwrite=self.overwrite or batch)  # another run may finish it at any moment
        remove_leftovers(job.target)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        with tqdm(desc=title, unit="tile", disable=True if self.quiet else None, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show


def _read(source: Path | io.BytesIO, page: int | None, keep_damaged: bool) -> "Picture":
    from cclnn.image.read import read_picture

    if isinstance(source, Path):
        return read_picture(source, page=page, keep_damaged=keep_damaged)
    source.seek(0)
    return read_picture(source, name="the standard input", page=page, keep_damaged=keep_damaged)


def _pages(source: Path | io.BytesIO, job: Job) -> list[int]:
    """The pages of a TIFF that go into one TIFF; none of other files."""
    from cclnn.image.formats import ImageFileError
    from cclnn.image.pages import own_pages

    if isinstance(source, Path) and not source.is_file():
        return []
    pages = own_pages(source)
    if len(pages) > 1 and job.format != "tiff":
        name = repr(str(job.source))
        raise ImageFileError(f"the {len(pages)} pages of {name} fit into one TIFF only: give --format tiff.")
    return pages


def _size(picture: "Picture") -> tuple[int, int]:
    return picture.width, picture.height


def _write(picture: "Picture", job: Job, quality: int | None, *, lossless: bool) -> int:
    """Write the result; the number of bytes written."""
    from cclnn.image.write import encode, save

    if job.target == STREAM:
        return _to_stream(encode(picture, job.format, quality, lossless=lossless))
    save(picture, job.target, job.format, quality, lossless=lossless)
    return job.target.stat().st_size


def _to_stream(content: bytes) -> int:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
    return len(content)
