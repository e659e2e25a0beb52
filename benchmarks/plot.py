"""Draw time and memory against image size, released formulation and ours, from a results file of run.py.

python benchmarks/plot.py benchmarks/results/cpu.json docs/figures/speed.svg
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

STYLES = {"reference": ("#b0413e", "released formulation"), "chunked": ("#2a6f97", "cclnn")}


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = json.loads(source.read_text())
    rows = [
        row
        for row in results["rows"]
        if (row["subject"], row["channels"], row["batch"], row["task"], row["number"])
        == ("nlsa", 64, 1, "inference", "fp32")
    ]
    rows.sort(key=lambda row: row["height"] * row["width"])
    tokens = [row["height"] * row["width"] for row in rows]
    mpl.rcParams["svg.hashsalt"] = "cclnn"  # the same data give the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for backend, (color, label) in STYLES.items():
        axes[0].loglog(tokens, [row[backend]["seconds"] for row in rows], "o-", color=color, label=label)
        axes[1].loglog(tokens, [row[backend]["bytes"] / 2**20 for row in rows], "o-", color=color, label=label)
    for axis, title in zip(axes, ("seconds", "extra peak memory, MiB"), strict=True):
        axis.set_title(f"{title}, one NLSA of 64 channels", fontsize=10)
        axis.set_xticks(tokens, [f"{row['height']}x{row['width']}" for row in rows])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=9)
    machine = results["machine"]
    figure.supxlabel(
        f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, float32",
        fontsize=8,
        color="#555555",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
