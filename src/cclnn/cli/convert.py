"""`cclnn convert`: convert a checkpoint of released code to a folder that `cclnn.load` reads, or a model back."""

import json
from pathlib import Path
from typing import Any

import click

from cclnn.cli._errors import in_one_line

RELEASED = (".pt", ".pth", ".safetensors")
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder (or file) to write to.")
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
@click.option(
    "--to-released",
    is_flag=True,
    help="Convert back: FILE is what cclnn.load reads, the output a .pt, .pth or .safetensors file for released code.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there already.")
def convert(
    file: Path, output: Path, arch: str, settings: tuple[str, ...], dtype: str, to_released: bool, overwrite: bool
) -> None:
    """Convert a checkpoint of released code to a folder that cclnn.load reads, or back.

    FILE is a .pt, .pth, .bin or .safetensors file. It may hold tensors only: other objects are refused, because
    reading them could run code.

    \b
    Examples:
      cclnn convert model_x2.pt --arch nlsn -o nlsn-x2
      cclnn convert nlsn-x2 --to-released -o model_x2.pt
    """
    if to_released:
        with in_one_line():
            if settings or arch != "auto":
                raise ValueError("--to-released takes neither --arch nor --set.")
            count = _write_released(str(file), output, DTYPES[dtype], overwrite=overwrite)
        click.echo(f"wrote {output}: {count} tensors under the names of the released code")
        return
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
    if unseen := [name for name in model.architecture.unseen if name not in arguments]:
        assumed = ", ".join(f"{name} {model.config[name]}" for name in unseen)
        click.echo(f"assumed, since the checkpoint cannot reveal it (--set changes it): {assumed}")


def _write_released(source: str, output: Path, dtype: str, *, overwrite: bool) -> int:
    """Write the official state dict of a model; returns how many tensors it holds."""
    if output.suffix not in RELEASED:
        raise ValueError(f"--output must end in {', '.join(RELEASED)} with --to-released, got {str(output)!r}.")
    if output.exists() and not overwrite:
        raise ValueError(f"{str(output)!r} exists already; --overwrite replaces it.")

    import torch
    from safetensors.torch import save_file

    from cclnn._files import write_atomically
    from cclnn.pretrained import load, to_official

    state = {key: x.to(getattr(torch, dtype)).clone() for key, x in to_official(load(source)).items()}
    save = save_file if output.suffix == ".safetensors" else torch.save
    write_atomically(output, lambda temporary: save(state, temporary))
    return len(state)


def _parse(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition("=")
    if not (name and equals):
        raise ValueError(f"--set must be NAME=VALUE, got {setting!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
