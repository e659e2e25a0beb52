"""One image of `cclnn upscale`: read, upscale, write."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cclnn._files import remove_leftovers
from cclnn.cli._errors import in_one_line
from cclnn.cli._jobs import STREAM, Job
from cclnn.cli._report import Result

if TYPE_CHECKING:
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

    def run(self, job: Job, place: str, *, batch: bool) -> Result:
        """Read, upscale, write.

        Raises:
            FileExistsError: in a batch, another run has written the target meanwhile.
        """
        from cclnn.image.compression import read_compression
        from cclnn.image.write import check_fits, convert

        started = time.perf_counter()
        if job.animated:
            return self._run_animation(job, place, started, batch=batch)
        source: Path | io.BytesIO = Path(job.source)
        if job.source == STREAM:
            source = io.BytesIO(sys.stdin.buffer.read())
        elif Path(job.source).is_fifo():  # a pipe is read once
            source = io.BytesIO(Path(job.source).read_bytes())
        picture, compression = _read(source, self.page), read_compression(source)
        self._prepare_target(job, batch=batch)
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
        return Result((picture.width, picture.height), (result.width, result.height), size, seconds, *told)

    def _run_animation(self, job: Job, place: str, started: float, *, batch: bool) -> Result:
        """The same for an animation, frame by frame."""
        from cclnn.image.animation import read_animation, write_animation
        from cclnn.image.compression import read_compression

        animation, compression = read_animation(job.source), read_compression(job.source)
        first = animation.frames[0]
        choice = self.upscaler.choose(first.height, first.width, compression)
        self._prepare_target(job, batch=batch)
        with self._bar(place + job.source.name) as progress:
            result = animation.map(lambda frame: self.upscaler(frame, compression=compression, progress=progress))
        write_animation(result, job.target, quality=self.quality)
        sizes = [(one.frames[0].width, one.frames[0].height) for one in (animation, result)]
        seconds = time.perf_counter() - started
        return Result(sizes[0], sizes[1], job.target.stat().st_size, seconds, *self._told(choice))

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
