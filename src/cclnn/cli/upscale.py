"""`cclnn upscale`: upscale image files, folders and streams."""

import sys
from pathlib import Path
from typing import Any

import click

from cclnn._names import ALPHAS, AUTO, PRECISIONS
from cclnn.cli._errors import in_one_line
from cclnn.cli._jobs import STREAM, list_jobs
from cclnn.cli._options import Named, Page, TileOption
from cclnn.cli._published import known_scale, target_of
from cclnn.cli._report import Report
from cclnn.cli._run import Run
from cclnn.cli._worker import Worker
from cclnn.image.formats import FORMATS, FormatName


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
    default=None,
    help="From the clean weights (0) to those for photographs (1), where the latter are used.  [default: by a JPEG's "
    "quality, 1 for other files]",
)
@click.option(
    "--tile",
    type=TileOption(),
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
    type=click.Choice(ALPHAS),
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
@click.option(
    "--page",
    type=Page(),
    help="Page of a TIFF with several, from 1, or all: into one TIFF, or into NAME_p1, NAME_p2, ... of another format.",
)
@click.option(
    "--max-megapixels", type=click.IntRange(min=1), help="Largest input in millions of pixels.  [default: 178]"
)
@click.option("--keep-damaged", is_flag=True, help="Upscale a JPEG or PNG of which a part is missing, with a warning.")
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
    strength: float | None,
    tile: Any,
    overlap: int,
    precision: str,
    device: str,
    ensemble: bool,
    alpha: str,
    file_format: Any,
    quality: int | None,
    lossless: bool,
    page: Any,
    max_megapixels: int | None,
    keep_damaged: bool,
    recursive: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upscale images: files, folders, or - for the standard input.

    Reads PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF and, with the extra heif, HEIC; animations become animations of the
    same kind. Keeps bit depth, transparency, grey, colour profile, EXIF and resolution. The results of a folder have
    the same names in the output folder. Several images whose results exist are skipped, so the same command resumes an
    interrupted run.

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
        worker = Worker(sizer, quality, keep, keep_damaged, overwrite, quiet)
        worker.scale = known_scale(model, target) or (0 if target.is_given else worker.upscaler.scale)
        label = target.label or f"x{worker.scale}"
        todo = list_jobs(inputs, output, asked=file_format, label=label, recursive=recursive, page=page)
        formats: set[FormatName] = {"webp" if job.target.suffix == ".webp" else job.format for job in todo.jobs}
        _check_quality(quality, formats)
        if lossless and formats and "webp" not in formats:
            raise click.UsageError(f"--lossless is for webp, the output is {' and '.join(sorted(formats))}.")
    report = Report(as_json, quiet)
    for path, why in todo.left_out.items():
        report.left_out(path, why)
    failed = Run(worker, report, todo, overwrite=overwrite).run()
    failed += [(path, f"cannot list the folder: {why}") for path, why in todo.unreadable.items()]
    if todo.batch:
        report.summary(failed)
    if failed:
        sys.exit(1)


def _check_quality(quality: int | None, formats: set[FormatName]) -> None:
    """Raise click.UsageError where a quality is given and every format is lossless."""
    if quality is not None and all(FORMATS[name].quality is None for name in formats):
        raise click.UsageError(f"--quality has no meaning for {' and '.join(sorted(formats))}, which are lossless.")
