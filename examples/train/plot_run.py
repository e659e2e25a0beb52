"""Draw the curves of one or more runs.   python examples/train/plot_run.py runs/a runs/b [-o curves.svg]

Loss (mean between two lines of the log), learning rate and validation PSNR against the step. Needs the extra "viz".
"""

import argparse
import json
import sys
from pathlib import Path

from cclnn._files import write_atomically

PANELS = {"loss": "loss", "lr": "learning rate", "psnr": "validation PSNR, dB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, or their log.jsonl")
    parser.add_argument("-o", "--out", type=Path, default=Path("curves.svg"), help="file, in a format of matplotlib's")
    args = parser.parse_args()
    draw({label: read(path) for label, path in labels(args.runs).items()}, args.out)
    print(f"wrote {args.out}")


def labels(runs: list[Path]) -> dict[str, Path]:
    """A name for each run: its folder's, or its log's if not called log.jsonl; the path where two would be the same."""
    folders = [path.resolve().parent if path.name == "log.jsonl" else path for path in runs]
    names = [path.stem if path.is_file() else path.resolve().name for path in folders]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, runs, strict=True)}


def read(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log; a last one that a kill cut off is left out."""
    log = run if run.is_file() else run / "log.jsonl"
    if not log.is_file():
        sys.exit(f"{run}: there is no log.jsonl")
    lines: list[dict[str, float]] = []
    for number, line in enumerate(log.read_text().splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{log}, line {number} is not whole and is left out", file=sys.stderr)
    return lines


def draw(runs: dict[str, list[dict[str, float]]], out: Path) -> None:
    """A panel for each of PANELS that any run has values of."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "cclnn"  # the same curves, the same file
    panels = [name for name in PANELS if any(name in line for lines in runs.values() for line in lines)]
    if not panels:
        sys.exit(f"nothing to draw: no line has any of {', '.join(PANELS)}")
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.2), squeeze=False, layout="constrained")
    handles = {}
    for name, axis in zip(panels, axes[0], strict=True):
        for number, (label, lines) in enumerate(runs.items()):
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                (handles[label],) = axis.plot(*zip(*points, strict=True), color=f"C{number}", linewidth=1)
        axis.set(xlabel="step", title=PANELS[name])
        if name == "loss":
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    metadata = {"Date": None} if out.suffix == ".svg" else None
    write_atomically(out, lambda path: figure.savefig(path, format=out.suffix[1:], metadata=metadata))
    plt.close(figure)


if __name__ == "__main__":
    main()
