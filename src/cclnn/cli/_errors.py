"""What goes wrong is told in one line, not in a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the errors that a person can act on into click's: `Error: ...`, exit code 1."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise click.ClickException(str(error)) from error
