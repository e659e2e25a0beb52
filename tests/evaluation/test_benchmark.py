"""`evaluate` gives what a few plain lines give, goes on where it stopped, and refuses what cannot be compared."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn.evaluation import Evaluation, evaluate
from cclnn.evaluation.benchmark import bicubic, fingerprint
from cclnn.metrics import psnr, ssim
from cclnn.ops import imresize


def tiny(scale=2, seed=0, **arguments):
    torch.manual_seed(seed)
    return cclnn.create_model("edsr", scale=scale, channels=4, n_resblocks=1, **arguments)


@pytest.fixture
def data(tmp_path):
    """Three smooth images of different sizes."""
    folder = tmp_path / "Three"
    folder.mkdir()
    for i, (rows, columns) in enumerate([(37, 46), (41, 35), (34, 39)]):
        noise = np.random.default_rng(i).integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((columns, rows), Image.Resampling.BICUBIC).save(folder / f"{'cab'[i]}.png")
    return folder


def by_hand(model, path, scale):
    """PSNR and SSIM of one image by the protocol's text."""
    hr = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
    hr = hr[..., : hr.shape[2] // scale * scale, : hr.shape[3] // scale * scale]
    lr = imresize(hr, 1 / scale)
    if model is None:
        sr = imresize(lr, scale)
    else:
        with torch.inference_mode():
            sr = (model.eval()(lr / 255) * 255).round().clamp(0, 255).byte()
    return psnr(sr, hr, border=scale).item(), ssim(sr, hr, border=scale).item()


@pytest.mark.parametrize("scale", [2, 3])
def test_scores_are_those_of_the_protocol(data, scale):
    model = tiny(scale)
    found = evaluate({"bicubic": "bicubic", "mine": model}, [data], scale=scale, memory=False)
    assert found.datasets == ["Three"]
    for name, network in (("bicubic", None), ("mine", model)):
        result = found.result(name, "Three")
        assert result.lr_source == "imresize"
        assert [score.image for score in result.scores] == ["a", "b", "c"]
        expected = [by_hand(network, data / f"{image}.png", scale) for image in "abc"]
        near = {"rtol": 1e-5, "atol": 2e-4}  # Upscaler's layout rounds differently: a pixel may fall to the next level
        assert_close([(s.psnr, s.ssim) for s in result.scores], expected, **near)
        assert_close((result.psnr, result.ssim), tuple(np.mean(expected, axis=0)), **near)
        assert result.scores[0].size == (41 // scale, 35 // scale)
        assert 0 < result.seconds[0] <= result.seconds[1] <= result.seconds[2]


def test_bicubic_is_matlabs_both_ways():
    lr = torch.randint(256, (1, 3, 7, 11), dtype=torch.uint8)
    assert torch.equal(bicubic(lr.float() / 255, scale=3), imresize(lr, 3).float() / 255)


def test_the_cost_is_counted_for_the_papers_size(data):
    model = tiny()
    found = evaluate({"mine": model, "bicubic": "bicubic"}, [data], scale=2, memory=False)
    mine, plain = found.models
    counted = cclnn.evaluation.cost(model, (360, 640), repeats=0, memory=False)
    assert (mine.parameters, mine.macs, mine.activations) == (counted.parameters, counted.macs, counted.activations)
    assert (plain.parameters, plain.macs, plain.peak_bytes) == (None, None, None)


def test_the_peak_is_measured_on_the_largest_image(data):
    found = evaluate({"mine": tiny()}, [data], scale=2)
    (mine,) = found.models
    assert mine.peak_size == (18, 23)
    if mine.peak_bytes is None:
        pytest.skip("this system does not report resident sets")
    assert 0 < mine.peak_bytes < 2**30


def test_ensemble_and_tiles_are_passed_on(data):
    model = tiny()
    plain = evaluate({"mine": model}, [data], scale=2, memory=False).result("mine", "Three")
    varied = evaluate({"mine": model}, [data], scale=2, memory=False, ensemble=True).result("mine", "Three")
    assert varied.psnr != plain.psnr
    tiled = evaluate({"mine": model}, [data], scale=2, memory=False, tile=33).result("mine", "Three")
    assert_close(tiled.psnr, plain.psnr, rtol=1e-6, atol=0)  # the receptive field is less than the overlap


class StopError(Exception):
    pass


def test_a_run_goes_on_where_it_stopped(data, tmp_path):
    """The same numbers as in one go, and no image twice: seconds of the first part are kept."""
    path = tmp_path / "results.json"
    models = {"bicubic": "bicubic", "mine": tiny()}

    def stop(done, total, following):
        assert total == 6
        if done == 3:
            raise StopError(following)

    with pytest.raises(StopError, match="mine Three/b"):
        evaluate(models, [data], scale=2, memory=False, json_path=path, progress=stop)
    half = Evaluation.load(path)
    assert [len(result.scores) for result in half.results] == [2, 1]
    seen = []
    whole = evaluate(
        models, [data], scale=2, memory=False, json_path=path, progress=lambda *x: seen.append((x[0], x[2]))
    )
    assert seen == [(3, "mine Three/b"), (4, "bicubic Three/c"), (5, "mine Three/c"), (6, "cost and memory")]
    assert Evaluation.load(path) == whole
    for name in models:
        kept = half.result(name, "Three").scores
        assert whole.result(name, "Three").scores[: len(kept)] == kept
    alone = evaluate(models, [data], scale=2, memory=False)
    for name in models:
        again = [(s.image, s.psnr, s.ssim) for s in alone.result(name, "Three").scores]
        assert [(s.image, s.psnr, s.ssim) for s in whole.result(name, "Three").scores] == again


def test_a_file_of_something_else_is_refused(data, tmp_path, rejects):
    path = tmp_path / "results.json"
    evaluate({"mine": tiny()}, [data], scale=2, memory=False, json_path=path)
    before = path.read_bytes()
    with rejects("results.json' holds results of settings .*'precision': 'fp32'.*, now it is .*'bf16'"):
        evaluate({"mine": tiny()}, [data], scale=2, precision="bf16", memory=False, json_path=path)
    with rejects("results.json' holds results of scale 2, now it is 3: use another file"):
        evaluate({"bicubic": "bicubic"}, [data], scale=3, memory=False, json_path=path)
    with rejects("results.json' holds results of other weights named 'mine': use another file"):
        evaluate({"mine": tiny(seed=1)}, [data], scale=2, memory=False, json_path=path)
    assert path.read_bytes() == before
    Image.new("RGB", (39, 34)).save(data / "b.png")
    with rejects("b.png has changed since its results were written: use another file"):
        evaluate({"mine": tiny()}, [data], scale=2, memory=False, json_path=path)
    for text in ("{", '{"schema": 2}', "[]", '{"schema": 1}'):
        path.write_text(text)
        with rejects(r"results.json' holds no results of `cclnn evaluate` \(schema 1\)"):
            Evaluation.load(path)
    with rejects("No such file", FileNotFoundError):
        Evaluation.load(tmp_path / "absent.json")


def test_results_survive_json_even_infinite_ones(tmp_path):
    folder = tmp_path / "Flat"
    folder.mkdir()
    Image.new("RGB", (40, 44), (10, 20, 30)).save(folder / "flat.png")
    found = evaluate(["bicubic"], [folder], scale=2, memory=False, json_path=tmp_path / "flat.json")
    assert found.result("bicubic", "Flat").psnr == math.inf
    text = (tmp_path / "flat.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert Evaluation.load(tmp_path / "flat.json") == found


def test_images_are_saved_as_they_were_measured(data, tmp_path):
    found = evaluate({"runs/my model": tiny()}, [data], scale=2, memory=False, save_images=tmp_path / "out")
    for score in found.results[0].scores:
        saved = np.array(Image.open(tmp_path / "out/runs_my_model/Three_x2" / f"{score.image}.png"))
        hr = np.array(Image.open(data / f"{score.image}.png"))[: saved.shape[0], : saved.shape[1]]
        assert_close(float(psnr(saved, hr, border=2)), score.psnr)


def test_fingerprints_tell_weights_and_configurations_apart():
    model = tiny()
    assert fingerprint(model) == fingerprint(tiny())
    assert len({fingerprint(m) for m in (model, tiny(seed=1), tiny(res_scale=0.2), tiny(rgb_range=255.0))}) == 4


def test_mistakes(data, tmp_path, rejects):
    with rejects("model 'mine' is for x3, `scale` is 2"):
        evaluate({"mine": tiny(3)}, [data], scale=2)
    with rejects("`models` must not be empty"):
        evaluate([], [data], scale=2)
    with rejects("`models` must be several, got the one string 'bicubic'", TypeError):
        evaluate("bicubic", [data], scale=2)
    with rejects("`data` must not be empty"):
        evaluate(["bicubic"], [], scale=2)
    with rejects("`data` must have different names, got Three, Three"):
        evaluate(["bicubic"], [data, data], scale=2)
    with rejects("`scale` must be at least 2, got 1"):
        evaluate(["bicubic"], [data], scale=1)
    with rejects("there is no result of 'mine' on 'Set5', only of bicubic on Three"):
        evaluate(["bicubic"], [data], scale=2, memory=False).result("mine", "Set5")
    (tmp_path / "Small").mkdir()
    Image.new("RGB", (14, 14)).save(tmp_path / "Small/a.png")
    with rejects(r"a.png cannot be measured: `sr` must be at least 11 pixels per side after shaving, got \(10, 10\)"):
        evaluate(["bicubic"], [tmp_path / "Small"], scale=2, memory=False)
