"""integrations/web in headless Chromium: a person chooses a network and an image, and gets what cclnn.upscale gives."""

import functools
import importlib.util
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import annotations_are_checked
from PIL import Image

import cclnn
from cclnn.export import export
from cclnn.models import CCLNN, EDSR

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own

PAGE = Path(__file__).parents[2] / "integrations" / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=PAGE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("Chromium or playwright is absent")
    if not (PAGE / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is absent: `make page` fetches it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.get_by_text("Ready.").wait_for()
    yield page
    page.close()


def upscale_in(page, model, image, *, tile):
    page.set_input_files("#model", model)
    page.set_input_files("#image", image)
    page.fill("#tile", str(tile))
    page.click("#run")
    page.locator("#save:not([hidden]), #status:has-text('did not work')").wait_for(timeout=300_000)
    assert "did not work" not in page.inner_text("#status"), page.inner_text("#status")
    width, height, values = page.evaluate(
        """() => {
            const canvas = document.getElementById("result");
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.width, canvas.height, Array.from(data)];
        }"""
    )
    return np.array(values, dtype=np.uint8).reshape(height, width, 4)


@pytest.mark.parametrize(
    ("model", "tile"),
    [
        (EDSR(2, channels=8, n_resblocks=1), 32),  # several tiles, whose context holds all that it looks at
        (CCLNN(2, channels=16, n_resblocks=1, n_hashes=1, chunk_size=36), 128),
    ],
    ids=["EDSR", "CCLNN"],
)
def test_a_person_gets_what_upscale_gives(page, model, tile, tmp_path):
    model = model.eval()
    file, picture = tmp_path / "network.onnx", tmp_path / "picture.png"
    export(model, file)
    noise = torch.randint(0, 256, (37, 75, 3), dtype=torch.uint8).numpy()
    Image.fromarray(noise).save(picture)
    found = upscale_in(page, file, picture, tile=tile)
    expected = cclnn.Upscaler(model, edges="network", tile="none", precision="fp32")(noise)
    assert (found[..., 3] == 255).all()
    difference = found[..., :3].astype(int) - expected.astype(int)
    assert abs(difference).max() <= 1  # a value near the middle between two levels may tip


def test_a_person_is_told_what_is_missing(page):
    page.click("#run")
    page.get_by_text("This did not work: Choose an image first.").wait_for()
