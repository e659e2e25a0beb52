"""`cclnn attribute`: draw which pixels of the input a network used."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from cclnn.cli._errors import in_one_line
from cclnn.cli._options import Numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cclnn._typing import Tensor
    from cclnn.models import SRModel


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--model", default="cclnn-t-x2", show_default=True, help="Published name, folder or .safetensors file.")
@click.option(
    "--window",
    type=Numbers("x,y,size"),
    required=True,
    help="Window of the result to explain: column, row and side in its pixels.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="PNG, SVG or PDF file to write.")
@click.option(
    "--show",
    type=click.Choice(["lam", "attention", "channels"]),
    default="lam",
    show_default=True,
    help="Figure to draw. lam: local attribution map. attention: pixels that the window's centre attends to, and "
    "hash buckets. channels: weights of the channel attentions.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Images on the path of the local attribution map.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images per forward pass; more need more memory.",
)
@click.option("--no-truth", is_flag=True, help="Use IMAGE itself as the network's input instead of reducing it first.")
@click.option("--quiet", is_flag=True, help="Do not show a progress bar.")
def attribute(
    image: Path,
    model: str,
    window: tuple[int, int, int],
    output: Path,
    show: str,
    steps: int,
    batch: int,
    no_truth: bool,
    quiet: bool,
) -> None:
    """Draw which input pixels a network used for one window of its result.

    IMAGE is reduced by the model's scale first, so that the result can be compared with it.

    \b
    Example: cclnn attribute photo.png --window 120,80,16 -o map.png
    """
    with in_one_line():
        from cclnn.evaluation import figures

        figures.check_figure_path(output)

        from cclnn.evaluation.datasets import Pair, read_rgb
        from cclnn.pretrained import load

        network = load(model)
        lr = read_rgb(image).float() / 255 if no_truth else Pair(image.stem, image, None).load(network.scale)[0]
        x, y, side = window
        figures.check_box("window", (y, x, side, side), *(length * network.scale for length in lr.shape[2:]))
        match show:
            case "lam":
                figure, said = _lam(network, lr, (y, x, side), Path(model).stem, steps, batch, quiet)
            case "attention":
                figure, said = _attention(network, lr, (y, x, side))
            case _:
                figure, said = _channels(network, lr)
        figures.save_figure(figure, output)
    click.echo(f"wrote {output}: {said}")


def _lam(
    model: "SRModel", lr: "Tensor", window: tuple[int, int, int], name: str, steps: int, batch: int, quiet: bool
) -> tuple["Figure", str]:
    from cclnn.attribution import local_attribution_map
    from cclnn.evaluation.figures import attribution_figure

    with tqdm(total=steps, unit="image", disable=True if quiet else None) as bar:
        found = local_attribution_map(
            model, lr, window, steps=steps, batch=batch, progress=lambda done, _: bar.update(done - bar.n)
        )
    figure = attribution_figure(lr, {name: found}, window, scale=model.scale)
    return figure, f"DI {found.diffusion_index:.2f}, Gini {found.gini:.4f}"


def _attention(model: "SRModel", lr: "Tensor", window: tuple[int, int, int]) -> tuple["Figure", str]:
    from cclnn.attribution import attended_pixels
    from cclnn.evaluation.figures import attention_figure

    row, column = ((start + window[2] // 2) // model.scale for start in window[:2])
    blocks = attended_pixels(model, lr, (row, column))
    met = ", ".join(f"{int((block.weights > 0).sum())} in {block.block}" for block in blocks)
    return attention_figure(lr, (row, column), blocks), f"row {row}, column {column} of the input meets {met}"


def _channels(model: "SRModel", lr: "Tensor") -> tuple["Figure", str]:
    from cclnn.attribution import channel_weights
    from cclnn.evaluation.figures import channel_figure

    blocks = channel_weights(model, lr)
    return channel_figure(blocks), ", ".join(
        f"{b.block} {b.weights[0].item():.3f} to {b.weights[-1].item():.3f}" for b in blocks
    )
