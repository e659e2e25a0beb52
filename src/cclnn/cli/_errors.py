"""Errors that the user can act on become one line instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cclnn._errors import reason

EXPECTED = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Report the errors in EXPECTED as `Error: ...` and exit with code 1."""
    try:
        yield
    except EXPECTED as error:
        raise click.ClickException(reason(error)) from error
