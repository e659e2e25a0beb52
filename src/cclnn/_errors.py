"""Errors as one line for the person, and calls that are repeated where an error may pass."""

import time
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


def reason(error: BaseException) -> str:
    """The message of an error as one line.

    >>> reason(OSError("no space\\nleft"))
    'no space left'
    """
    return " ".join(str(error).split()) or ("out of memory" if isinstance(error, MemoryError) else repr(error))


def retry(call: Callable[[], ResultT], *, retries: int = 3, pause: float = 1.0) -> ResultT:
    """What `call` returns, called again after an error that may pass: storage that does not answer, memory in use.

    A ValueError (so `ImageFileError`), TypeError or ImportError is of the input and is raised at once.

    Args:
        call: takes nothing.
        retries: most further calls; the error of the last is raised.
        pause: seconds before the first of them, doubled before each next.
    """
    for attempt in range(retries):
        try:
            return call()
        except (ValueError, TypeError, ImportError):
            raise
        except Exception:  # noqa: BLE001  # of any library; the last is raised
            time.sleep(pause * 2**attempt)
    return call()
