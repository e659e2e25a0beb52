"""`cclnn export`: write a model as a file that runs without cclnn."""

from pathlib import Path

import click

from cclnn._names import EXPORT_FORMATS
from cclnn.cli._errors import in_one_line


@click.command()
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(EXPORT_FORMATS),
    help="ONNX, or pt2 for a program of torch.export.  [default: by the ending of the file]",
)
@click.option("--half", is_flag=True, help="Store weights and compute in float16.")
@click.option("--check", is_flag=True, help="Compare the file with the model at ten image sizes.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def export(model: str, output: Path, kind: str | None, half: bool, check: bool, overwrite: bool) -> None:
    """Write a model as an ONNX file, for images of any size.

    MODEL is a published name (see `cclnn list`), a folder or a .safetensors file. Needs the extra `export`.

    \b
    Example: cclnn export cclnn-s-x2 -o cclnn-s-x2.onnx --check
    """
    with in_one_line():
        if output.exists() and not overwrite:
            raise ValueError(f"{str(output)!r} exists already; --overwrite replaces it.")

        from cclnn.export import export as write
        from cclnn.pretrained import list_pretrained, load, published_facts

        facts = {"name": Path(model).stem}
        if model in list_pretrained():
            facts = {"name": model, "license": published_facts(model)["license"]}
        network = load(model)
        difference = write(network, output, format=kind, half=half, check=check, facts=facts)  # type: ignore[arg-type]
    click.echo(f"wrote {output}: {facts['name']}, x{network.scale}, {output.stat().st_size / 1e6:.1f} MB")
    if difference is not None:
        click.echo(f"largest difference from the model at ten sizes: {difference:.1e}")
