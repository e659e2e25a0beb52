"""The size and the model that the command line asks for, as far as they are known without importing torch."""

import click

from cclnn._names import AUTO
from cclnn._target import Target
from cclnn.weights import manifest


def target_of(scale: float | None, width: int | None, height: int | None, megapixels: float | None) -> Target:
    """The size that the options ask for.

    Raises:
        click.UsageError: they ask for more than one size.
    """
    try:
        return Target(scale, width, height, megapixels)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def known_scale(model: str, target: Target) -> int | None:
    """The factor of a run without a size of its own: that of a published model, 2 for "auto"; None if not known yet."""
    if target.is_given:
        return None
    entries = manifest()
    return 2 if model == AUTO else entries[model]["config"]["scale"] if model in entries else None
