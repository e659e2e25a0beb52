"""Docstrings, help texts and pages: no fragments, and the field's words instead of odd ones."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cclnn
from cclnn.cli.commands import cli

SOURCE = Path(cclnn.__file__).parent
ROOT = SOURCE.parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")), *SOURCE.rglob("*.md")]

# A fragment that leaves the reader to guess what it belongs to.
FRAGMENT = re.compile(r"^(Of|Those|That of|The one of|What became)\b")
# word or phrase -> what to write
BANNED = {
    r"askers?": "query, target",
    r"nobody": "no query, a padding row",
    r"_?rooms?": "workspace",
    r"no tensor shows": "the checkpoint cannot reveal",
    r"is told": "is reported",
    r"at once: memory": "per pass; more need more memory",
    r"tells what": "records, states, lists",
    r"makes of a": "computes for, outputs for",
    r"asked about": "explained",
    r"astray": "unmatched",
    r"the truth": "the original, the reference image, HR",
}


def docstrings() -> Iterator[tuple[str, str]]:
    """(place, text) of every docstring of the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """(place, text) of every help text of a command, its options and its subcommands."""
    yield name, command.help or ""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield f"{name} {parameter.opts[0]}", parameter.help or ""
    if isinstance(command, click.Group):
        for child, subcommand in command.commands.items():
            yield from helps(subcommand, f"{name} {child}")


def test_every_help_text_is_a_sentence():
    for place, text in helps(cli, "cclnn"):
        assert text, place
        assert text[0].isupper(), f"{place}: {text}"
        assert re.sub(r"  \[default: .*\]$", "", text).split("\n\n")[0].endswith("."), f"{place}: {text}"


def test_no_docstring_or_help_text_is_a_fragment():
    wrong = [f"{place}: {text.splitlines()[0]}" for place, text in everything() if FRAGMENT.match(text)]
    assert not wrong, "\n".join(wrong)


def everything() -> Iterator[tuple[str, str]]:
    yield from docstrings()
    yield from helps(cli, "cclnn")


@pytest.mark.parametrize("words", BANNED)
def test_no_odd_words(words):
    pattern = re.compile(rf"\b{words}\b", re.IGNORECASE)
    texts = [*everything(), *((str(path.relative_to(ROOT)), path.read_text()) for path in PAGES)]
    wrong = [f"{place}: {line.strip()}" for place, text in texts for line in text.splitlines() if pattern.search(line)]
    assert not wrong, f"write {BANNED[words]}:\n" + "\n".join(wrong)


NO_IMPERATIVE = re.compile(r"^(An?|The|Now|[a-z`].*|.*(tion|ing|[^s]s))$")


def test_changelog_entries_are_imperative():
    entries = re.findall(r"^- (\S+?)[:,]?\s", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries
    assert not [word for word in entries if NO_IMPERATIVE.match(word)]


def test_changelog_entries_are_one_short_line():
    _head, *versions = (ROOT / "CHANGELOG.md").read_text().split("\n## ")
    lines = [line for version in versions for line in version.splitlines()[1:] if line and not line.startswith("### ")]
    assert lines
    wrong = [line for line in lines if not line.startswith("- ") or len(line) > 72]
    assert not wrong, "write entries of one line and at most 72 characters:\n" + "\n".join(wrong)


@pytest.mark.parametrize("word", ["Options", "Adds", "Adding", "Operations", "`cclnn.upscale`", "The", "resumes"])
def test_other_beginnings_are_found(word):
    assert NO_IMPERATIVE.match(word)
