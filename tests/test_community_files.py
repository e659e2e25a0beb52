"""CITATION.cff, CONTRIBUTING.md, SECURITY.md and the issue templates: valid, and true to the code."""

import re
from pathlib import Path

import pytest
import yaml

import cclnn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_citation_names_this_version_and_the_paper_of_the_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == cclnn.__version__
    paper = citation["preferred-citation"]
    assert paper["title"] in README.replace("\n", " ")
    assert f"https://doi.org/{paper['doi']}" in README
    assert [author["family-names"] for author in paper["authors"]] == ["Liu", "Chu", "Wei"]


def test_the_bibtex_entries_say_what_the_citation_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    page = (ROOT / "docs" / "papers.md").read_text()
    (paper, software) = re.findall(r"```bibtex\n(@.*?)```", page, re.DOTALL)
    for value in (citation["preferred-citation"]["title"], citation["preferred-citation"]["doi"], "2024"):
        assert value in paper
    assert f"version = {{{cclnn.__version__}}}" in software
    assert citation["title"] in software


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_templates_are_forms(path):
    form = yaml.safe_load(path.read_text())
    if path.name != "config.yml":
        assert {"name", "description", "body"} <= form.keys()
        assert all(part["attributes"]["label"] for part in form["body"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_to_files_lead_somewhere(name):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
