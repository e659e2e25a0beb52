"""What goes wrong is told in one line, not in a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

EXPECTED = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


def reason(error: BaseException) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split()) or ("out of memory" if isinstance(error, MemoryError) else repr(error))


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the errors that a person can act on into click's: `Error: ...`, exit code 1."""
    try:
        yield
    except EXPECTED as error:
        raise click.ClickException(reason(error)) from error
