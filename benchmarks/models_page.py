"""Write docs/models.md and its diagrams from the records of all architectures.

python benchmarks/models_page.py           # writes the page and docs/figures/models

A diagram shows the modules of the default model in the order in which a forward pass calls them; equal modules in a row
are one box.
"""

from itertools import groupby
from pathlib import Path

import torch
from drawing import Box, chain, draw, write
from torch import nn

import cclnn
from cclnn.evaluation.complexity import count_parameters
from cclnn.evaluation.tables import table
from cclnn.models import SRModel
from cclnn.models.registry import ARCHITECTURES

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
DIAGRAMS = PAGE.parent / "figures" / "models"
NARROWED = ("channels", "up_channels", "reduction")  # for the pass; what the diagram shows stays as it is
MOST_BOXES = 8
Run = tuple[str, str, int]  # part of the network, classes, how many in a row
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
    mark = " (see its note)" if record.note else ""
    return [f"`{name}`{mark}", str(record.year), *counts, ", ".join(map(str, record.scales)), code]


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
        made[DIAGRAMS / f"{name.lower()}.svg"] = diagram(
            called(cclnn.create_model(variant, **narrow)), f"Modules of {kind.architecture.title}"
        )
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


def diagram(order: list[tuple[str, str]], title: str) -> str:
    """An SVG: one box for each run of equal modules, arrows between them."""
    runs = [(part, kind, len(list(run))) for (part, kind), run in groupby(order)]
    if len(runs) > MOST_BOXES:  # attentions among residual blocks: one box for each part, with what alternates in it
        parts = groupby(order, key=lambda step: step[0])
        runs = folded([(part, counted([kind for _, kind in run]), 1) for part, run in parts])
    boxes = [
        Box(tuple((f"{count} x {kind}" if count > 1 else kind).split(" + ")), column, title=part)
        for column, (part, kind, count) in enumerate(runs)
    ]
    return draw(boxes, chain(boxes), title=title)


def folded(runs: list[Run]) -> list[Run]:
    """A row of boxes that stands several times in a row, as in recurrent networks, once, with how often."""
    for width in range(2, len(runs) // 2 + 1):
        for start in range(len(runs) - 2 * width + 1):
            row = runs[start : start + width]
            times = 1
            while runs[start + times * width :][:width] == row:
                times += 1
            if times > 1:
                once = [(f"{part}, {times} times", kind, count) for part, kind, count in row]
                return [*runs[:start], *once, *folded(runs[start + times * width :])]
    return runs


def counted(kinds: list[str]) -> str:
    """The kinds, each with how often it stands there."""
    return " + ".join(f"{kinds.count(kind)} x {kind}" if len(kinds) > 1 else kind for kind in dict.fromkeys(kinds))


if __name__ == "__main__":
    for path, text in {PAGE: page() + "\n", **diagrams()}.items():
        write(path, text)
