"""Every relative link of the Markdown files leads to a file, and every anchor to a heading of it.

`mkdocs build --strict` checks the pages of the site; this also checks what is read beside the code.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for folder in ("docs", "src", "examples", "tests", "benchmarks")
            for path in (ROOT / folder).rglob("*.md")
        ),
    ]
)
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
SNIPPET = re.compile(r'--8<-- "([^":]+)')


def anchors(page):
    """The anchors of a page's headings, as GitHub and Python-Markdown make them."""
    text = page.read_text()
    text += "".join((ROOT / name).read_text() for name in SNIPPET.findall(text))
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page):
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        file = (page.parent / target) if target else page
        if file.suffix == ".md" and file.parent.name == "notebooks":  # docs/hooks/build.py makes the page
            file = file.with_suffix(".ipynb")
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](#b-title) [c](page.md) [d](none.md) [e](https://example.org)\n")
    assert broken(page) == ["#b-title", "none.md"]
