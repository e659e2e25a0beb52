"""Errors in one line, and calls that are repeated where an error may pass."""

import pytest

from cclnn.image import ImageFileError
from cclnn.upscaler import reason, retry


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("no\n  space"), "no space"),
        (MemoryError(), "out of memory"),
        (RuntimeError(), "RuntimeError()"),
        (ValueError("`x` must be positive."), "`x` must be positive."),
    ],
)
def test_reason_is_one_line(error, line):
    assert reason(error) == line


class Call:
    """Raises each of the errors in turn, then returns 7."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


@pytest.fixture
def pauses(monkeypatch):
    seconds = []
    monkeypatch.setattr("cclnn._errors.time.sleep", seconds.append)
    return seconds


def test_errors_that_may_pass_are_tried_again(pauses):
    call = Call(OSError("busy"), MemoryError(), RuntimeError("device"))
    assert retry(call, retries=3, pause=0.5) == 7
    assert call.calls == 4
    assert pauses == [0.5, 1.0, 2.0]


def test_the_error_of_the_last_call_is_raised(pauses):
    call = Call(OSError("first"), OSError("second"), OSError("third"))
    with pytest.raises(OSError, match="second"):
        retry(call, retries=1)
    assert pauses == [1.0]


@pytest.mark.parametrize("error", [ValueError("out of range"), ImageFileError("damaged"), TypeError("kind")])
def test_errors_of_the_input_are_raised_at_once(pauses, error):
    call = Call(error)
    with pytest.raises(type(error)):
        retry(call)
    assert call.calls == 1
    assert not pauses


def test_ctrl_c_is_no_error_that_passes(pauses):
    call = Call(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        retry(call)
    assert call.calls == 1
