"""Write docs/models.md from the records of all architectures.

python benchmarks/models_page.py           # writes the page
"""

from pathlib import Path

import cclnn
from cclnn._files import write_atomically
from cclnn.evaluation.complexity import count_parameters
from cclnn.evaluation.tables import table
from cclnn.models import SRModel
from cclnn.models.registry import ARCHITECTURES

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
SCALES = (2, 3, 4)
HEAD = """# Models

`cclnn.create_model(name, scale=...)` builds them, `cclnn list --models` prints this table, `cclnn info NAME` shows what
one costs. `benchmarks/models_page.py` writes this page from the records of the architectures (see
[adding a model](guide/new-model.md)). Parameters include the mean shifts' scalars, as the released code counts them.
"""


def page() -> str:
    """The text of docs/models.md."""
    kinds = sorted(ARCHITECTURES.values(), key=lambda kind: (kind.architecture.year, kind.architecture.title))
    rows = [_row(name, kind) for kind in kinds for name in kind.architecture.variants]
    columns = ["model", "year", *(f"parameters x{scale}" for scale in SCALES), "scales", "released code"]
    return "\n".join([HEAD, table(columns, rows), *map(_section, kinds)])


def _row(name: str, kind: type[SRModel]) -> list[str]:
    record = kind.architecture
    counts = [
        f"{count_parameters(cclnn.create_model(name, scale=scale, device='meta')):,}" if scale in record.scales else "-"
        for scale in SCALES
    ]
    code = record.released.license if record.released else "none"
    return [f"`{name}`", str(record.year), *counts, ", ".join(map(str, record.scales)), code]


def _section(kind: type[SRModel]) -> str:
    record = kind.architecture
    source = record.released.source if record.released else "none"
    reach = "the whole image" if record.receptive_radius == "global" else "a bounded neighbourhood"
    facts = [
        f"- Paper: [{record.paper}]({record.url})",
        f"- Released code: {f'<{source}>' if source.startswith('http') else source}",
        f"- An output pixel depends on {reach}; low precision: {', '.join(record.low_precision) or 'none'}",
        f"- Class: [`cclnn.models.{kind.__name__}`](api/models.md)",
    ]
    note = [f"!!! warning\n    {record.note}\n"] if record.note else []
    return "\n".join([f"\n## {record.title}\n", *note, record.summary, "", *facts])


if __name__ == "__main__":
    text = page() + "\n"
    write_atomically(PAGE, lambda temporary: temporary.write_text(text, encoding="utf-8"))
