"""Degraded benchmarks: as strong as their names say, and the same in every run."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from cclnn.evaluation import Evaluation, evaluate, tables
from cclnn.evaluation.degradations import degrade
from cclnn.evaluation.results import Contestant, Result, Score

FLAT = torch.full((1, 3, 90, 110), 100 / 255)


def photo(seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((54, 42), Image.Resampling.BICUBIC)


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def test_clean_is_the_image_itself():
    assert degrade(FLAT, "clean", name="a") is FLAT


@pytest.mark.parametrize(("kind", "sigma"), [("noise2", 2), ("noise5", 5)])
def test_noise_is_as_strong_as_its_name_and_belongs_to_the_image(kind, sigma):
    noisy = (degrade(FLAT, kind, name="a") - FLAT) * 255
    assert noisy.var() == pytest.approx(sigma**2 + 1 / 12, rel=0.03)  # rounding adds a twelfth
    assert torch.equal(noisy, (degrade(FLAT, kind, name="a") - FLAT) * 255)
    assert not torch.equal(noisy, (degrade(FLAT, kind, name="b") - FLAT) * 255)


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_compression_is_pillows(quality):
    file = BytesIO()
    photo().save(file, "JPEG", quality=quality, subsampling=2)
    assert torch.equal(degrade(tensor(photo()), f"jpeg{quality}", name="a"), tensor(Image.open(file)))


def test_an_unknown_kind_is_refused(rejects):
    with rejects("`degrade` must be one of 'clean', 'jpeg75'"):
        degrade(FLAT, "jpeg50", name="a")


def test_evaluation_degrades_lr_alone_and_keeps_the_gains_apart(tmp_path):
    (tmp_path / "set").mkdir()
    photo(1).save(tmp_path / "set" / "a.png")
    scores = {}
    for kind in ("clean", "jpeg75", "noise5"):
        found = evaluate(["bicubic"], [tmp_path / "set"], scale=2, device="cpu", memory=False, degrade=kind)
        scores[kind] = found.result("bicubic", "set").psnr
    assert scores["jpeg75"] < scores["clean"]
    assert scores["noise5"] < scores["clean"]
    assert found.settings["degrade"] == "noise5"
    path = tmp_path / "results.json"
    evaluate(["bicubic"], [tmp_path / "set"], scale=2, device="cpu", memory=False, json_path=path)
    with pytest.raises(ValueError, match="holds results of settings"):
        evaluate(["bicubic"], [tmp_path / "set"], scale=2, device="cpu", memory=False, json_path=path, degrade="noise2")


def test_gains_are_means_over_the_same_images():
    def result(model, *psnrs):
        scores = [Score(f"{i}", psnr, 0.9, 1.0, (5, 7), "") for i, psnr in enumerate(psnrs)]
        return Result(model, "Set5", "imresize", scores)

    models = [Contestant("bicubic", "bicubic"), Contestant("mine", "x")]
    evaluation = Evaluation(2, {}, {}, models, [result("bicubic", 30.0, 32.0), result("mine", 31.0, 31.5)])
    last = tables.gain_table(evaluation).splitlines()[-1]
    assert last.split("|")[1:3] == [" mine                  ", " +0.250 (-0.500 to +1.000), 1 of 2 below "]
    assert tables.gain_table(Evaluation(2, {}, {}, models[1:], [result("mine", 31.0)])) == ""
