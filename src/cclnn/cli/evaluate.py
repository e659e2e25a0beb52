"""`cclnn evaluate`: PSNR, SSIM and cost of models on folders of images, as the papers measure them."""

from pathlib import Path

import click
from tqdm import tqdm

from cclnn.cli._errors import in_one_line
from cclnn.cli._options import Tile


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder of a benchmark: Set5 with HR and LR_bicubic/X2, or HR images alone; may be given several times.",
)
@click.option("--scale", type=click.IntRange(min=2), default=2, show_default=True, help="Of all models.")
@click.option("--tile", type=Tile(), default="none", show_default=True, help="Pixels per side, auto or none.")
@click.option("--ensemble", is_flag=True, help="Average over the 8 flips and rotations.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="The published numbers are those of fp32.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, ...")
@click.option("--compare", type=click.Choice(["paper"]), help="Put the rows of the paper's Table 5 above.")
@click.option("--ablation", is_flag=True, help="Put the models in the paper's Tables 1-4, by their configurations.")
@click.option(
    "--lambda",
    "weights",
    multiple=True,
    metavar="VALUE=MODEL",
    help="With --ablation: one more model, and the weight of the contrastive loss that it was trained with.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="Keep the results here, image by image; a run that was stopped goes on from there.",
)
@click.option("--markdown", type=click.Path(path_type=Path), help="Write all tables here, those of each image too.")
@click.option("--save-images", type=click.Path(path_type=Path), help="Folder for the results as PNG.")
@click.option("--no-memory", is_flag=True, help="Leave out the peak memory, which starts a process for each model.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def evaluate(
    models: tuple[str, ...],
    data: tuple[Path, ...],
    scale: int,
    tile: str | int,
    ensemble: bool,
    precision: str,
    device: str,
    compare: str | None,
    ablation: bool,
    weights: tuple[str, ...],
    json_path: Path | None,
    markdown: Path | None,
    save_images: Path | None,
    no_memory: bool,
    quiet: bool,
) -> None:
    """Measure MODELs (published names, folders, files; "bicubic") like the papers do.

    \b
    Example: cclnn evaluate bicubic cclnn-t-x2 --data Set5 --data B100 --scale 2 --compare paper
    """
    with in_one_line():
        for path in (json_path, markdown):
            if path is not None and not path.parent.is_dir():
                raise ValueError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}.")
        trained_with = _weights(weights, ablation)
        names = tuple(dict.fromkeys([*models, *trained_with]))

        from cclnn._files import write_atomically
        from cclnn.evaluation import tables
        from cclnn.evaluation.ablation import ablation_rows
        from cclnn.evaluation.benchmark import evaluate as run
        from cclnn.precision import keep_freed_memory
        from cclnn.pretrained import load

        keep_freed_memory()
        rows = ablation_rows({name: load(name) for name in names}, trained_with) if ablation else None
        with tqdm(unit="image", disable=True if quiet else None) as bar:

            def show(done: int, total: int, following: str) -> None:
                bar.total = total
                bar.set_description(following, refresh=False)
                bar.update(done - bar.n)

            evaluation = run(
                names,
                data,
                scale=scale,
                tile=tile,  # type: ignore[arg-type]  # checked by Tile
                ensemble=ensemble,
                precision=precision,  # type: ignore[arg-type]  # checked by click
                device=device,
                memory=not no_memory,
                json_path=json_path,
                save_images=save_images,
                progress=show,
            )
        paper = compare == "paper"
        shown = [tables.quality_table(evaluation, paper=paper), tables.cost_table(evaluation)]
        full = [tables.report(evaluation, paper=paper)]
        if rows is not None:
            ablations = [tables.ablation_tables(rows, evaluation, dataset) for dataset in evaluation.datasets]
            shown, full = [*shown, *ablations], [*full, *ablations]
        if markdown is not None:
            write_atomically(markdown, lambda temporary: temporary.write_text("\n".join(full)))
    click.echo("\n\n".join(shown).rstrip("\n"))


def _weights(options: tuple[str, ...], ablation: bool) -> dict[str, float]:
    """Model -> lambda, of `0.002=MODEL`."""
    if options and not ablation:
        raise ValueError("--lambda needs --ablation.")
    found: dict[str, float] = {}
    for option in options:
        value, separator, model = option.partition("=")
        try:
            found[model] = float(value)
        except ValueError:
            separator = ""
        if not (separator and model):
            raise ValueError(f"--lambda must be VALUE=MODEL, got {option!r}.")
    return found
