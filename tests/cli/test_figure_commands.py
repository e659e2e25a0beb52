"""`cclnn compare` and `cclnn attribute` as people call them."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cclnn
from cclnn.attribution import attention_health, local_attribution_map
from cclnn.cli.commands import cli
from cclnn.evaluation.datasets import Pair

CHELSEA = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"


def run(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a corner of a photograph and a small model of the paper's kind."""
    monkeypatch.chdir(tmp_path)
    with Image.open(CHELSEA) as image:
        image.crop((100, 60, 163, 101)).save("photo.png")
    torch.manual_seed(1)
    cclnn.create_model("cclnn", channels=16, n_resblocks=1, chunk_size=30).save_pretrained("mine")
    return tmp_path


@pytest.mark.parametrize("flags", [[], ["--no-truth"]])
def test_compare(here, flags):
    done = run(
        *("compare", "photo.png", "--models", "bicubic, mine", "--crop", "10,5,12,9", "-o", "out.png"),
        *("--quiet", *flags),
    )
    assert (done.exit_code, done.output) == (0, "wrote out.png: bicubic, mine on photo.png, x2\n")
    with Image.open("out.png") as image:
        assert image.format == "PNG"
        assert image.width > image.height > 100


def test_attribute_says_the_index_that_python_computes(here):
    done = run(*("attribute", "photo.png", "--model", "mine", "--window", "20,10,8", "-o", "a.svg"), "--steps", 3)
    assert done.exit_code == 0, done.output
    lr, _ = Pair("photo", Path("photo.png"), None).load(2)
    found = local_attribution_map(cclnn.load("mine"), lr, (10, 20, 8), steps=3)
    assert done.output.endswith(f"wrote a.svg: DI {found.diffusion_index:.2f}, Gini {found.gini:.4f}\n")
    assert f"mine: DI {found.diffusion_index:.2f}" in Path("a.svg").read_text()


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ("attention", r"row 7, column 12 of the input meets \d+ in body\.0\.nonlocal_attention"),
        ("channels", "body.0 0."),
    ],
)
def test_attribute_shows_blocks(here, show, said):
    done = run(*("attribute", "photo.png", "--model", "mine", "--window", "20,10,8", "-o", "a.png"), "--show", show)
    assert done.exit_code == 0, done.output
    assert re.match(f"wrote a.png: {said}", done.output)
    assert Path("a.png").stat().st_size > 2000


def test_attribute_prints_the_health_that_python_measures(here):
    lr, hr = Pair("photo", Path("photo.png"), None).load(2)
    found = attention_health(cclnn.load("mine"), lr, hr)
    done = run("attribute", "photo.png", "--model", "mine", "--health")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    (layer,) = found.layers
    assert lines[0].startswith(f"body.0.nonlocal_attention: {layer.buckets:.1f} effective buckets of {layer.n_buckets}")
    assert lines[0].endswith(f"recall of best matches {layer.recall:.2f}")
    assert lines[3] == (
        f"nothing instead of the attention: change {255 * found.change['zero']:.3f} grey levels (rms), "
        f"{found.psnr['zero'] - found.psnr['none']:+.3f} dB"
    )
    alone = run("attribute", "photo.png", "--model", "mine", "--health", "--no-truth")
    assert alone.exit_code == 0, alone.output
    assert "dB" not in alone.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--health", "-o", "a.png"], "--health draws nothing: leave out --window and --output"),
        (["-o", "a.png"], "A figure needs --window and --output; --health prints numbers instead"),
    ],
)
def test_attribute_draws_or_prints(here, arguments, said):
    done = run("attribute", "photo.png", *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_attribute_takes_the_input_itself(here):
    done = run(
        *("attribute", "photo.png", "--model", "mine", "--window", "100,70,8", "-o", "a.png"),
        *("--no-truth", "--steps", 1, "--quiet"),
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "photo.png", "--models", "bicubic", "--crop", "60,0,9,9", "-o", "a.png"], "`crop` of row 0, col"),
        (["compare", "photo.png", "--models", "bicubic", "--crop", "0,0,9,9", "-o", "a.jpg"], "`suffix of the figure`"),
        (["compare", "no.png", "--models", "bicubic", "--crop", "0,0,9,9", "-o", "a.png"], "cannot read 'no.png'"),
        (["compare", "photo.png", "--models", "x", "--crop", "0,0,9,9", "-o", "a.png"], "'x'"),
        (["attribute", "photo.png", "--window", "60,0,9", "-o", "a.png", "--model", "mine"], "`window` of row 0, col"),
        (["attribute", "photo.png", "--window", "0,0,9", "-o", "no/a.png"], "cannot write 'no/a.png'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(here, arguments, message):
    before = sorted(here.iterdir())
    done = run(*arguments, "--quiet")
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert message in done.output
    assert done.output.count("\n") == 1
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("crop", ["1,2,3", "1,2,3,x", ""])
def test_numbers_have_a_form(here, crop):
    done = run("compare", "photo.png", "--models", "bicubic", "--crop", crop, "-o", "a.png")
    assert done.exit_code == 2
    assert f"{crop!r} is not of the form x,y,w,h." in done.output
