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
@click.option("--model", default="cclnn-s-x2", show_default=True, help="Published name, folder or .safetensors file.")
@click.option(
    "--window",
    type=Numbers("x,y,size"),
    help="Window of the result to explain: column, row and side in its pixels. Required for a figure.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="PNG, SVG or PDF file to write. Required for a figure."
)
@click.option(
    "--health",
    is_flag=True,
    help="Print what each sparse attention does with IMAGE and what the result loses without it, and draw nothing.",
)
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
    window: tuple[int, int, int] | None,
    output: Path | None,
    health: bool,
    show: str,
    steps: int,
    batch: int,
    no_truth: bool,
    quiet: bool,
) -> None:
    """Draw which input pixels a network used for one window of its result.

    IMAGE is reduced by the model's scale first, so that the result can be compared with it.

    \b
    Examples:
      cclnn attribute photo.png --window 120,80,16 -o map.png
      cclnn attribute photo.png --health
    """
    if health:
        if window is not None or output is not None:
            raise click.UsageError("--health draws nothing: leave out --window and --output.")
        with in_one_line():
            click.echo(_health(image, model, no_truth))
        return
    if window is None or output is None:
        raise click.UsageError("A figure needs --window and --output; --health prints numbers instead.")
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


def _health(path: Path, name: str, no_truth: bool) -> str:
    """Numbers of every attention, a line each, and of the interventions."""
    from cclnn.attribution import attention_health
    from cclnn.evaluation.datasets import Pair, read_rgb
    from cclnn.pretrained import load

    model = load(name)
    if no_truth:
        found = attention_health(model, read_rgb(path).float() / 255)
    else:
        found = attention_health(model, *Pair(path.stem, path, None).load(model.scale))
    lines = [
        f"{layer.block}: {layer.buckets:.1f} effective buckets of {layer.n_buckets}, mean cosine of queries "
        f"{layer.cosine:.2f}, softmax over {layer.participation:.0f} of {layer.met:.0f} pixels met, "
        f"recall of best matches {layer.recall:.2f}"
        for layer in found.layers
    ]
    words = {"mean": "the mean of all values", "own": "each pixel's own value", "zero": "nothing"}
    for how, change in found.change.items():
        loss = "" if found.psnr is None else f", {found.psnr[how] - found.psnr['none']:+.3f} dB"
        lines.append(f"{words[how]} instead of the attention: change {255 * change:.3f} grey levels (rms){loss}")
    return "\n".join(lines)


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
    counts = ", ".join(f"{int((block.weights > 0).sum())} in {block.block}" for block in blocks)
    return attention_figure(lr, (row, column), blocks), f"row {row}, column {column} of the input meets {counts}"


def _channels(model: "SRModel", lr: "Tensor") -> tuple["Figure", str]:
    from cclnn.attribution import channel_weights
    from cclnn.evaluation.figures import channel_figure

    blocks = channel_weights(model, lr)
    return channel_figure(blocks), ", ".join(
        f"{b.block} {b.weights[0].item():.3f} to {b.weights[-1].item():.3f}" for b in blocks
    )
