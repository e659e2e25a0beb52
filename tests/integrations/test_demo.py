"""The page in the browser: its computations, its limits, and a real headless Chromium that uses it as a person does."""

import importlib.util
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

if importlib.util.find_spec("gradio") is None:
    pytest.skip("gradio is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]
APP = ROOT / "integrations" / "demo" / "app.py"
CHELSEA = ROOT / "examples" / "images" / "chelsea.png"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 300_000  # milliseconds, on a busy machine
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of gradio


def silent(*args, **options):
    """A progress bar that nobody sees."""


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("demo_app", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photo(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "camera"
    with Image.open(CHELSEA) as image:
        image.crop((150, 60, 198, 100)).convert("RGB").save(tmp_path / "photo.jpg", quality=95, exif=exif)
    return str(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("kind", "size", "after"),
    [
        ("scale", 1.5, (72, 60)),
        ("width", 100, (100, 83)),
        ("height", 120, (144, 120)),
        ("megapixels", 0.01, (110, 91)),
    ],
)
def test_sizes_and_metadata(app, photo, kind, size, after):
    (before, result), text, file = app.upscale(photo, "auto", kind, size, True, 1.0, 0, "fp32", silent)
    assert before.size == result.size == after
    weights = r"cclnn-s-photo-x[24] \(JPEG of quality 95: photo weights at strength 0\.7\)"
    took, memory = rf"\d+\.\d s\. Weights: {weights}", r"( Memory at the peak: \d+ MiB\.)?"
    assert re.fullmatch(rf"48 x 40 to {after[0]} x {after[1]} in {took}\.{memory}", text)
    with Image.open(file) as written:
        assert written.size == after
        assert written.getexif()[0x010F] == "camera"


def test_a_point_at_the_corner_is_explained(app, photo):
    figure, text = app.attribute(photo, "cclnn-s-x3", SimpleNamespace(index=(47, 0)), silent)
    assert len(figure.axes) == 2
    assert re.match(r"Diffusion index \d+\.\d", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "Choose an image first"),
        ({"kind": "scale", "size": 9}, "must lie between 1 and 8"),
        ({"kind": "width", "size": 20}, "1 to 8 is possible"),
        (
            {"path": "large", "size": 3},
            "3 times the image, of 3000 x 2000 pixels, is too large: at most 50 megapixels are made",
        ),
        ({"path": "huge"}, "it has 4000 x 3001 pixels; at most 12 megapixels are taken"),
        ({"path": "text"}, "cannot read the image: it is not an image in a known format"),
    ],
)
def test_errors_are_one_line_for_the_person(app, photo, tmp_path, change, message):
    import gradio

    Image.new("1", (4000, 3001)).save(tmp_path / "huge.png")
    Image.new("1", (3000, 2000)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no image")
    given = {"path": photo, "model": "auto", "kind": "scale", "size": 2, **change}
    if given["path"] in ("huge", "large", "text"):
        given["path"] = str(tmp_path / f"{given['path']}.png")
    with pytest.raises(gradio.Error) as caught:
        app.upscale(**given, by_quality=True, strength=1.0, tile=0, precision="auto", bar=silent)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert not caught.value.print_exception


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the page, and what the server has printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("site") / "log"
    with log.open("w") as file:
        environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
        server = subprocess.Popen([sys.executable, APP], env=environment, stdout=file, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.2)
        yield SimpleNamespace(url=url, log=log)
    finally:
        server.terminate()
        server.wait()


def test_the_page_is_served(site):
    with urllib.request.urlopen(site.url) as answer:
        assert answer.status == 200
        assert "cclnn: upscale a photograph" in answer.read().decode()


@pytest.fixture
def browser():
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("Chromium or playwright is absent")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site):
    """The page, opened; it fails where it asks for anything that its own server does not have."""
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(PATIENCE)
    elsewhere, broken = [], []

    def answer(route):
        if route.request.url.startswith((site.url, "data:", "blob:")):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", answer)
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(site.url)
    page.wait_for_selector("#run")
    yield page
    assert not elsewhere
    assert not broken
    assert "Traceback" not in site.log.read_text()


def test_a_person_upscales_a_photograph_and_asks_where_the_network_looks(page, tmp_path):
    with Image.open(CHELSEA) as image:
        image.crop((120, 60, 300, 180)).save(tmp_path / "cat.png")
    page.set_input_files("#upload input[type=file]", tmp_path / "cat.png")
    page.wait_for_selector("#photo img")
    page.click("#run")
    page.wait_for_function("document.querySelector('#told')?.innerText.includes('Weights')")
    assert re.match(r"180 x 120 to 360 x 240 in .* s\..*Memory at the peak: \d+ MiB\.", page.inner_text("#told"))
    page.wait_for_function("[...document.querySelectorAll('#result img')].filter(i => i.naturalWidth).length == 2")
    sizes = "[...document.querySelectorAll('#result img')].map(i => [i.naturalWidth, i.naturalHeight])"
    assert page.evaluate(sizes) == [[360, 240]] * 2
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "cat_360x240.png"
    with Image.open(io.BytesIO(Path(download.value.path()).read_bytes())) as result:
        assert result.size == (360, 240)
    page.click("#photo img", position={"x": 100, "y": 60})
    page.wait_for_function("document.querySelector('#attribution img')?.naturalWidth > 100")
    page.wait_for_function("document.getAnimations().length == 0")  # the map has faded in
    shot = tmp_path / "demo.png"  # `make screenshot` copies it into the docs
    page.screenshot(path=shot, full_page=True, animations="disabled")
    assert shot.stat().st_size > 50_000


def test_a_person_is_told_what_is_too_large(page, tmp_path):
    page.click("#run")
    page.wait_for_function("document.body.innerText.includes('Choose an image first')")
    Image.new("1", (4000, 3001)).save(tmp_path / "huge.png")
    page.set_input_files("#upload input[type=file]", tmp_path / "huge.png")
    page.wait_for_function("document.body.innerText.includes('at most 12 megapixels are taken')")
    (tmp_path / "heavy.png").write_bytes(bytes(21 * 2**20))
    page.reload()
    page.wait_for_selector("#run")
    page.set_input_files("#upload input[type=file]", tmp_path / "heavy.png")
    page.wait_for_function("/exceed|maximum|size/i.test(document.querySelector('.toast-body')?.innerText ?? '')")
