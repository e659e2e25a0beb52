"""Format evaluations as Markdown tables."""

import csv
import io
from collections.abc import Iterable, Mapping

from cclnn.evaluation.differences import paired_difference
from cclnn.evaluation.paper import SOURCE, PaperRow, Setting, table5
from cclnn.evaluation.results import Comparison, Contestant, Evaluation, Result


def quality_table(evaluation: Evaluation, *, paper: bool = False) -> str:
    """One row per model: parameters and mean PSNR / SSIM on each dataset; `paper` adds the rows of Table 5 above."""
    datasets = evaluation.datasets
    rows = []
    if paper:
        for row in table5(evaluation.scale):
            scores = [_quality(*score, decimals=2) if (score := row.score(name)) else "" for name in datasets]
            rows.append([f"{row.algorithm} (paper)", row.parameters, *scores])
    for model in evaluation.models:
        scores = [
            _quality(result.psnr, result.ssim) if (result := _find(evaluation, model, name)) else ""
            for name in datasets
        ]
        rows.append([model.name, _count(model.parameters), *scores])
    return table(["model", "parameters", *(f"{name} x{evaluation.scale}" for name in datasets)], rows)


def gain_table(evaluation: Evaluation) -> str:
    """One row per model: the mean gain over bicubic in dB, its 95 % interval, and on how many images it is negative.

    Empty where bicubic was not measured, or nothing else.
    """
    rows = []
    for model in evaluation.models:
        if model.name == "bicubic":
            continue
        cells = []
        for name in evaluation.datasets:
            result, base = (_find(evaluation, one, name) for one in (model, Contestant("bicubic", "bicubic")))
            if result is None or base is None:
                return ""
            known = {score.image: score.psnr for score in base.scores}
            pairs = [(score.psnr, known[score.image]) for score in result.scores if score.image in known]
            found = paired_difference([mine for mine, _ in pairs], [theirs for _, theirs in pairs])
            below = sum(mine < theirs for mine, theirs in pairs)
            cells.append(f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}), {below} of {len(pairs)} below")
        rows.append([model.name, *cells])
    head = ["gain over bicubic, dB", *(f"{name} x{evaluation.scale}" for name in evaluation.datasets)]
    return table(head, rows) if rows else ""


def comparison_table(evaluation: Evaluation) -> str:
    """Datasets down the side; for each model its PSNR less that of the first in dB, with the 95 % interval.

    The first is the first model that is not bicubic. Empty where there is no other, or nothing was compared yet.
    """
    first, *others = [model.name for model in evaluation.models if model.name != "bicubic"] or [""]
    rows = [
        [dataset, *(_difference(evaluation.comparison(name, first, dataset)) for name in others)]
        for dataset in evaluation.datasets
    ]
    heads = [f"{name} - {first}" for name in others]
    return table([f"difference in dB, x{evaluation.scale}", *heads], rows) if others and evaluation.comparisons else ""


def table5_table(evaluation: Evaluation, models: Iterable[str]) -> str:
    """Datasets down the side; for each of these models its PSNR / SSIM, and the paper's number beside it.

    The paper's row is that of the same name, without its "+" where only the "+" was printed.
    """
    printed = _printed(evaluation.scale)
    wanted = set(models)
    contestants = [model for model in evaluation.models if model.name in wanted]
    rows = []
    for dataset in evaluation.datasets:
        cells = []
        for model in contestants:
            result, row = _find(evaluation, model, dataset), printed.get(model.name)
            score = row.score(dataset) if row else None
            cells += [
                _quality(result.psnr, result.ssim) if result else "",
                _quality(*score, decimals=2) if score else "",
            ]
        rows.append([dataset, *cells])
    heads = []
    for name in (model.name for model in contestants):
        heads += [name, f"{printed[name].algorithm if name in printed else name} (paper)"]
    return table([f"x{evaluation.scale}", *heads], rows)


COLUMNS = (
    *("model", "dataset", "scale", "images", "psnr", "ssim", "paper", "paper psnr", "paper ssim"),
    *("baseline", "difference", "low", "high", "seconds", "peak bytes", "parameters", "macs"),
)


def csv_text(evaluation: Evaluation) -> str:
    """One line per model and dataset with the columns COLUMNS; what is not known is empty.

    seconds is the median over the images. The baseline is the first model that is not bicubic.
    """
    printed = _printed(evaluation.scale)
    first = next((model.name for model in evaluation.models if model.name != "bicubic"), "")
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for model in evaluation.models:
        for dataset in evaluation.datasets:
            if (result := _find(evaluation, model, dataset)) is None:
                continue
            row = printed.get(model.name)
            found = evaluation.comparison(model.name, first, dataset)
            lines.writerow(
                [
                    *(model.name, dataset, evaluation.scale, len(result.scores), result.psnr, result.ssim),
                    *((row.algorithm, *(row.score(dataset) or ("", ""))) if row else ("", "", "")),
                    *((first, found.mean, found.low, found.high) if found else ("", "", "", "")),
                    *(result.seconds[1], model.peak_bytes, model.parameters, model.macs),
                ]
            )
    return text.getvalue()


def cost_table(evaluation: Evaluation) -> str:
    """One row per model: parameters, MACs and activations for a 1280x720 output, seconds per image, peak memory."""
    rows = []
    for model in evaluation.models:
        row = [model.name, _count(model.parameters), _giga(model.macs), _mega(model.activations)]
        for name in evaluation.datasets:
            result = _find(evaluation, model, name)
            row.append("{1:.3f} ({0:.3f}-{2:.3f})".format(*result.seconds) if result else "")
        row.append("" if model.peak_bytes is None else f"{model.peak_bytes / 2**20:.0f}")
        rows.append(row)
    seconds = [f"seconds per image, {name}" for name in evaluation.datasets]
    return table(["model", "parameters", "MACs, G", "activations, M", *seconds, "peak, MiB"], rows)


def image_table(evaluation: Evaluation, dataset: str) -> str:
    """One row per image and one column per model: PSNR / SSIM; the last row is the mean."""
    results = [result for result in evaluation.results if result.dataset == dataset]
    scores = [{score.image: score for score in result.scores} for result in results]
    rows = [
        [image, *(_quality(one[image].psnr, one[image].ssim) if image in one else "" for one in scores)]
        for image in sorted(set().union(*scores))
    ]
    rows.append(["mean", *(_quality(result.psnr, result.ssim) for result in results)])
    return table([f"{dataset} x{evaluation.scale}", *(result.model for result in results)], rows)


def report(evaluation: Evaluation, *, paper: bool = False) -> str:
    """All tables with the protocol, the settings and the machine: the content of the file that `--markdown` writes."""
    notes = [f"- {key}: {value}" for key, value in {**evaluation.settings, **evaluation.machine}.items()]
    made = {result.dataset: result.lr_source for result in evaluation.results}
    parts = [
        f"# x{evaluation.scale}",
        PROTOCOL,
        quality_table(evaluation, paper=paper),
        *([f"Rows marked (paper): {SOURCE}."] if paper else []),
        *([gains] if (gains := gain_table(evaluation)) else []),
        *([COMPARISONS, differences] if (differences := comparison_table(evaluation)) else []),
        COSTS,
        cost_table(evaluation),
        "\n".join([*notes, *(f"- LR of {name}: {source}" for name, source in made.items())]),
        *(f"## {name}\n\n{image_table(evaluation, name)}" for name in evaluation.datasets),
    ]
    return "\n\n".join(parts) + "\n"


PROTOCOL = (
    "PSNR in dB / SSIM on Y (BT.601 studio range, not rounded) of the 8-bit result, with as many pixels shaved off "
    "each side as the scale; the mean over the images."
)
COMPARISONS = (
    "PSNR less that of the first model: the mean over the images, and its 95 % interval by a bootstrap of the paired "
    "differences, which is too narrow for sets of fewer than about 20 images."
)
COSTS = (
    "MACs and activations: for the input whose output is nearest to 1280x720. Seconds: median and quartiles over the "
    "images. Peak: memory of one call on the largest image beyond the weights, in a process of its own."
)


def ablation_tables(
    rows: Mapping[str, Iterable[tuple[Setting, str | None]]], evaluation: Evaluation, dataset: str
) -> str:
    """The paper's Tables 1-4 with the measured PSNR of the checkpoints that match each setting."""
    parts = []
    for title, settings in rows.items():
        lines = [
            [s.label, f"{s.psnr:.2f}", name or "", f"{evaluation.result(name, dataset).psnr:.3f}" if name else ""]
            for s, name in settings
        ]
        head = ["setting", "paper, Set5 x2", "checkpoint", f"measured, {dataset} x{evaluation.scale}"]
        parts.append(f"## {title}\n\n{table(head, lines)}")
    return "\n\n".join(parts) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns, so that it is readable in a terminal; numbers are right-aligned."""
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: list[str]) -> str:
        first, *others = zip(row, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _find(evaluation: Evaluation, model: Contestant, dataset: str) -> Result | None:
    found = [r for r in evaluation.results if (r.model, r.dataset) == (model.name, dataset) and r.scores]
    return found[0] if found else None


def _printed(scale: int) -> dict[str, PaperRow]:
    """Name of a model -> the paper's row."""
    return {row.algorithm.rstrip("+").lower(): row for row in table5(scale)}


def _difference(found: Comparison | None) -> str:
    return "" if found is None else f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}), n = {found.images}"


def _quality(psnr: float, ssim: float, *, decimals: int = 3) -> str:
    return f"{psnr:.{decimals}f} / {ssim:.4f}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _giga(number: int | None) -> str:
    return "" if number is None else f"{number / 1e9:,.1f}"


def _mega(number: int | None) -> str:
    return "" if number is None else f"{number / 1e6:,.1f}"
