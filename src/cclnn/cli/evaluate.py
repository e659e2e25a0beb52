"""`cclnn evaluate`: measure PSNR, SSIM and cost of models on folders of images."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from cclnn._names import DEGRADATIONS, PRECISIONS, Degrade
from cclnn.cli._errors import in_one_line
from cclnn.cli._options import TileOption

if TYPE_CHECKING:
    from cclnn.models import SRModel


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--weights",
    "checkpoints",
    multiple=True,
    metavar="NAME=FILE",
    help="Model of `cclnn list --models` and a released checkpoint of it, converted first; may be given several times. "
    "Adds the paper's Table 5 of these models.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder of a benchmark: Set5 with HR and LR_bicubic/X2, or HR images alone; may be given several times.",
)
@click.option("--scale", type=click.IntRange(min=2), default=2, show_default=True, help="Scale of all models.")
@click.option(
    "--tile",
    type=TileOption(),
    default="none",
    show_default=True,
    help="Side of a tile in pixels, auto, or none for the whole image.",
)
@click.option("--ensemble", is_flag=True, help="Average over the 8 flips and rotations.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Number format of the computation; published results use fp32.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device to compute on: cpu, cuda, ...; auto takes the GPU if there is one.",
)
@click.option(
    "--degrade",
    type=click.Choice(DEGRADATIONS),
    default="clean",
    show_default=True,
    help="Compress the LR images, or add noise to them, before they are upscaled.",
)
@click.option("--compare", type=click.Choice(["paper"]), help="Show the paper's Table 5 above the measured rows.")
@click.option(
    "--ablation",
    is_flag=True,
    help="Also show the paper's Tables 1-4, with each model in the row that fits its configuration.",
)
@click.option(
    "--lambda",
    "weights",
    multiple=True,
    metavar="VALUE=MODEL",
    help="With --ablation: another model and the weight of the contrastive loss it was trained with.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="File to save the results to after every image; an interrupted run continues from it.",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    help="File to write all tables to, including the scores of each image.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    help="File to write one line per model and dataset to: scores, the paper's, intervals of differences, costs.",
)
@click.option("--save-images", type=click.Path(path_type=Path), help="Folder to save the upscaled images to, as PNG.")
@click.option("--no-memory", is_flag=True, help="Do not measure peak memory, which starts a process for each model.")
@click.option("--quiet", is_flag=True, help="Do not show a progress bar.")
def evaluate(
    models: tuple[str, ...],
    checkpoints: tuple[str, ...],
    data: tuple[Path, ...],
    scale: int,
    tile: str | int,
    ensemble: bool,
    precision: str,
    device: str,
    degrade: Degrade,
    compare: str | None,
    ablation: bool,
    weights: tuple[str, ...],
    json_path: Path | None,
    markdown: Path | None,
    csv_path: Path | None,
    save_images: Path | None,
    no_memory: bool,
    quiet: bool,
) -> None:
    """Measure PSNR, SSIM and cost of MODELs by the papers' protocol.

    A MODEL is a published name, a folder, a file, or "bicubic".

    \b
    Example: cclnn evaluate bicubic cclnn-s-x2 --data Set5 --data B100 --scale 2 --compare paper
    """
    with in_one_line():
        for path in (json_path, markdown, csv_path):
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
        files = _files(checkpoints, names)
        converted = {name: _converted(name, file, scale) for name, file in files.items()}
        rows = ablation_rows({name: load(name) for name in names}, trained_with) if ablation else None
        with tqdm(unit="image", disable=True if quiet else None) as bar:

            def show(done: int, total: int, following: str) -> None:
                bar.total = total
                bar.set_description(following, refresh=False)
                bar.update(done - bar.n)

            evaluation = run(
                {**{name: name for name in names}, **converted} if converted else names,
                data,
                scale=scale,
                tile=tile,  # type: ignore[arg-type]  # checked by TileOption
                ensemble=ensemble,
                precision=precision,  # type: ignore[arg-type]  # checked by click
                device=device,
                degrade=degrade,
                memory=not no_memory,
                json_path=json_path,
                save_images=save_images,
                progress=show,
            )
        paper = compare == "paper"
        shown = [tables.quality_table(evaluation, paper=paper), tables.cost_table(evaluation)]
        shown[1:1] = filter(None, [tables.gain_table(evaluation), tables.comparison_table(evaluation)])
        full = [tables.report(evaluation, paper=paper)]
        if converted:
            beside = tables.table5_table(evaluation, list(converted))
            shown, full = [beside, *shown], [beside, *full]
        if rows is not None:
            ablations = [tables.ablation_tables(rows, evaluation, dataset) for dataset in evaluation.datasets]
            shown, full = [*shown, *ablations], [*full, *ablations]
        if markdown is not None:
            write_atomically(markdown, lambda temporary: temporary.write_text("\n".join(full)))
        if csv_path is not None:
            write_atomically(csv_path, lambda temporary: temporary.write_text(tables.csv_text(evaluation)))
    click.echo("\n\n".join(shown).rstrip("\n"))


def _files(options: tuple[str, ...], models: tuple[str, ...]) -> dict[str, Path]:
    """Parse options such as `rcan=RCAN_BIX2.pt` into model -> file; a name stands for one model only."""
    found: dict[str, Path] = {}
    for option in options:
        name, separator, file = option.partition("=")
        if not (name and separator and file):
            raise ValueError(f"--weights must be NAME=FILE, got {option!r}.")
        if name in found or name in models:
            raise ValueError(f"--weights {option}: there is another model named {name!r}.")
        found[name] = Path(file)
    return found


def _converted(name: str, file: Path, scale: int) -> "SRModel":
    """The model of a released checkpoint; the scale is given where the checkpoint cannot reveal it."""
    from cclnn.hub import read_state_dict
    from cclnn.models.registry import find_variant
    from cclnn.pretrained import convert_official

    hidden = {"scale": scale} if "scale" in find_variant(name).record.unseen else {}
    return convert_official(name, read_state_dict(file), **hidden)


def _weights(options: tuple[str, ...], ablation: bool) -> dict[str, float]:
    """Parse options such as `0.002=MODEL` into model -> lambda."""
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
