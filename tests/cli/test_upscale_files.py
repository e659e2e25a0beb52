"""Situations of `cclnn upscale` without a file of their own: names, folders, streams, other runs, broken tags."""

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from image import zoo
from PIL import Image

import cclnn
from cclnn._claims import claimed
from cclnn.cli.commands import cli
from cclnn.image import Metadata, read_picture

CASES = Path(__file__).parents[1] / "image" / "cases"
CCLNN = Path(sys.executable).with_name("cclnn")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small"
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(path)
    return path


@pytest.fixture
def run(model):
    def call(*arguments, **options):
        return CliRunner().invoke(cli, ["upscale", *map(str, arguments), "--model", str(model)], **options)

    return call


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "photos"
    top.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(zoo.pixels(3)).save(top / name)
    return top


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_bad_tag_costs_neither_the_picture_nor_the_batch(tmp_path, run):
    bad = ("exif_loop.jpg", "exif_bias_minus2_0.jpg", "exif_make_rational.jpg", "exif_dpi_huge.jpg", "exif_empty.jpg")
    (tmp_path / "in").mkdir()
    for name in bad:
        shutil.copy(CASES / "exif" / name, tmp_path / "in" / name)
    shutil.copy(CASES / "damage" / "jpeg_half.jpg", tmp_path / "in" / "aaa.jpg")
    done = run(tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 1
    rows = {Path(row["source"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: row["status"] for name, row in rows.items()} == {"aaa.jpg": "failed", **dict.fromkeys(bad, "done")}
    (warning,) = rows["exif_loop.jpg"]["warnings"]
    assert "exif_loop.jpg': not carried over: EXIF directory EXIF." in warning
    assert f"warning: {warning}" in done.stderr


def test_an_error_that_nobody_expected_fails_one_image_only(folder, run, monkeypatch):
    import cclnn.image.read

    real = cclnn.image.read.read_picture

    def read(source, **options):
        if Path(source).name == "a.png":
            raise RecursionError("too deep")
        return real(source, **options)

    monkeypatch.setattr(cclnn.image.read, "read_picture", read)
    done = run(folder)
    assert done.exit_code == 1
    assert "1 done, 0 skipped (done before), 1 failed" in done.stdout
    assert done.stderr == f"failed: {folder / 'a.png'}: too deep\n"


@pytest.mark.parametrize("given", [".", "..", "../photos"])
def test_the_folder_one_is_in(folder, run, monkeypatch, given):
    inside = folder / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside if given == ".." else folder)
    done = run(given)
    assert done.exit_code == 0, done.output
    assert names(folder.parent) == ["photos/a.png", "photos/b.png", "photos_x2/a.png", "photos_x2/b.png"]


def test_an_empty_name_is_a_mistake(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    for arguments in ([""], ["a.png", "-o", ""]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "the name is empty." in done.output
    assert names(folder) == ["a.png", "b.png"]


def test_results_are_not_upscaled_again(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(3):
        done = run(*sorted(folder.glob("*.png")))
        assert done.exit_code == 0, done.output
    assert names(folder) == ["a.png", "a_x2.png", "b.png", "b_x2.png"]
    assert f"left out: {folder / 'a_x2.png'}: it is the result of {str(folder / 'a.png')!r}" in done.stderr


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.avifs"])
def test_the_same_format_keeps_the_suffix(tmp_path, run, name):
    kind = "AVIF" if name.endswith("avifs") else "JPEG"
    Image.fromarray(zoo.pixels(3)).save(tmp_path / name, format=kind)
    assert run(tmp_path / name, "--format", "same").exit_code == 0
    with Image.open(tmp_path / name.replace("a.", "a_x2.")) as result:
        assert (result.format, result.size) == (kind, (54, 38))


def test_the_content_decides_where_the_suffix_is_wrong(tmp_path, run):
    Image.fromarray(zoo.pixels(3)).save(tmp_path / "a.png", format="JPEG")
    done = run(tmp_path / "a.png", "--format", "same")
    assert done.exit_code == 0
    assert "its name ends in .png, but it is JPEG, and is read as that" in done.stderr
    with Image.open(tmp_path / "a_x2.jpg") as result:
        assert result.format == "JPEG"


def test_lossless_webp_stays_lossless(tmp_path, run):
    image = Image.fromarray(zoo.pixels(3))
    image.save(tmp_path / "a.webp", lossless=True)
    image.save(tmp_path / "b.webp", quality=80)
    run(tmp_path / "a.webp", "-o", tmp_path / "a.png")
    assert run(tmp_path / "b.webp", "-o", tmp_path / "c.webp", "--lossless").exit_code == 0
    assert run(tmp_path / "a.webp", "--format", "same").exit_code == 0
    assert b"VP8L" in (tmp_path / "c.webp").read_bytes()[:32]
    assert run(tmp_path / "b.webp", "--format", "same").exit_code == 0
    assert b"VP8L" in (tmp_path / "a_x2.webp").read_bytes()[:32]
    assert b"VP8L" not in (tmp_path / "b_x2.webp").read_bytes()[:32]
    with Image.open(tmp_path / "a_x2.webp") as lossless, Image.open(tmp_path / "a.png") as exact:
        assert lossless.tobytes() == exact.tobytes()
    done = run(tmp_path / "a.webp", "-o", tmp_path / "x.png", "--lossless")
    assert done.exit_code == 2
    assert "--lossless is for webp, the output is png." in done.output


def test_kinds_that_are_not_read_are_named(folder, run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # pillow-heif is not installed
    (folder / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "d.jxl").write_bytes(b"\xff\x0a")
    shutil.copy(CASES / "damage" / "real.jp2", folder / "e.jp2")
    (folder / "f.nef").write_bytes(b"MM\0*\0\0\0\x08")
    shutil.copy(CASES / "exif" / "exif_utf8.jpg", folder / "g.heic")  # the content decides
    done = run(folder, "--json")
    assert done.exit_code == 0
    left_out = {
        "c.HEIC": 'HEIC needs pillow-heif: pip install "cclnn[heif]"',
        "d.jxl": "JPEG XL is not supported: convert it to PNG",
        "e.jp2": "JPEG 2000 is not supported: convert it to PNG",
        "f.nef": "a camera's raw format is not supported: convert it to PNG",
    }
    for name, why in left_out.items():
        assert f"left out: {folder / name}: {why}\n" in done.stderr
    assert "g.heic': its name ends in .heic, but it is JPEG, and is read as that" in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["left out"] * 4 + ["done"] * 3


def test_heic_in_a_folder_is_read_where_the_extra_is_installed(folder, tmp_path, run):
    pillow_heif = pytest.importorskip("pillow_heif", reason='HEIC needs the extra "heif"')
    source = zoo.pixels(3, height=64, width=80)
    pillow_heif.from_pillow(Image.fromarray(source)).save(folder / "c.heic", quality=-1, chroma=444)
    done = run(folder, "--format", "same")
    assert (done.exit_code, done.stderr) == (0, "")
    assert names(tmp_path / "photos_x2") == ["a.png", "b.png", "c.png"]
    with Image.open(tmp_path / "photos_x2" / "c.png") as result:
        assert result.size == (160, 128)


def test_a_symbolic_link_to_a_folder_is_not_followed(folder, tmp_path, run):
    (tmp_path / "other").mkdir()
    shutil.copy(folder / "a.png", tmp_path / "other" / "c.png")
    (folder / "link").symlink_to(tmp_path / "other")
    (folder / "loop").symlink_to(folder)
    assert run(folder, "--recursive").exit_code == 0
    assert names(tmp_path / "photos_x2") == ["a.png", "b.png"]


def test_a_folder_that_cannot_be_listed_is_a_failure(folder, run, monkeypatch):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", scandir)
    done = run(folder, "--recursive")
    assert done.exit_code == 1
    assert "2 done" in done.stdout
    assert f"failed: {folder / 'locked'}: cannot list the folder: Permission denied" in done.stderr


def test_a_folder_that_may_be_written_but_not_read_takes_results(folder, tmp_path, run, monkeypatch):
    real_access, real_scandir = os.access, os.scandir

    def refuse(path):
        if Path(path) == tmp_path / "out":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(
        os, "access", lambda path, mode: real_access(path, mode) and not (Path(path).name == "out" and mode & os.R_OK)
    )
    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse)
    done = run(folder, "-o", tmp_path / "out")
    monkeypatch.undo()
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "out") == names(folder)


def test_a_file_that_may_not_be_read_fails_alone(folder, run, monkeypatch):
    real = Path.open

    def refuse(path, *args, **options):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path).name == "a.png" and mode & os.R_OK))
    done = run(folder / "a.png", folder / "b.png")
    assert done.exit_code == 1
    assert "1 done, 0 skipped (done before), 1 failed" in done.stdout
    assert done.stderr == f"failed: {folder / 'a.png'}: cannot read {str(folder / 'a.png')!r}: Permission denied.\n"


def test_a_pipe_or_device_is_never_replaced(folder, tmp_path, run):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    for name in ("pipe.png", "null.png"):
        done = run(folder / "a.png", "-o", tmp_path / name, "--overwrite")
        assert done.exit_code == 1
        assert "it is not a regular file." in done.output
    assert (tmp_path / "pipe.png").is_fifo()


def test_a_pipe_is_read(folder, tmp_path, model):
    command = f"'{CCLNN}' upscale <(cat '{folder / 'a.png'}') -o '{tmp_path / 'out.png'}' --model '{model}' --quiet"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = f"cat '{folder / 'a.png'}' | '{CCLNN}' upscale /dev/stdin -o '{tmp_path / 'in.png'}' --model '{model}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "in.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def start(folder, model, *options):
    command = [CCLNN, "upscale", folder, "--model", model, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_runs_on_one_folder_share_the_work(folder, tmp_path, model):
    for i in range(6):
        shutil.copy(folder / "a.png", folder / f"{i}.png")
    runs = [start(folder, model, "--json") for _ in range(2)]
    done = []
    for process in runs:
        lines, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
        rows = [json.loads(line) for line in lines.splitlines()]
        assert {Path(row["source"]).name for row in rows} == set(names(folder))
        assert {row["status"] for row in rows} <= {"done", "skipped"}
        done += [Path(row["source"]).name for row in rows if row["status"] == "done"]
    assert sorted(done) == names(folder) == names(tmp_path / "photos_x2")


def test_a_run_finishes_what_a_killed_one_had_begun(folder, tmp_path, model):
    out = tmp_path / "photos_x2"
    Image.fromarray(zoo.pixels(3, height=600, width=800)).save(folder / "a.png")  # takes long enough to be stopped in
    first = start(folder, model)
    while not (out / ".a.png.cclnn-claim").exists():
        assert first.poll() is None
        time.sleep(0.001)
    first.send_signal(signal.SIGSTOP)
    second = start(folder, model)
    lines = iter(second.stdout.readline, "")
    told = next(line for line in lines if not line.startswith("wrote "))
    assert told == "waiting for other runs, which are at work on 1 of the images\n"
    assert names(out) == [".a.png.cclnn-claim", "b.png"]
    first.kill()
    first.communicate(timeout=60)
    rest, errors = second.communicate(timeout=300)
    assert (second.returncode, errors) == (0, "")
    assert "2 done, 0 skipped (done before), 0 failed" in rest
    assert names(out) == names(folder)


def test_a_run_waits_for_what_another_one_does(folder, run, monkeypatch):
    """Then it is done, as the exit code says."""
    out = folder.parent / "photos_x2"
    out.mkdir()
    claim = claimed(out / "a.png")
    claim.__enter__()

    def other(seconds):
        assert names(out) == [".a.png.cclnn-claim", "b.png"]
        (out / "a.png").write_bytes(b"by another run")
        claim.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", other)
    done = run(folder)
    assert done.exit_code == 0
    assert "1 done, 1 skipped (done before), 0 failed" in done.stdout
    assert (out / "a.png").read_bytes() == b"by another run"
    assert names(out) == ["a.png", "b.png"]


def test_a_file_in_the_way_of_a_folder_is_a_failure(folder, tmp_path, run):
    (folder / "sub").mkdir()
    shutil.copy(folder / "a.png", folder / "sub" / "c.png")
    (tmp_path / "photos_x2").mkdir()
    (tmp_path / "photos_x2" / "sub").write_bytes(b"a file")
    done = run(folder, "--recursive")
    assert done.exit_code == 1
    assert "2 done, 0 skipped (done before), 1 failed" in done.stdout
    assert f"there is no folder {str(tmp_path / 'photos_x2' / 'sub')!r}" in done.stderr


def test_another_run_that_was_faster_is_no_failure(folder, run, monkeypatch):
    import cclnn.image.read

    real = cclnn.image.read.read_picture

    def read(source, **options):
        (folder.parent / "photos_x2").mkdir(exist_ok=True)
        (folder.parent / "photos_x2" / Path(source).name).write_bytes(b"by another run")
        return real(source, **options)

    monkeypatch.setattr(cclnn.image.read, "read_picture", read)
    done = run(folder)
    assert done.exit_code == 0
    assert "0 done, 2 skipped (done before), 0 failed" in done.stdout
    assert (folder.parent / "photos_x2" / "a.png").read_bytes() == b"by another run"


def test_another_run_that_finishes_between_two_checks_is_no_failure(folder, run, monkeypatch):
    import cclnn.image.write

    real = cclnn.image.write.check_target

    def check(path, **options):
        Path(path).write_bytes(b"by another run")
        real(path, **options)

    monkeypatch.setattr(cclnn.image.write, "check_target", check)
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "0 failed" in done.stdout


def test_long_names_into_a_folder_and_beside(tmp_path, run):
    name = "画" * 80 + ".png"
    Image.fromarray(zoo.pixels(3)).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    assert run(tmp_path / name, "-o", tmp_path / "out").exit_code == 0
    assert run(tmp_path / name).exit_code == 0
    assert len(names(tmp_path)) == 3


def test_a_result_s_name_that_is_too_long_is_a_failure_of_that_image(folder, run):
    long = folder / ("n" * 251 + ".png")
    shutil.copy(folder / "a.png", long)
    done = run(long, folder / "b.png")
    assert done.exit_code == 1
    assert "1 done, 0 skipped (done before), 1 failed" in done.stdout
    assert done.stderr.startswith(f"failed: {long}: ")
    assert "File name too long" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run(long)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "_x2.png': File name too long." in done.stderr


def test_a_hidden_file_that_looks_like_ours_survives(folder, run):
    (folder / ".a_x2.png.parts-list").write_text("a user's")
    assert run(folder / "a.png").exit_code == 0
    assert (folder / ".a_x2.png.parts-list").read_text() == "a user's"


@pytest.fixture
def book(tmp_path):
    """A TIFF of three pages and a thumbnail; 8 bits grey with EXIF, 16 bits RGB, 1 bit, each of another size."""
    from cclnn.image import Picture, encode
    from cclnn.image.pages import join

    grey, paper, deep = zoo.pixels(1, height=20, width=30), zoo.pixels(1), zoo.pixels(3, 16, height=10, width=14)
    buffer = io.BytesIO()
    Image.fromarray(paper[..., 0]).convert("1").save(buffer, format="TIFF", compression="group4")
    thumbnail = io.BytesIO()
    Image.fromarray(paper[:8, :8, 0]).save(thumbnail, format="TIFF", tiffinfo={254: 1})
    first = Picture(grey, "L", Metadata(exif=zoo.exif().tobytes()[6:], icc=None, dpi=(300.0, 300.0)))
    pages = [encode(first, "tiff"), encode(Picture(deep, "RGB"), "tiff"), buffer.getvalue(), thumbnail.getvalue()]
    (tmp_path / "book.tif").write_bytes(join(pages))
    return tmp_path / "book.tif"


def test_the_page_is_chosen(book, tmp_path, run):
    done = run(book)
    assert done.exit_code == 1
    assert "it has 4 pages: choose with --page N or --page all." in done.output
    assert run(book, "-o", tmp_path / "a.png", "--page", 2).exit_code == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (28, 20)
    for wrong in ("0", "-1", "every"):
        done = run(book, "--page", wrong)
        assert done.exit_code == 2
        assert f"'{wrong}' is neither a number of a page, from 1, nor 'all'" in done.output
    done = run(book, "--page", 5)
    assert "it has 4 pages, page 5 is asked for" in done.output


@pytest.mark.parametrize("how", ["same", "named", "stream"])
def test_all_pages_into_one_tiff(book, tmp_path, run, how):
    vips, target = pytest.importorskip("pyvips").Image, tmp_path / "book_x2.tif"
    if how == "same":
        done = run(book, "--page", "all", "--format", "same")
    elif how == "named":
        done = run(book, "--page", "all", "-o", target)
    else:
        done = run("-", "--page", "all", "-o", target, input=book.read_bytes())
    assert (done.exit_code, done.stderr) == (0, "")
    assert "book_x2.tif: 3 pages, the first of 60 x 40 pixels" in done.stdout
    pages = [vips.new_from_file(str(target), page=number) for number in range(3)]
    assert [page.get("n-pages") for page in pages] == [3] * 3
    assert [(page.width, page.height, page.bands, page.format) for page in pages] == [
        (60, 40, 1, "uchar"),
        (28, 20, 3, "ushort"),
        (54, 38, 1, "uchar"),
    ]
    for number, page in enumerate(pages, start=1):
        alone = tmp_path / f"{number}.png"
        assert run(book, "-o", alone, "--page", number).exit_code == 0
        picture = read_picture(alone)
        assert (page.numpy().reshape(picture.pixels.shape) == picture.pixels).all()
        assert (read_picture(target, page=number).pixels == picture.pixels).all()
    with Image.open(target) as image:
        assert image.getexif()[0x010F] == zoo.CAMERA
        assert image.getexif().get_ifd(0x8769)
        assert image.info["dpi"] == (300, 300)


def test_every_page_into_a_file_of_its_own(book, tmp_path, run):
    done = run(book, "--page", "all")
    assert done.exit_code == 0, done.output
    assert {"book_x2_p1.png", "book_x2_p2.png", "book_x2_p3.png"} == {x.name for x in tmp_path.glob("book_*")}
    assert "3 done" in done.stdout
    assert "0 done, 3 skipped" in run(book, "--page", "all").stdout
    assert run(book, "--page", "all", "-o", tmp_path / "named.png").exit_code == 0
    assert {"named_p1.png", "named_p2.png", "named_p3.png"} == {x.name for x in tmp_path.glob("named*")}
    done = run("-", "--page", "all", "-o", tmp_path / "stream.png", input=book.read_bytes())
    assert done.exit_code == 1
    assert "the 3 pages of '-' fit into one TIFF only: give --format tiff." in done.output


def test_all_pages_of_one(folder, tmp_path, run):
    """A file of one picture is as without the option, in a folder with others, too."""
    shutil.copy(CASES / "colour" / "thumbnail_page.tif", folder / "c.tif")
    assert run(folder, "--page", "all").exit_code == 0
    assert names(tmp_path / "photos_x2") == ["a.png", "b.png", "c.png"]
    with Image.open(tmp_path / "photos_x2" / "c.png") as image:
        assert image.size == (96, 64)


def test_a_damaged_page_is_found_before_the_work(book, tmp_path, run):
    content = bytearray(book.read_bytes())
    with Image.open(book) as image:
        image.seek(1)
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    content[start : start + length] = b"\xff" * length
    book.write_bytes(content)
    done = run(book, "--page", "all", "--format", "same")
    assert done.exit_code == 1
    assert "the file is damaged" in done.output
    assert names(tmp_path) == ["book.tif"]


def test_damaged_files_are_kept_where_that_is_asked_for(tmp_path, run):
    for name in ("jpeg_half_with_eoi.jpg", "jpeg_half.jpg", "png_half.png"):
        assert run(CASES / "damage" / name, "-o", tmp_path / "a.png").exit_code == 1
        assert not (tmp_path / "a.png").exists()
        done = run(CASES / "damage" / name, "-o", tmp_path / "a.png", "--keep-damaged", "--overwrite")
        assert done.exit_code == 0
        assert "a part of the picture is missing, and is kept as a flat area." in done.stderr
        (tmp_path / "a.png").unlink()


def test_the_largest_size_is_raised_knowingly(tmp_path, run, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    Image.fromarray(zoo.pixels(3)).save(tmp_path / "a.png")
    done = run(tmp_path / "a.png")
    assert done.exit_code == 1
    assert "--max-megapixels raises the limit." in done.output
    assert run(tmp_path / "a.png", "--max-megapixels", 1).exit_code == 0


def test_mps_where_there_is_none_is_one_line(folder, run):
    done = run(folder / "a.png", "--device", "mps")
    assert done.exit_code == 1
    assert done.output.startswith("Error: `device`='mps' cannot be used here")
    assert done.output.count("\n") == 1
    assert len(done.output) < 200


def test_several_threads_write_at_once(tmp_path):
    from cclnn.image import Picture, read_picture, write_picture

    pictures = [Picture(zoo.pixels(3) + i, "RGB") for i in range(8)]
    threads = [
        threading.Thread(target=write_picture, args=(picture, tmp_path / f"{i}.png"))
        for i, picture in enumerate(pictures)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, picture in enumerate(pictures):
        assert (read_picture(tmp_path / f"{i}.png").pixels == picture.pixels).all()
