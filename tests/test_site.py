"""The site's hook (docs/hooks/build.py): every formula of the pages becomes MathML, every notebook a page."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import markdown
import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")])
HOOK = importlib.util.spec_from_file_location("build", ROOT / "docs" / "hooks" / "build.py")
build = importlib.util.module_from_spec(HOOK)
HOOK.loader.exec_module(build)


def rendered(text):
    extensions = ["tables", "pymdownx.arithmatex", "pymdownx.superfences"]
    html = markdown.markdown(text, extensions=extensions, extension_configs={"pymdownx.arithmatex": {"generic": True}})
    return build.on_page_content(html)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_formula_is_typeset(page):
    text = page.read_text()
    html = rendered(text)
    assert "arithmatex" not in html
    formulas = re.findall(r"<math.*?</math>", html, re.DOTALL)
    for formula in formulas:
        ElementTree.fromstring(formula)
    assert len(formulas) >= text.count("$$") // 2
    assert "$" not in re.sub(r"<(pre|code).*?</\1>", "", html, flags=re.DOTALL), "a formula that was not recognised"


def test_a_fraction_is_a_fraction():
    html = rendered("$$\\frac{1}{C} \\sum_i W_i$$")
    assert html.startswith('<div class="formula"><math')
    (fraction,) = ElementTree.fromstring(re.search(r"<math.*</math>", html)[0]).iter(
        "{http://www.w3.org/1998/Math/MathML}mfrac"
    )
    assert "".join(fraction.itertext()) == "1C"


@pytest.mark.parametrize("formula", [r"\no x", r"\begin{aligned}a&=b\end{aligned}"])
def test_an_unknown_command_fails_the_build(formula):
    with pytest.raises(PluginError, match="unknown command"):
        build.mathml(formula, "inline")


def test_a_section_of_the_readme_is_shown():
    readme = (ROOT / "README.md").read_text()
    headings = build.QUOTE.findall((ROOT / "docs" / "index.md").read_text())
    assert headings == ["Where the weights stand"]
    shown = build.section(readme, headings[0])
    assert "| VDSR |" in shown
    assert "](results.md)" in shown
    assert "](docs/" not in shown
    with pytest.raises(PluginError, match="no section 'Nothing'"):
        build.section(readme, "Nothing")
