"""Write docs/models.md and its diagrams from the records of all architectures.

python benchmarks/models_page.py           # writes the page and docs/figures/models

A diagram shows the modules of the default model in the order in which a forward pass calls them; equal modules in a row
are one box.
"""

from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import torch
from torch import nn

import cclnn
from cclnn._files import write_atomically
from cclnn.evaluation.complexity import count_parameters
from cclnn.evaluation.tables import table
from cclnn.models import SRModel
from cclnn.models.registry import ARCHITECTURES

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
DIAGRAMS = PAGE.parent / "figures" / "models"
NARROWED = ("channels", "up_channels", "reduction")  # for the pass; what the diagram shows stays as it is
BOX, GAP, HEIGHT = 150, 26, 58
MOST_BOXES = 8
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
    picture = f"![Modules of {record.title} in the order of their calls](figures/models/{kind.__name__.lower()}.svg)"
    return "\n".join([f"\n## {record.title}\n", *note, record.summary, "", picture, "", *facts])


def diagrams() -> dict[Path, str]:
    """File -> SVG, one an architecture."""
    made = {}
    for name, kind in ARCHITECTURES.items():
        variant = next(iter(kind.architecture.variants))
        narrow = {key: value for key, value in kind.architecture.small.items() if key in NARROWED}
        made[DIAGRAMS / f"{name.lower()}.svg"] = diagram(called(cclnn.create_model(variant, **narrow)))
    return made


def called(model: SRModel) -> list[tuple[str, str]]:
    """(part of the network, class) of every module that a forward pass calls, in order; containers are looked into."""
    order: list[tuple[str, str]] = []

    def watch(part: str, module: nn.Module) -> None:
        if type(module) in (nn.ModuleList, nn.Sequential):
            for inner in module.children():
                watch(part, inner)
        else:
            module.register_forward_pre_hook(lambda *_: order.append((part, type(module).__name__)))

    for name, module in model.named_children():
        watch(name, module)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 8, 8))
    return order


def diagram(order: list[tuple[str, str]]) -> str:
    """An SVG: one box for each run of equal modules, arrows between them."""
    boxes = [(part, kind, len(list(run))) for (part, kind), run in groupby(order)]
    if len(boxes) > MOST_BOXES:  # attentions among residual blocks: one box for each part, with what alternates in it
        boxes = [
            (part, counted([kind for _, kind in run]), 1) for part, run in groupby(order, key=lambda step: step[0])
        ]
    lines = [(part, (f"{count} x {kind}" if count > 1 else kind).split(" + ")) for part, kind, count in boxes]
    widths = [max(BOX, 9 + max(7 * len(text) for text in (part, *texts))) for part, texts in lines]
    tall = max(len(texts) for _, texts in lines)
    height = HEIGHT + 16 * (tall - 1)
    total = sum(widths) + GAP * (len(lines) + 1)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height + 20}" '
        f'viewBox="0 0 {total} {height + 20}" font-family="sans-serif" font-size="12">'
    ]
    x, middle = GAP, 10 + height // 2
    drawn.append(arrow(2, x, middle))
    for (part, texts), width in zip(lines, widths, strict=True):
        drawn.append(
            f'<rect x="{x}" y="10" width="{width}" height="{height}" rx="6" fill="#eef3fb" stroke="#33557f"/>'
            f'<text x="{x + width // 2}" y="28" text-anchor="middle" fill="#5b6b80">{escape(part)}</text>'
        )
        for i, text in enumerate(texts):
            centre, line = x + width // 2, 48 + 16 * i
            drawn.append(f'<text x="{centre}" y="{line}" text-anchor="middle" fill="#15202e">{escape(text)}</text>')
        drawn.append(arrow(x + width, x + width + GAP - 2, middle))
        x += width + GAP
    return "\n".join([*drawn, "</svg>"]) + "\n"


def counted(kinds: list[str]) -> str:
    """The kinds, each with how often it stands there."""
    return " + ".join(f"{kinds.count(kind)} x {kind}" if len(kinds) > 1 else kind for kind in dict.fromkeys(kinds))


def arrow(start: int, end: int, y: int) -> str:
    """A line from left to right with a tip."""
    return (
        f'<path d="M{start} {y}H{end - 1}" stroke="#33557f" fill="none"/><path d="M{end} {y}l-7 -4v8z" fill="#33557f"/>'
    )


def write(path: Path, text: str) -> None:
    """Write a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    for path, text in {PAGE: page() + "\n", **diagrams()}.items():
        write(path, text)
