"""`cclnn upscale` as people call it: the installed command, on files, folders and streams."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from image import zoo
from PIL import Image

import cclnn
from cclnn._files import this_machine
from cclnn.cli.commands import cli
from cclnn.upscaler import Upscaler
from cclnn.weights.choice import published

CHELSEA = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"
CCLNN = Path(sys.executable).with_name("cclnn")


@pytest.fixture
def photo(tmp_path):
    """A corner of a real photograph, as a JPEG."""
    path = tmp_path / "photo.jpg"
    with Image.open(CHELSEA) as image:
        image.crop((100, 60, 163, 101)).save(path, quality=95)
    return path


@pytest.fixture
def folder(tmp_path, photo):
    """Images in two levels, and things that are none."""
    top = tmp_path / "in"
    (top / "deeper").mkdir(parents=True)
    with Image.open(photo) as image:
        for name in ("a.png", "b.jpg", "deeper/c.tif", "deeper/d.webp"):
            image.crop((0, 0, 20, 15)).save(top / name)
    (top / "notes.txt").write_text("no image")
    (top / ".hidden.png").write_bytes(b"no image either")
    return top


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model that is fast: x3."""
    path = tmp_path_factory.mktemp("model") / "small"
    cclnn.EDSR(3, channels=8, n_resblocks=1).save_pretrained(path)
    return path


def run(*arguments, **options):
    return CliRunner().invoke(cli, ["upscale", *map(str, arguments)], **options)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_installed_command_writes_a_png_and_says_so(photo):
    done = subprocess.run([CCLNN, "upscale", photo], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    target = photo.with_name("photo_x2.png")
    assert re.fullmatch(
        rf"wrote {re.escape(str(target))}: 126 x 82 pixels, 0\.\d\d MB, from 63 x 41 in \d+\.\d s, "
        rf"by {published('photo')[2]} \(JPEG of quality 95: photo weights at strength 0.7\)\n",
        done.stdout,
    )
    assert done.stderr == ""
    with Image.open(target) as result:
        assert (result.format, result.mode, result.size) == ("PNG", "RGB", (126, 82))


def test_writes_what_python_computes_every_time(photo, tmp_path):
    with Image.open(photo) as image:
        expected = np.asarray(cclnn.upscale(image))
    for name in ("a.png", "b.png"):
        done = run(photo, "-o", tmp_path / name, "--quiet")
        assert (done.exit_code, done.output) == (0, "")
        with Image.open(tmp_path / name) as result:
            assert np.array_equal(np.asarray(result), expected)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_options_reach_the_upscaler(photo, tmp_path, small):
    options = {"tile": 40, "overlap": 5, "precision": "fp32", "device": "cpu", "ensemble": True, "alpha": "model"}
    with Image.open(photo) as image:
        array = np.asarray(image.convert("RGBA")).copy()
    array[..., 3] = zoo.pixels(1, height=41, width=63)[..., 0]
    Image.fromarray(array).save(tmp_path / "in.png")
    arguments = [x for key, value in options.items() for x in ([f"--{key}"] + ([] if value is True else [value]))]
    assert run(tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", small, *arguments).exit_code == 0
    with Image.open(tmp_path / "out.png") as result:
        assert np.array_equal(np.asarray(result), Upscaler(str(small), **options)(array))


def test_takes_a_model_from_a_folder(photo, tmp_path, small):
    assert run(photo, "--model", small).exit_code == 0
    with Image.open(tmp_path / "photo_x3.png") as result:
        assert result.size == (189, 123)


@pytest.mark.parametrize(
    ("arguments", "output", "name", "format_name"),
    [
        (["-o", "out.webp"], "out.webp", "out.webp", "WEBP"),
        (["-o", "out.jpeg", "--quality", "40"], "out.jpeg", "out.jpeg", "JPEG"),
        (["--format", "avif"], None, "photo_x3.avif", "AVIF"),
        (["--format", "same"], None, "photo_x3.jpg", "JPEG"),
        (["-o", "odd.name", "--format", "tiff"], "odd.name", "odd.name", "TIFF"),
        (["-o", "."], None, "photo.png", "PNG"),
    ],
)
def test_formats_and_names(photo, tmp_path, small, monkeypatch, arguments, output, name, format_name):
    monkeypatch.chdir(tmp_path)
    done = run("photo.jpg", "--model", small, *arguments)
    assert done.exit_code == 0, done.output
    with Image.open(name) as result:
        assert (result.format, result.size) == (format_name, (189, 123))


def test_quality_makes_smaller_files(photo, tmp_path, small):
    for quality in (20, 95):
        run(photo, "--model", small, "-o", tmp_path / f"{quality}.jpg", "--quality", quality)
    assert (tmp_path / "20.jpg").stat().st_size < 0.6 * (tmp_path / "95.jpg").stat().st_size


def test_standard_input_and_output(photo, small):
    done = run("-", "--model", small, input=photo.read_bytes())
    assert done.exit_code == 0, done.output
    import io

    with Image.open(io.BytesIO(done.stdout_bytes)) as result:
        assert (result.format, result.size) == ("PNG", (189, 123))
    assert done.stderr.startswith("wrote the standard output: 189 x 123 pixels")
    again = run(photo, "-o", "-", "--format", "webp", "--quiet", "--model", small)
    with Image.open(io.BytesIO(again.stdout_bytes)) as result:
        assert result.format == "WEBP"
    assert again.stderr == ""


def test_a_folder_is_mirrored_and_resumed(folder, tmp_path, small):
    out = tmp_path / "out"
    done = run(folder, "-o", out, "--recursive", "--model", small)
    assert done.exit_code == 0, done.output
    assert names(out) == ["a.png", "b.png", "deeper/c.png", "deeper/d.png"]
    assert done.output.splitlines()[-1] == "4 done, 0 skipped (done before), 0 failed"
    times = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    (out / "b.png").unlink()
    (out / f".b.png.{this_machine()}-{2**30}-0123abcd.part").write_bytes(b"left by a killed run")
    done = run(folder, "-o", out, "--recursive", "--model", small)
    assert done.output.splitlines()[-1] == "1 done, 3 skipped (done before), 0 failed"
    assert names(out) == ["a.png", "b.png", "deeper/c.png", "deeper/d.png"]
    assert all((out / name).stat().st_mtime_ns == times[name] for name in times if name != "b.png")
    done = run(folder, "-o", out, "--recursive", "--model", small, "--overwrite", "--format", "same")
    assert names(out) == sorted([*times, "b.jpg", "deeper/c.tif", "deeper/d.webp"])
    assert (out / "a.png").stat().st_mtime_ns != times["a.png"]


def test_a_folder_without_output_goes_beside_itself(folder, tmp_path, small):
    assert run(folder, "--model", small).exit_code == 0
    assert names(tmp_path / "in_x3") == ["a.png", "b.png"]


def test_results_within_the_folder_are_not_upscaled_again(folder, small):
    for _ in range(2):
        assert run(folder, "-o", folder / "large", "--recursive", "--model", small).exit_code == 0
    assert names(folder / "large") == ["a.png", "b.png", "deeper/c.png", "deeper/d.png"]


def test_what_fails_is_listed_and_the_rest_goes_on(folder, tmp_path, small):
    (folder / "aa.png").write_bytes(b"broken")
    Image.new("RGBA", (5, 4)).save(folder / "ab.png")
    out = tmp_path / "out"
    done = run(folder, "-o", out, "--model", small, "--format", "jpeg", "--json")
    assert done.exit_code == 1
    assert names(out) == ["a.jpg", "b.jpg"]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(Path(row["source"]).name, row["status"]) for row in rows] == [
        *(("a.png", "done"), ("aa.png", "failed"), ("ab.png", "failed"), ("b.jpg", "done"))
    ]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["source_size"]) == (60, 45, {"width": 20, "height": 15})
    assert rows[0]["bytes"] == (out / "a.jpg").stat().st_size
    assert done.stderr.splitlines() == [
        f"failed: {folder / 'aa.png'}: {rows[1]['error']}",
        f"failed: {folder / 'ab.png'}: JPEG cannot hold transparency, which the picture has: write PNG, TIFF, WebP or "
        "AVIF.",
    ]
    again = run(folder, "-o", out, "--model", small, "--format", "jpeg", "--json")
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == [
        *("skipped", "failed", "failed", "skipped")
    ]


def test_an_image_that_is_named_twice_is_done_once(folder, tmp_path, small):
    done = run(folder / "a.png", folder, folder / "." / "a.png", "-o", tmp_path / "out", "--model", small)
    assert done.exit_code == 0, done.output
    assert "2 done, 0 skipped (done before), 0 failed" in done.stdout


def test_two_inputs_never_share_an_output(folder, tmp_path, small):
    with Image.open(folder / "a.png") as image:
        image.save(folder / "a.bmp")
    done = run(folder, "-o", tmp_path / "out", "--model", small)
    assert done.exit_code == 1
    assert "1 done" not in done.stdout
    assert f"failed: {folder / 'a.png'}: {str(folder / 'a.bmp')!r} already writes to its output" in done.stderr
    done = run(folder / "a.png", folder / "b.jpg", "-o", folder, "--model", small, "--overwrite")
    assert f"a.png: its output {str(folder / 'a.png')!r} would replace the input" in done.stderr
    with Image.open(folder / "a.png") as image:
        assert image.size == (20, 15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "Error: cannot read 'absent.jpg': there is no such file."),
        (["broken.jpg"], "Error: cannot read 'broken.jpg': it is not an image in a known format."),
        (["empty.png"], "Error: cannot read 'empty.png': it is empty."),
        (["photo.jpg", "-o", "no/out.png"], "Error: cannot write 'no/out.png': there is no folder 'no'."),
        (["alpha.png", "-o", "out.jpg"], "Error: JPEG cannot hold transparency"),
        (
            ["deep.png", "-o", "out.webp"],
            "Error: WEBP holds 8 bits per channel, the picture has 16: write PNG or TIFF.",
        ),
        (["photo.jpg", "-o", "old.png"], "Error: 'old.png' exists already; --overwrite replaces it."),
        (["photo.jpg", "--model", "cclnn-s-x3x"], "Error: `source`='cclnn-s-x3x'"),
        (["photo.jpg", "--device", "abacus"], "Error: `device`='abacus' cannot be used here: "),
        (["photo.jpg", "--device", "cuda:99"], "Error: `device`='cuda:99' cannot be used here: "),
        (["photo.jpg", "alpha.png", "--device", "cuda:99"], "Error: `device`='cuda:99' cannot be used here: "),
    ],
    ids=["absent", "broken", "empty", "folder", "alpha", "deep", "exists", "model", "device", "cuda", "batch"],
)
def test_mistakes_are_one_line_and_write_nothing(photo, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("broken.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    Path("empty.png").touch()
    Image.new("RGBA", (4, 4)).save("alpha.png")
    zoo.png(zoo.pixels(3, 16), Path("deep.png"))
    Path("old.png").write_bytes(b"old")
    before = names(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.output.startswith(message)
    assert done.output.count("\n") == 1
    assert names(tmp_path) == before
    assert Path("old.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'INPUT...'"),
        (["photo.jpg", "in", "-o", "out.png"], "'out.png' is one file, but there are several images: give a folder."),
        (["void"], "there is no image in 'void' (--recursive includes its subfolders)."),
        (["in", "-o", "in"], "the results of the folder 'in' cannot go into itself: give another folder."),
        (["photo.jpg", "-o", "out.xyz"], "'out.xyz' must end in .apng, .avif"),
        (["photo.jpg", "-o", "absent"], ".webp, or be an existing folder; or give --format."),
        (["photo.jpg", "-o", "out.png", "--format", "jpeg"], "--format jpeg does not fit the name 'out.png'."),
        (["photo.jpg", "--quality", "80"], "--quality has no meaning for png, which are lossless."),
        (["-", "photo.jpg"], "the standard input and output hold one image: give one INPUT."),
        (["in", "-o", "-"], "a folder cannot be written to the standard output."),
        (["-", "-o", "in"], "the standard input has no name: give -o FILE instead of a folder."),
        (["-", "--json"], "--json and the image cannot both go to the standard output: give -o FILE."),
        (["photo.jpg", "--tile", "big"], "'big' is not a number of pixels, 'auto' or 'none'."),
        (["photo.jpg", "--scale", "9"], "9.0 is not in the range 1<=x<=8."),
        (["photo.jpg", "--scale", "2", "--width", "99"], "at most one of scale, width, height and megapixels can be"),
        (["photo.jpg", "--strength", "2"], "2.0 is not in the range 0<=x<=1."),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(photo, folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "void").mkdir()
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        (["--scale", 1.5], "photo_x1.5.png", (95, 62)),  # 94.5 x 61.5, half up
        (["--scale", 3], "photo_x3.png", (189, 123)),
        (["--scale", 5], "photo_x5.png", (315, 205)),
        (["--width", 200], "photo_w200.png", (200, 130)),
        (["--height", 100], "photo_h100.png", (154, 100)),
        (["--megapixels", 0.02], "photo_0.02mp.png", (175, 114)),
    ],
)
def test_sizes_are_exact(photo, tmp_path, options, name, size):
    assert run(photo, *options).exit_code == 0
    with Image.open(tmp_path / name) as image:
        assert image.size == size


def test_a_model_of_another_scale_reaches_the_size_too(photo, tmp_path, small):
    """`small` is for x3."""
    for factor, size in ((3, (189, 123)), (2, (126, 82)), (4, (252, 164))):
        assert run(photo, "--model", small, "--scale", factor, "-o", tmp_path / f"{factor}.png").exit_code == 0
        with Image.open(tmp_path / f"{factor}.png") as image:
            assert image.size == size


def test_a_size_below_the_image_is_a_failure(photo):
    done = run(photo, "--width", 60)
    assert done.exit_code == 1
    assert "`width`=60 is 0.952 times an image of 63 x 41 pixels; 1 to 8 is possible." in done.output


@pytest.mark.parametrize(
    ("name", "options", "purpose", "because", "strength"),
    [
        ("a.jpg", {"quality": 30}, "photo", "JPEG of quality 30", ""),
        ("a.jpg", {"quality": 75}, "photo", "JPEG of quality 75", ""),
        ("a.jpg", {"quality": 92}, "photo", "JPEG of quality 92", " at strength 0.8"),
        ("a.jpg", {"quality": 100}, "clean", "JPEG of quality 100", ""),
        ("a.webp", {"quality": 80}, "photo", "WebP, lossy", ""),
        ("a.webp", {"lossless": True}, "clean", "WebP, lossless", ""),
        ("a.avif", {}, "photo", "AVIF, lossy", ""),
        ("a.png", {}, "clean", "PNG, lossless", ""),
    ],
)
def test_the_choice_of_weights_is_in_the_json_and_the_line(tmp_path, name, options, purpose, because, strength):
    why = f"{because}: {purpose} weights{strength}"
    Image.fromarray(zoo.pixels(3, height=9, width=11)).save(tmp_path / name, **options)
    row = json.loads(run(tmp_path / name, "--json", "-o", tmp_path / "out.png").stdout)
    assert (row["models"], row["why"]) == ([published(purpose)[2]], why)
    line = run(tmp_path / name, "-o", tmp_path / "out.png", "--overwrite").stdout
    assert line.endswith(f", by {published(purpose)[2]} ({why})\n")


@pytest.mark.parametrize(("option", "purpose"), [("--photo", "photo"), ("--no-photo", "clean")])
def test_the_choice_can_be_made_by_hand(photo, tmp_path, option, purpose):
    row = json.loads(run(photo, "--json", option, "-o", tmp_path / "out.png").stdout)
    assert (row["models"], row["why"]) == ([published(purpose)[2]], f"asked for: {purpose} weights")


def test_the_strength_of_photo_weights_changes_the_result(photo, tmp_path):
    images = []
    for strength in (0, 0.5, 1):
        run(photo, "--strength", strength, "-o", tmp_path / "out.png", "--overwrite")
        with Image.open(tmp_path / "out.png") as image:
            images.append(np.asarray(image).astype(int))
    weak, half, strong = images
    assert not np.array_equal(weak, strong)
    assert np.abs(half - (weak + strong) / 2).mean() < np.abs(weak - strong).mean() / 2


def test_a_named_model_gives_no_reason(photo, tmp_path, small):
    row = json.loads(run(photo, "--model", small, "--json", "-o", tmp_path / "out.png").stdout)
    assert row["models"] == [str(small)]
    assert "why" not in row


def test_overwrites_when_told_to(photo, tmp_path, small):
    (tmp_path / "old.png").write_bytes(b"old")
    assert run(photo, "-o", tmp_path / "old.png", "--overwrite", "--model", small).exit_code == 0
    with Image.open(tmp_path / "old.png") as result:
        assert result.size == (189, 123)


def test_warnings_are_one_line(photo, monkeypatch, small, tmp_path):
    def call(self, image, *, progress):
        import warnings

        warnings.warn("out of memory with tiles of 512 pixels", RuntimeWarning, stacklevel=1)
        raise MemoryError

    monkeypatch.setattr(Upscaler, "__call__", call)
    monkeypatch.setattr("warnings.filters", [("default", None, RuntimeWarning, None, 0)])
    done = run(photo, "--model", small)
    assert done.exit_code == 1
    assert done.stderr == "warning: out of memory with tiles of 512 pixels\nError: out of memory\n"


def test_ctrl_c_leaves_nothing(photo, monkeypatch, small, tmp_path):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    before = names(tmp_path)
    for where in ("cclnn.upscaler.Upscaler.__call__", "PIL.Image.Image.save"):
        with monkeypatch.context() as patched:
            patched.setattr(where, interrupt)
            done = run(photo, "--model", small)
        assert done.exit_code == 130
        assert done.stderr == "Interrupted.\n"
        assert names(tmp_path) == before


def test_help_is_complete():
    text = run("--help").output
    for promised in ("Exit codes:", "Examples:", "130", "--recursive", "--json", "--ensemble", "--quality"):
        assert promised in text


def test_help_loads_nothing_large():
    """So that it appears at once: torch alone takes seconds."""
    large = "{'torch', 'numpy', 'PIL', 'einops', 'safetensors', 'huggingface_hub'}"
    code = f"""import sys
from cclnn.cli.commands import cli
try:
    cli(["upscale", "--help"])
except SystemExit:
    print({large} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
