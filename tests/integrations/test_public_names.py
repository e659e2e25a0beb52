"""What runs inside other programs uses the public names of the library alone."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "integrations").rglob("*.py"))
PAGES = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))


def taken(source):
    """(module, name) of everything that a source takes from the library, by import or as cclnn.name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "cclnn":
                yield from ((module, alias.name) for alias in names)
            case ast.Attribute(value=ast.Name(id="cclnn"), attr=name):
                yield "cclnn", name


def is_public(module, name):
    """Named in the module's __all__, or, where a module has none, in the documentation."""
    if "._" in module or name.startswith("_"):
        return False
    names = getattr(importlib.import_module(module), "__all__", None)
    return f"::: {module}.{name}\n" in PAGES if names is None else name in names


def test_the_scripts_are_found():
    assert {script.parent.name for script in SCRIPTS} == {"comfyui", "demo", "ray"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_integrations_use_public_names_only(script):
    found = set(taken(script.read_text()))
    assert found
    assert not {f"{module}.{name}" for module, name in found if not is_public(module, name)}


def test_private_names_are_seen():
    source = "from cclnn._files import hidden\nfrom cclnn.image.read import _read\nfrom cclnn.image import read_png\n"
    assert [is_public(*one) for one in taken(source)] == [False, False, False]
