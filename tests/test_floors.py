"""Imports within the package point down: each module imports from its own part and from parts on lower floors only."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import cclnn

ROOT = Path(cclnn.__file__).parent

HELPERS = "helpers"  # every private module at the top: _checks, _typing, ...
# From the ground up. Parts of one floor do not import one another, but for what BESIDE lists.
FLOORS = (
    (HELPERS,),
    ("precision", "weights"),
    ("ops",),
    ("layers", "losses", "metrics"),
    ("image", "hub"),
    ("models",),
    ("pretrained",),
    ("upscaler",),
    ("evaluation", "attribution"),
    ("export", "integrations"),
    ("cli",),
)
BESIDE = {
    ("layers", "losses"),  # layers return the losses of their weights
    ("evaluation", "attribution"),  # the figures draw what attribution finds
}
ONLY = {  # parts that know less than their floor allows
    "image": {HELPERS, "ops"},  # no network
    "hub": {HELPERS, "weights"},  # no network
    "weights": {HELPERS},
    "losses": {HELPERS},
}
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def modules():
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source, name, *, is_package, known):
    """The modules of the package that the source of module `name` imports anywhere, each with its first line."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                targets = [alias.name for alias in aliases]
            case ast.ImportFrom(module=module, names=aliases, level=level):
                if level:
                    above = name.split(".")[: len(name.split(".")) - level + is_package]
                    module = ".".join([*above, *([module] if module else [])])
                # `from package import module` imports the module, `from module import name` the module that has it
                targets = [
                    f"{module}.{alias.name}" if f"{module}.{alias.name}" in known else module for alias in aliases
                ]
            case _:
                continue
        for target in targets:
            if target.split(".")[0] == "cclnn":
                found.setdefault(target, node.lineno)
    return found


@pytest.fixture(scope="module")
def graph():
    """Module -> the modules of the package that it imports, with the line."""
    known = modules()
    return {
        name: imports(path.read_text(), name, is_package=path.name == "__init__.py", known=known)
        for name, path in known.items()
    }


def part(module):
    """`cclnn.ops.color` -> "ops"; `cclnn._checks` -> HELPERS; the package itself -> ""."""
    name = (*module.split("."), "")[1]
    return HELPERS if name.startswith("_") else name


def objection(importer, imported):
    """Why one part must not import another, or None."""
    if importer == imported or importer == "":  # the package only names what lies below
        return None
    if imported == "":
        return "it takes a public name from `cclnn`, which lies above everything"
    if importer in ONLY and imported not in ONLY[importer]:
        return f"`{importer}` may import from {', '.join(sorted(ONLY[importer]))} only"
    if FLOOR[imported] > FLOOR[importer]:
        return f"`{imported}` lies above `{importer}`"
    if FLOOR[imported] == FLOOR[importer] and (importer, imported) not in BESIDE:
        return f"`{imported}` lies beside `{importer}`"
    return None


def test_every_part_has_a_floor():
    assert {part(name) for name in modules()} - {""} <= FLOOR.keys()


def test_imports_point_down(graph):
    wrong = [
        f"{name}, line {line}, imports {target}: {why}"
        for name, targets in graph.items()
        for target, line in targets.items()
        if (why := objection(part(name), part(target)))
    ]
    assert not wrong, "\n".join(wrong)


def circles(graph):
    """Every set of modules that import one another, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1 or node in graph.get(node, ()):
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_modules_import_one_another(graph):
    assert not circles({name: targets for name, targets in graph.items() if name != "cclnn"})


def test_imports_are_found_wherever_they_stand():
    source = """
import cclnn.ops
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from cclnn.models import EDSR
def later():
    from cclnn import hub, load
    from . import tiles
    from ..image.files import fit
    import os, torch
"""
    known = {"cclnn.hub", "cclnn.upscaler.tiles"}
    found = imports(source, "cclnn.upscaler.memory", is_package=False, known=known)
    assert found == {
        "cclnn.ops": 2,
        "cclnn.models": 5,
        "cclnn.hub": 7,
        "cclnn": 7,
        "cclnn.upscaler.tiles": 8,
        "cclnn.image.files": 9,
    }


def test_an_import_upwards_beside_or_of_a_public_name_is_refused():
    assert objection("models", "pretrained") == "`pretrained` lies above `models`"
    assert objection("attribution", "evaluation") == "`evaluation` lies beside `attribution`"
    assert objection("hub", "models") == "`hub` may import from helpers, weights only"
    assert objection("layers", "") == "it takes a public name from `cclnn`, which lies above everything"
    assert objection("cli", "ops") is None
    assert objection("layers", "losses") is None
    assert objection("losses", "layers") is not None


def test_a_circle_is_found():
    graph = defaultdict(dict, {"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []})
    assert circles(graph) == [["b", "c"]]
