"""Choose published weights from the manifest, without importing torch."""

import click

from cclnn.weights import manifest


def choose(model: str | None, scale: int | None) -> tuple[str, int | None]:
    """Return the model's name, folder or file, and its scale, or None where only loading it would tell.

    Raises:
        click.UsageError: no weights are published for that scale, or the named model has another one.
    """
    entries = manifest()
    if model is None:
        model = f"cclnn-t-x{scale or 2}"
        if model not in entries:
            known = ", ".join(f"{name} (x{entry['config']['scale']})" for name, entry in sorted(entries.items()))
            raise click.UsageError(f"no weights are published for --scale {scale}. There are: {known}.")
    known_scale: int | None = entries[model]["config"]["scale"] if model in entries else None
    if scale is not None and known_scale not in (None, scale):
        raise click.UsageError(f"--model {model} is for --scale {known_scale}, not {scale}.")
    return model, known_scale
