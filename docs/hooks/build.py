"""What the site needs beyond Markdown, made at build time: formulas as MathML, notebooks as pages, parts of the README.

A reader's browser draws MathML by itself: no script and nothing to fetch.
"""

import html
import json
import logging
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
QUOTE = re.compile(r"^\{\{ README: (.+) \}\}$", re.MULTILINE)
DISPLAY = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)

# griffe reads literals alone; these names are made from the records.
UNREAD = "Unsupported item in cclnn.models.__all__: ARCHITECTURES (use strings only)"


def on_startup(**_: Any) -> None:
    """Pass over the one warning that is none, so that a strict build fails on every other."""
    logging.getLogger("mkdocs.plugins.griffe").addFilter(lambda record: UNREAD not in record.getMessage())


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: Any) -> str:
    """Show a section of the README where a page has a line `{{ README: its heading }}`."""
    readme = (Path(config.docs_dir).parent / "README.md").read_text(encoding="utf-8")
    return QUOTE.sub(lambda found: section(readme, found[1]), markdown)


def section(readme: str, heading: str) -> str:
    """A section with its heading; its links to docs/ are those of a page in docs/."""
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## )", readme, re.DOTALL | re.MULTILINE)
    if found is None:
        raise PluginError(f"the README has no section {heading!r}")
    return found[0].replace("](docs/", "](").rstrip()


def on_page_content(content: str, **_: Any) -> str:
    """Replace the formulas that pymdownx.arithmatex marks, those of docstrings included."""
    content = DISPLAY.sub(lambda found: f'<div class="formula">{mathml(found[1], "block")}</div>', content)
    return INLINE.sub(lambda found: mathml(found[1], "inline"), content)


def mathml(latex: str, display: str) -> str:
    """The MathML of a formula; a command that the converter does not know is an error."""
    latex = html.unescape(latex).strip()
    converted: str = convert(latex, display=display)
    if "\\" in converted or "<mi>&<" in converted:
        raise PluginError(f"formula with an unknown command: {latex}")
    return converted


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page beside each notebook."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        content = page(Path(str(notebook.abs_src_path)))
        files.append(File.generated(config, notebook.src_uri.removesuffix(".ipynb") + ".md", content=content))
    return files


def page(notebook: Path) -> str:
    """The Markdown of a notebook: its text, its code, and what it printed and drew when it was last stored."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *map(output, cell["outputs"])]
    head, *rest = parts
    return "\n\n".join([head, f"[Download this notebook]({notebook.name}).", *rest]) + "\n"


def output(made: dict[str, Any]) -> str:
    """The Markdown of one output of a cell."""
    data = made.get("data", {})
    if "image/png" in data:
        return f'<img alt="what the code above draws" src="data:image/png;base64,{data["image/png"].strip()}">'
    text = "".join(made.get("text") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```" if text else ""
