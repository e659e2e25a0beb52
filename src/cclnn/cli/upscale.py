"""`cclnn upscale`: an image file in, a sharper and larger one out."""

import time
from pathlib import Path

import click
from tqdm import tqdm

from cclnn.cli._errors import in_one_line


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="PNG to write.  [default: PHOTO_x2.png]")
@click.option("--model", default="cclnn-t-x2", show_default=True, help="Published name, folder or .safetensors file.")
@click.option("--tile", type=click.IntRange(min=33), help="Pixels per side of a tile; less needs less memory.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="bf16 is faster on recent hardware, fp32 exact everywhere.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, ...")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def upscale(
    photo: Path,
    output: Path | None,
    model: str,
    tile: int | None,
    precision: str,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Upscale PHOTO (JPEG, PNG, ...) and write a PNG.

    \b
    Example: cclnn upscale holiday.jpg -o holiday-large.png
    """
    from cclnn.image.files import check_target, read_image, write_png

    started = time.perf_counter()
    with in_one_line():
        image = read_image(photo)
        if output is not None:
            check_target(output, overwrite=overwrite)

        from cclnn.precision import keep_freed_memory
        from cclnn.upscaler import Upscaler

        keep_freed_memory()
        upscaler = Upscaler(model, tile=tile or "auto", precision=precision, device=device)  # type: ignore[arg-type]
        if output is None:
            output = photo.with_name(f"{photo.stem}_x{upscaler.scale}.png")
            check_target(output, overwrite=overwrite)
        with tqdm(desc=photo.name, unit="tile", disable=True if quiet else None) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            result = upscaler(image, progress=show)
        write_png(result, output)
    size = output.stat().st_size / 1e6
    click.echo(
        f"wrote {output}: {result.width} x {result.height} pixels, {size:.2f} MB, from {image.width} x {image.height} "
        f"in {time.perf_counter() - started:.1f} s"
    )
