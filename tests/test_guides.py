"""The code of the guides runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder in which the pages' paths lead to the example images, and which may be written to."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)


def test_the_tutorial_trains_a_block_that_beats_interpolation(source, capsys):
    """Its own assertions compare each equation with the library's layer."""
    names = {}
    for code in blocks("guide/tutorial.md"):
        exec(compile(code, "tutorial.md", "exec"), names)
    separated, equal = re.findall(r"tensor\(([\d.e-]+)\)", capsys.readouterr().out)
    assert float(separated) == pytest.approx(0, abs=1e-6)
    assert float(equal) == pytest.approx(1)
    assert names["trained"] > names["bicubic"] + 0.3


@pytest.mark.parametrize("page", ["index.md", "guide/block.md"])
def test_each_piece_of_code_runs_alone(page, source):
    found = blocks(page)
    assert found
    for code in found:
        exec(compile(code, page, "exec"), {})
