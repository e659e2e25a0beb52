"""`cclnn info`: show what a model is, what it costs, and how it was trained and measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cclnn.cli._errors import in_one_line
from cclnn.cli._options import Numbers

if TYPE_CHECKING:
    from cclnn.evaluation import Cost
    from cclnn.models import SRModel


@click.command()
@click.argument("name")
@click.option(
    "--scale",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    help="Scale of a model given by its architecture's name.",
)
@click.option(
    "--size",
    type=Numbers("h,w"),
    help="Rows and columns of the input.  [default: those whose output is nearest to 1280x720]",
)
@click.option("--blocks", is_flag=True, help="Also show the cost of every block.")
@click.option("--time", "timed", is_flag=True, help="Also run the model and show seconds and peak memory.")
def info(name: str, scale: int, size: tuple[int, int] | None, blocks: bool, timed: bool) -> None:
    """Show what a model is, what it costs and what it was trained on.

    NAME is a published name, a folder, a file, or an architecture of `cclnn list --models`.

    \b
    Example: cclnn info cclnn-s-x2
    """
    with in_one_line():
        from cclnn.evaluation.complexity import cost, input_size
        from cclnn.models import create_model, list_models

        path: Path | None = None
        entry: Mapping[str, Any] = {}
        if name in list_models():
            model = create_model(name, scale=scale)
        else:
            model, path, entry = _load(name)
        counted = cost(model, size or input_size(model.scale), repeats=5 if timed else 0, memory=timed)
        lines = [*_identity(name, model, path), *_cost_lines(model, counted), *_record(entry)]
    click.echo("\n".join(lines))
    if blocks:
        click.echo("\n" + _block_table(counted))


def _load(name: str) -> tuple["SRModel", Path | None, Mapping[str, Any]]:
    """Return the model, its local file or None, and its entry in the manifest, which may be empty."""
    from importlib import resources

    from cclnn.hub.container import WEIGHTS
    from cclnn.pretrained import load
    from cclnn.weights import manifest

    model = load(name)
    entry = manifest().get(name, {})
    if "file" in entry:
        with resources.as_file(resources.files("cclnn.weights").joinpath(entry["file"])) as path:
            return model, path if path.is_file() else None, entry
    path = Path(name) / WEIGHTS if Path(name).is_dir() else Path(name)
    return model, path if path.is_file() else None, entry


def _identity(name: str, model: "SRModel", path: Path | None) -> list[str]:
    import hashlib

    from cclnn.models import list_models

    lines = [f"{name}: {type(model).__name__}" + (", random weights" if name in list_models() else "")]
    if note := model.architecture.note:
        lines.append(f"note: {note}")
    lines += [f"  {key}: {value}" for key, value in model.config.items()]
    if path:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"file: {path}, {path.stat().st_size:,} bytes", f"sha256: {digest}"]
    return lines


def _cost_lines(model: "SRModel", cost: "Cost") -> list[str]:
    rows, columns = cost.size
    large = f"{rows * model.scale} x {columns * model.scale}"
    lines = [
        f"parameters: {cost.parameters:,}",
        f"for an input of {rows} x {columns} pixels, output {large}:",
        f"  MACs: {cost.macs / 1e9:,.2f} G",
        f"  activations: {cost.activations / 1e6:,.2f} M",
    ]
    if cost.seconds:
        lines.append(
            f"  seconds: {cost.seconds.median:.3f} ({cost.seconds.fastest:.3f} to {cost.seconds.slowest:.3f}), fp32"
        )
    if cost.peak_bytes is not None:
        lines.append(f"  peak memory beyond the weights: {cost.peak_bytes / 2**20:.0f} MiB")
    return [*lines, f"an output pixel depends on {_reach(model)}"]


def _reach(model: "SRModel") -> str:
    """Describe the receptive field that the architecture's record states."""
    reach = model.architecture.reach(model)
    return "the whole image (or tile)" if reach is None else f"at most {reach} input pixels to each side"


def _record(entry: Mapping[str, Any]) -> list[str]:
    lines = [f"trained, {key}: {value}" for key, value in entry.get("training", {}).items()]
    lines += [
        f"{dataset} x{entry['config']['scale']}: {found['psnr']:.3f} dB, SSIM {found['ssim']:.4f} "
        f"({found['images']} images)"
        for dataset, found in entry.get("measured", {}).items()
    ]
    lines += [
        f"{dataset} x{entry['config']['scale']}: {found['mean']:+.3f} dB over bicubic "
        f"({found['low']:+.3f} to {found['high']:+.3f}), below it on {found['below']} of {found['images']} images"
        for dataset, found in entry.get("gains", {}).items()
    ]
    return lines


def _block_table(cost: "Cost") -> str:
    from cclnn.evaluation.tables import table

    def row(name: str, kind: str, part: Any, seconds: float | None) -> list[str]:
        numbers = [f"{part.parameters:,}", f"{part.macs / 1e9:,.3f}", f"{part.activations / 1e6:,.3f}"]
        return [f"{name} {kind}", *numbers, "" if seconds is None else f"{seconds:.4f}"]

    rows = [row(block.name, block.kind, block, block.seconds) for block in cost.blocks]
    rows.append(row("whole", "", cost, cost.seconds.median if cost.seconds else None))
    return table(["block", "parameters", "MACs, G", "activations, M", "s"], rows)
