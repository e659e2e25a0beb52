"""`cclnn compare`: draw a detail of one image as several models restore it."""

from pathlib import Path

import click
from tqdm import tqdm

from cclnn.cli._errors import in_one_line
from cclnn.cli._options import Numbers


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--models", required=True, help='Published names, folders, files or "bicubic", separated by commas.')
@click.option(
    "--crop",
    type=Numbers("x,y,w,h"),
    required=True,
    help="Detail to show: column, row, width and height in pixels of the large image.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="PNG, SVG or PDF file to write.")
@click.option("--scale", type=click.IntRange(min=2), default=2, show_default=True, help="Scale of all models.")
@click.option(
    "--no-truth", is_flag=True, help="Upscale IMAGE itself instead of reducing it first; no PSNR and SSIM then."
)
@click.option("--quiet", is_flag=True, help="Do not show a progress bar.")
def compare(
    image: Path, models: str, crop: tuple[int, int, int, int], output: Path, scale: int, no_truth: bool, quiet: bool
) -> None:
    """Draw one detail of IMAGE as several models restore it, with PSNR and SSIM of the whole image.

    Each model upscales a copy of IMAGE that was reduced by the scale.

    \b
    Example: cclnn compare photo.png --models bicubic,cclnn-s-x2 --crop 120,80,60,60 -o figure.png
    """
    with in_one_line():
        from cclnn.evaluation import figures

        figures.check_figure_path(output)

        from cclnn.evaluation.benchmark import make_runners
        from cclnn.evaluation.datasets import Pair, read_rgb

        if no_truth:
            lr, truth = read_rgb(image).float() / 255, None
            rows, columns = (length * scale for length in lr.shape[2:])
        else:
            lr, truth = Pair(image.stem, image, None).load(scale)
            rows, columns = truth.shape[2:]
        x, y, width, height = crop
        box = (y, x, height, width)
        figures.check_box("crop", box, rows, columns)
        runners = make_runners([name.strip() for name in models.split(",")], scale)
        results = {
            runner.name: runner.run(lr).clamp(0, 1)
            for runner in tqdm(runners, unit="model", disable=True if quiet else None)
        }
        figures.save_figure(figures.comparison_figure(results, box, truth=truth, scale=scale), output)
    click.echo(f"wrote {output}: {', '.join(results)} on {image.name}, x{scale}")
