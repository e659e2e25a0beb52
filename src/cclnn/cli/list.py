"""`cclnn list`: list the published weights and the models."""

import json
from typing import Any

import click

from cclnn.weights import manifest


@click.command(name="list")
@click.option("--weights", "only", flag_value="weights", help="List the published weights only; does not import torch.")
@click.option("--models", "only", flag_value="models", help="List the models only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(only: str | None, as_json: bool) -> None:
    """List the published weights, and the models with their parameter counts.

    PSNR (dB) and SSIM are measured on Y with `scale` pixels shaved off each side. Sizes are those of the weight files.

    \b
    Examples:
      cclnn list
      cclnn list --models
      cclnn list --weights --json
    """
    tables = {name: rows() for name, rows in (("weights", _weights), ("models", _models)) if only in (None, name)}
    if as_json:
        click.echo(json.dumps(tables[only] if only else tables, indent=1))
        return
    click.echo("\n\n".join(map(_table, tables.values())))


def _table(rows: list[dict[str, Any]]) -> str:
    table = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = []
    for line in table:
        first, *others = (f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join([f"{line[0]:<{len(first)}}", *others]))
    return "\n".join(lines)


def _weights() -> list[dict[str, Any]]:
    rows = []
    for name, entry in sorted(manifest().items()):
        measured = {
            f"{dataset} {metric.upper()}": entry["measured"].get(dataset, {}).get(metric)
            for dataset in ("Set5", "B100")
            for metric in ("psnr", "ssim")
        }
        rows.append(
            {
                "weights": name,
                "model": entry["model"],
                "scale": entry["config"]["scale"],
                "parameters": entry["parameters"],
                "bytes": _size(entry),
                **measured,
            }
        )
    return rows


def _size(entry: dict[str, Any]) -> int | None:
    """Return the size in bytes of the file in the wheel, else the size that the manifest states."""
    from importlib import resources

    file = resources.files("cclnn.weights").joinpath(entry["file"]) if "file" in entry else None
    if file is not None and file.is_file():
        with resources.as_file(file) as path:
            return path.stat().st_size
    return entry.get("bytes")


def _models() -> list[dict[str, Any]]:
    from cclnn.evaluation.complexity import count_parameters
    from cclnn.models import create_model
    from cclnn.models.registry import models

    published: dict[str, set[str]] = {}
    for entry in manifest().values():
        published.setdefault(entry["model"], set()).add(f"x{entry['config']['scale']}")
    rows = []
    for name, variant in models().items():
        record = variant.record
        row: dict[str, Any] = {"model": name}
        for scale in (2, 3, 4):
            known = scale in record.scales
            model = create_model(name, scale=scale, device="meta") if known else None
            row[f"parameters x{scale}"] = count_parameters(model) if model is not None else None
        rows.append(
            {
                **row,
                "weights": " ".join(sorted(published.get(name, ()))) or None,
                "scales": " ".join(map(str, record.scales)),
                "year": str(record.year),
                "paper": f"{record.title}: {record.note}" if record.note else record.title,
                "released code": record.released.license if record.released else None,
            }
        )
    return rows


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.2f}" if value > 1 else f"{value:.4f}"
    return str(value)
