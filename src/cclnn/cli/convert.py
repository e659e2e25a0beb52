"""`cclnn convert`: convert a checkpoint of released code to a folder that `cclnn.load` reads."""

import json
from pathlib import Path
from typing import Any

import click

from cclnn.cli._errors import in_one_line

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write the model to.")
@click.option("--arch", default="auto", show_default=True, help="Architecture of the checkpoint; auto detects it.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument the checkpoint cannot reveal, e.g. res_scale=0.1.",
)
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    default="fp32",
    show_default=True,
    help="Number format of the stored weights.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that the folder holds already.")
def convert(file: Path, output: Path, arch: str, settings: tuple[str, ...], dtype: str, overwrite: bool) -> None:
    """Convert a checkpoint of released code to a folder that cclnn.load reads.

    FILE is a .pt, .pth, .bin or .safetensors file. It may hold tensors only: other objects are refused, because
    reading them could run code.

    \b
    Example: cclnn convert model_x2.pt --arch nlsn -o nlsn-x2
    """
    with in_one_line():
        arguments = dict(map(_parse, settings))
        if (output / "config.json").exists() and not overwrite:
            raise ValueError(f"{str(output)!r} holds a model already; --overwrite replaces it.")

        import torch

        from cclnn.hub import read_state_dict
        from cclnn.pretrained import convert_official

        state = read_state_dict(file)
        try:
            model = convert_official(arch, state, **arguments)
        except TypeError as error:
            raise ValueError(f"--set does not fit {arch}: {error}.") from error
        model.save_pretrained(output, dtype=getattr(torch, DTYPES[dtype]))
    size = sum(tensor.numel() for tensor in model.state_dict().values())
    told = ", ".join(f"{name} {value}" for name, value in model.config.items())
    click.echo(f"wrote {output}: {type(model).__name__} with {size:,} parameters; {told}")
    released = model.architecture.released
    unseen = [name for name in (released.unseen if released else ()) if name not in arguments]
    if unseen:
        assumed = ", ".join(f"{name} {model.config[name]}" for name in unseen)
        click.echo(f"assumed, since the checkpoint cannot reveal it (--set changes it): {assumed}")


def _parse(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition("=")
    if not (name and equals):
        raise ValueError(f"--set must be NAME=VALUE, got {setting!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
