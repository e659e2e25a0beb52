"""Tables: what is in them is what was measured and what the paper prints."""

import csv
import re

import pytest

from cclnn import create_model
from cclnn.evaluation import tables
from cclnn.evaluation.ablation import ablation_rows
from cclnn.evaluation.differences import compare
from cclnn.evaluation.paper import ABLATIONS, TABLE5, table5
from cclnn.evaluation.results import Contestant, Evaluation, Result, Score, merge


def score(image, psnr, ssim=0.9, seconds=1.0):
    return Score(image, psnr, ssim, seconds, (20, 30), "0123")


def example():
    """Two models, the second without a dataset."""
    models = [
        Contestant("bicubic", "bicubic"),
        Contestant("mine", "ab", 1_234_567, 5_678_900_000, 4_560_000, 3 * 2**20),
    ]
    results = [
        Result("bicubic", "Set5", "LR_x2", [score("b", 30.0), score("a", 31.0, seconds=3.0)]),
        Result("bicubic", "B100", "imresize", [score("x", 25.0)]),
        Result("mine", "Set5", "LR_x2", [score("a", 33.5, 0.95), score("b", 32.5, 0.85)]),
    ]
    return Evaluation(2, {"tile": "none"}, {"threads": 2}, models, results)


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "---" not in line]


def test_quality():
    assert cells(tables.quality_table(example())) == [
        ["model", "parameters", "Set5 x2", "B100 x2"],
        ["bicubic", "", "30.500 / 0.9000", "25.000 / 0.9000"],
        ["mine", "1,234,567", "33.000 / 0.9000", ""],
    ]


def test_the_papers_rows_stand_above():
    rows = cells(tables.quality_table(example(), paper=True))
    assert rows[1] == ["SRCNN (paper)", "0.02M", "36.45 / 0.9527", "31.04 / 0.8838"]
    assert rows[9] == ["CCLNN (paper)", "48.07M", "38.35 / 0.9618", "32.44 / 0.9030"]
    assert rows[10][0] == "bicubic"


def test_costs():
    rows = cells(tables.cost_table(example()))
    assert rows[1] == ["bicubic", "", "", "", "2.000 (1.500-2.500)", "1.000 (1.000-1.000)", ""]
    assert rows[2] == ["mine", "1,234,567", "5.7", "4.6", "1.000 (1.000-1.000)", "", "3"]


def compared():
    """The example with another model that was measured on both sets, and all compared."""
    found = example()
    found.models.append(Contestant("pan", "cd"))
    found.results += [
        Result("pan", "Set5", "LR_x2", [score("a", 33.0), score("b", 32.5, seconds=3.0)]),
        Result("pan", "B100", "imresize", [score("x", 26.0)]),
    ]
    found.comparisons = compare(found)
    return found


def test_differences_from_the_first_model_that_is_not_bicubic():
    assert cells(tables.comparison_table(compared())) == [
        ["difference in dB, x2", "pan - mine"],
        ["Set5", "-0.250 (-0.500 to +0.000), n = 2"],
        ["B100", ""],
    ]
    assert tables.comparison_table(example()) == ""
    assert tables.comparison_table(compared()) in tables.report(compared())


def test_csv_holds_scores_the_papers_intervals_and_costs():
    found = compared()
    found.models[1].name = found.results[2].model = "rnan"
    found.comparisons = compare(found)
    head, *rows = csv.reader(tables.csv_text(found).splitlines())
    assert tuple(head) == tables.COLUMNS
    named = {(row[0], row[1]): dict(zip(head, row, strict=True)) for row in rows}
    assert len(named) == len(rows) == 5
    rnan, pan = named["rnan", "Set5"], named["pan", "Set5"]
    assert (rnan["paper"], rnan["paper psnr"], rnan["paper ssim"]) == ("RNAN+", "38.22", "0.9613")
    assert (rnan["psnr"], rnan["images"], rnan["macs"], rnan["peak bytes"]) == ("33.0", "2", "5678900000", "3145728")
    assert [rnan[name] for name in ("baseline", "difference", "low", "high")] == [""] * 4
    assert [pan[name] for name in ("baseline", "difference", "low", "high")] == ["rnan", "-0.25", "-0.5", "0.0"]
    assert (pan["paper psnr"], pan["parameters"], pan["seconds"]) == ("", "", "2.0")


def test_images():
    assert cells(tables.image_table(example(), "Set5")) == [
        ["Set5 x2", "bicubic", "mine"],
        ["a", "31.000 / 0.9000", "33.500 / 0.9500"],
        ["b", "30.000 / 0.9000", "32.500 / 0.8500"],
        ["mean", "30.500 / 0.9000", "33.000 / 0.9000"],
    ]


def test_the_report_holds_all_of_it_and_says_how():
    text = tables.report(example(), paper=True)
    for part in (tables.quality_table(example(), paper=True), tables.cost_table(example())):
        assert part in text
    assert tables.image_table(example(), "B100") in text
    assert "- LR of B100: imresize" in text
    assert "- threads: 2" in text
    assert "Rows marked (paper): Liu et al. 2024, Table 5." in text


def test_merging_joins_what_has_one_scale():
    one, other = example(), Evaluation(3, {}, {}, [Contestant("bicubic", "bicubic")], [])
    more = Evaluation(2, {}, {}, [Contestant("more", "ef")], [Result("more", "Set5", "LR_x2", [score("a", 40.0)])])
    merged = merge([one, other, more])
    assert list(merged) == [2, 3]
    assert [model.name for model in merged[2].models] == ["bicubic", "mine", "more"]
    assert merged[2].result("more", "Set5").psnr == 40.0


def test_table5_is_complete():
    """Nine algorithms, RNAN+ without x3, five datasets; within a scale CCLNN has the best PSNR on Set5 and B100."""
    assert [len(table5(scale)) for scale in (2, 3, 4)] == [9, 8, 9]
    assert len(TABLE5) == 26
    for row in TABLE5:
        assert len(row.scores) == 5
        assert all(24 < psnr < 40 and 0.69 < ssim < 0.98 for psnr, ssim in row.scores)
        assert re.fullmatch(r"\d+(\.\d+)?M", row.parameters)
        assert row.score("Set6") is None
    for scale in (2, 3, 4):
        for dataset in ("Set5", "B100"):
            assert max(table5(scale), key=lambda row: row.score(dataset)[0]).algorithm == "CCLNN"


SMALL = {"channels": 16, "n_resblocks": 8, "scale": 2}


def variants():
    return {
        "whole": create_model("cclnn", **SMALL),
        "local": create_model("cclnn", **SMALL, branch="local"),
        "nonlocal": create_model("cclnn", **SMALL, branch="nonlocal"),
        "edsr": create_model("edsr", **SMALL),
        "nlsn": create_model("nlsn", **SMALL),
        "l1": create_model("cclnn", **SMALL, sparsity="l1"),
        "plain": create_model("cclnn", **SMALL, sparsity="none"),
        "n25": create_model("cclnn", **SMALL, ratio=0.25),
        "weak": create_model("cclnn", **SMALL),
    }


def test_checkpoints_find_their_place_in_the_papers_tables():
    rows = ablation_rows(variants(), {"weak": 2e-3})
    placed = [[(setting.label, name) for setting, name in table] for table in rows.values()]
    assert placed[0] == [
        *(("EDSR-L", "edsr"), ("CCLNN-Local", "local"), ("NLSN-L", "nlsn"), ("CCLNN-Non-L", "nonlocal")),
        ("CCLNN-L", "whole"),
    ]
    assert placed[1] == [("CCLNN-NSparse", "plain"), ("CCLNN-TSparse", "l1"), ("CCLNN-L", "whole")]
    assert placed[2] == [
        *(("n = 5%", None), ("n = 15%", "whole"), ("n = 25%", "n25"), ("n = 35%", None), ("n = 45%", None)),
    ]
    assert placed[3] == [
        *(("lambda = 0.002", "weak"), ("lambda = 0.004", None), ("lambda = 0.006", None), ("lambda = 0.008", None)),
    ]


def test_the_papers_ablations():
    """Tables 1-4 as printed: CCLNN-L is 38.19 in each, and the best."""
    assert [len(settings) for settings in ABLATIONS.values()] == [5, 3, 5, 4]
    for settings in ABLATIONS.values():
        assert max(setting.psnr for setting in settings) == 38.19


def test_ablation_tables_show_paper_and_measurement():
    models = {"mine": create_model("cclnn", **SMALL)}
    text = tables.ablation_tables(ablation_rows(models), example(), "Set5")
    assert ["CCLNN-L", "38.19", "mine", "33.000"] in cells(text)
    assert ["EDSR-L", "38.07", "", ""] in cells(text)
    assert text.count("## Table ") == 4


def test_ablation_messages(rejects):
    models = {"one": create_model("edsr", **SMALL), "two": create_model("nlsn", **{**SMALL, "channels": 8})}
    with rejects(r"`models` must share scale, channels and n_resblocks: one has \(2, 16, 8\); two has \(2, 8, 8\)"):
        ablation_rows(models)
    with rejects("`models` must share scale, channels and n_resblocks: none"):
        ablation_rows({})
    with rejects("`weights` names three, which is not among the models"):
        ablation_rows(models, {"three": 2e-3})
    with rejects("no setting of Tables 1-4 fits odd: CCLNN {.*'ratio': 0.2"):
        ablation_rows({"odd": create_model("cclnn", **SMALL, ratio=0.2)})


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_aligned_for_terminals(scale):
    lines = tables.quality_table(
        Evaluation(scale, {}, {}, example().models, example().results), paper=True
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
