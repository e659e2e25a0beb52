"""docs/quirks.md names tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "quirks.md"


def named():
    """(file, test) for every test that the page names; `::name` alone is in the file named before it."""
    found, file = [], ""
    for path, test in re.findall(r"`([\w/]+\.py)?::(\w+)`", PAGE.read_text()):
        file = path or file
        found.append((file, test))
    return sorted(set(found))


def test_the_page_names_tests():
    assert len(named()) > 100


@pytest.mark.parametrize(("file", "test"), named())
def test_exists(file, test):
    assert re.search(rf"^ *def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{file} has no {test}"
