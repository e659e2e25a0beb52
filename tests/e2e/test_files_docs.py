"""The guide quotes what was measured, its Python runs, and it lists the exit codes that --help promises."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "upscaling.md").read_text()
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "upscale.json").read_text())


def table(header):
    """Rows of numbers and names under a header line."""
    _, rest = GUIDE.split(header + "\n")
    lines = rest.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_cost_is_the_measured_one():
    quoted = table("| x2 | seconds per output megapixel | peak memory, MiB |")
    rows = RESULTS["speed"]["rows"]
    expected = [[row["name"], f"{row['seconds_per_megapixel']:.3f}", f"{row['bytes'] / 2**20:.0f}"] for row in rows]
    assert quoted == expected
    assert [row["name"].split()[0] for row in rows] == ["bicubic", *["cclnn-s-x2"] * 2, *["edsr-baseline"] * 2]


def test_the_cost_of_tiles_is_the_measured_one():
    rows = RESULTS["tiles"]["rows"]
    expected = [
        [
            str(row["tile"]),
            f"{row['psnr']:.3f}",
            f"{0 - row['cost']:+.3f}",
            f"{max(row['seam'].values()):.3f}" if row["seam"] else "",
        ]
        for row in rows
    ]
    assert table("| tile | PSNR, dB | over the whole image, dB | seam |") == expected
    assert all(ratio <= 1.05 for row in rows for ratio in row["seam"].values())


def test_the_large_image_is_the_measured_one():
    if "large" not in RESULTS:
        assert "megapixels took" not in GUIDE
        return
    large = RESULTS["large"]
    assert f"A source of {large['source_pixels'] / 1e6:.0f} megapixels took {large['extra_bytes'] / 2**20:.0f} MiB" in (
        " ".join(GUIDE.split())
    )
    assert large["extra_bytes"] < 1.5 * 2**30


def test_the_python_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    namespace = {}
    with Image.open(ROOT / "examples" / "images" / "chelsea.png") as photo:
        photo.crop((100, 100, 130, 124)).save(tmp_path / "small.png")
    for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        code = code.replace("/tmp/", f"{tmp_path}/").replace("examples/images/chelsea.png", str(tmp_path / "small.png"))
        exec(compile(code, "upscaling.md", "exec"), namespace)
    assert namespace["larger"].size == (60, 48)
    assert (tmp_path / "larger.tif").is_file()


def test_the_exit_codes_are_those_of_the_help():
    from cclnn.cli.upscale import upscale

    documented = [row[0] for row in table("| exit code | meaning |")]
    promised = re.findall(r"^ +(\d+) +", upscale.callback.__doc__.split("Exit codes:")[1], re.MULTILINE)
    assert documented == promised == ["0", "1", "2", "130"]


@pytest.mark.parametrize(
    "option", ["--scale", "--model", "--format", "--recursive", "--overwrite", "--json", "--alpha"]
)
def test_options_named_exist(option):
    from cclnn.cli.upscale import upscale

    assert option in GUIDE
    assert option in {name for parameter in upscale.params for name in parameter.opts}
