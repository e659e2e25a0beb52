"""The notebooks of the documentation run from start to end, and are stored as they ran."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def kinds(notebook):
    """For each cell of code, what kinds of output it has."""
    return [
        {output.get("name") or max(output["data"]) for output in cell.outputs}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_runs_and_is_stored_as_it_ran(path):
    """A change of the code must be stored with its results: `jupyter execute --inplace`, see CONTRIBUTING.md."""
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(fresh, timeout=900, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert not [output for cell in fresh.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    assert kinds(stored) == kinds(fresh)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_is_small_and_carries_nothing_of_the_machine(path):
    text = path.read_text()
    assert len(text) < 600_000
    assert "/home/" not in text
    assert "site-packages" not in text


def test_there_are_two():
    assert {path.stem for path in NOTEBOOKS} == {"upscale", "inside-a-block"}
