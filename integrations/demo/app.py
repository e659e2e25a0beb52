"""A page that upscales photographs in the browser: `make web`. It needs no network: the weights are bundled.

Requests wait in one queue and are computed one at a time. Uploads are limited in bytes and pixels, results in pixels.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

import cclnn
from cclnn.attribution import local_attribution_map
from cclnn.evaluation import with_peak
from cclnn.evaluation.figures import attribution_figure
from cclnn.image import read_image
from cclnn.upscaler import FileUpscaler

UPLOAD, PIXELS, RESULT = 20 * 2**20, 12_000_000, 50_000_000  # bytes, pixels of the upload, pixels of the result
PART, WINDOW, STEPS = 64, 16, 25  # of an attribution map: side of the part of the input, of the window; images
SIZES = {"factor": "scale", "width": "width", "height": "height", "megapixels": "megapixels"}
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
keep = lru_cache(maxsize=4)(FileUpscaler)


@contextmanager
def told() -> Iterator[None]:
    """An error becomes one line for the person."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is, the person gets a line and no traceback
        text = str(error).splitlines() or [type(error).__name__]
        raise gr.Error(text[0], duration=None, print_exception=False) from None


def read(path: str | None) -> Image.Image:
    """The upload, upright; refused before it is decoded if it is too large."""
    if not path:
        raise ValueError("Choose an image first.")
    with Image.open(path) as header:
        if header.width * header.height > PIXELS:
            limit = f"at most {PIXELS / 1e6:.0f} megapixels are taken"
            raise ValueError(f"The image has {header.width} x {header.height} pixels; {limit}.")
    return read_image(path)


def preview(path: str | None) -> tuple[Any, Any, str]:
    with told():
        return (read(path).convert("RGB") if path else None), None, ""


def upscale(
    path: str | None,
    model: str,
    kind: str,
    size: float,
    strength: float,
    tile: float,
    precision: str,
    bar: Any = gr.Progress(),  # noqa: B008  # so gradio is asked for it
) -> tuple[tuple[Image.Image, Image.Image], str, str]:
    """Before and after, what it took, and the file, with the metadata of the upload."""
    with told():
        before = read(path)
        value = size if kind in ("factor", "megapixels") else round(size)
        factor = {"factor": value, "width": value / before.width, "height": value / before.height}.get(kind)
        if (value * 1e6 if factor is None else factor**2 * before.width * before.height) > RESULT:
            raise ValueError(f"The result would have more than {RESULT / 1e6:.0f} megapixels.")
        options = {SIZES[kind]: value, "strength": strength, "tile": int(tile) or "auto", "precision": precision}
        run, content, started = keep(model, **options), Path(str(path)).read_bytes(), time.perf_counter()
        made, peak = with_peak(lambda: run(content, progress=lambda done, of: bar((done, of), unit="tiles")))
        took = f"{time.perf_counter() - started:.1f} s" + (f", {peak / 2**20:.0f} MiB at the peak" if peak else "")
        file = Path(tempfile.mkdtemp()) / f"{Path(str(path)).stem}_{made.after[0]}x{made.after[1]}.png"
        file.write_bytes(made.content)
        after = read_image(file).convert("RGB")
        weights = f"{' then '.join(made.models)} ({made.why})" if made.models else model
        sizes = " to ".join(f"{width} x {height}" for width, height in (made.before, made.after))
        larger = before.convert("RGB").resize(after.size, Image.Resampling.BICUBIC)
        return (larger, after), f"{sizes} in {took}. Weights: {weights}.", str(file)


def attribute(
    path: str | None,
    model: str,
    point: gr.SelectData,
    bar: Any = gr.Progress(),  # noqa: B008
) -> tuple[Any, str]:
    """Which pixels around the clicked one the network used for it."""
    with told():
        network = cclnn.load("cclnn-t-x2" if model == "auto" else model)
        photo, (x, y) = read(path).convert("RGB"), point.index
        left, top = (max(0, min(at - PART // 2, most - PART)) for at, most in ((x, photo.width), (y, photo.height)))
        part = photo.crop((left, top, min(left + PART, photo.width), min(top + PART, photo.height)))
        lr = torch.from_numpy(np.array(part)).movedim(-1, 0)[None].float() / 255
        corner = [at * network.scale - WINDOW // 2 for at in (y - top, x - left)]
        rows, columns = (length * network.scale - WINDOW - 1 for length in lr.shape[2:])
        window = (max(0, min(corner[0], rows)), max(0, min(corner[1], columns)), WINDOW)
        found = local_attribution_map(
            network, lr, window, steps=STEPS, batch=5, progress=lambda done, of: bar((done, of), unit="images")
        )
        figure = attribution_figure(lr, {"used": found}, window, scale=network.scale)
        return figure, f"Diffusion index {found.diffusion_index:.1f}: the larger, the more pixels were used."


def page() -> gr.Blocks:
    """The page and what its parts do; every computation stands in the same queue."""
    models = ["auto", *cclnn.list_pretrained()]
    alone: dict[str, Any] = {"concurrency_id": "computation", "concurrency_limit": 1, "api_visibility": "private"}
    with gr.Blocks(title="cclnn", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown("# cclnn: upscale a photograph")
        with gr.Row():
            with gr.Column(scale=1):
                upload = gr.File(label="Image", type="filepath", elem_id="upload")
                model = gr.Dropdown(models, value="auto", label="Model")
                kind = gr.Radio(list(SIZES), value="factor", label="Size by")
                size = gr.Number(2, label="Factor, pixels or megapixels", elem_id="size")
                with gr.Accordion("Options", open=False):
                    strength = gr.Slider(0, 1, 1, label="Strength of the weights for photographs, where they are used")
                    tile = gr.Slider(0, 1024, 0, step=64, label="Pixels per side of a tile; 0 by the memory")
                    precision = gr.Radio(["auto", "fp32", "bf16"], value="auto", label="Precision")
                button = gr.Button("Upscale", variant="primary", elem_id="run")
            with gr.Column(scale=2):
                slider = gr.ImageSlider(label="Bicubic and upscaled", type="pil", format="png", elem_id="result")
                text = gr.Markdown(elem_id="told")
                download = gr.DownloadButton("Download with metadata", elem_id="download")
        with gr.Row():
            shown = gr.Image(label="Click a point: which pixels does it depend on?", interactive=False, elem_id="photo")
            with gr.Column():
                figure = gr.Plot(label="Local attribution map", elem_id="attribution")
                index = gr.Markdown()
        upload.change(preview, upload, [shown, figure, index], **alone)
        button.click(upscale, [upload, model, kind, size, strength, tile, precision], [slider, text, download], **alone)
        shown.select(attribute, [upload, model], [figure, index], **alone)
    return blocks.queue(max_size=16, default_concurrency_limit=1)


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every network")
    parser.add_argument("--port", type=int, default=7860)
    given = parser.parse_args()
    page().launch(
        server_name=given.host,
        server_port=given.port,
        max_file_size=UPLOAD,
        show_error=False,  # errors that are told are told; others stay in the server's log
        theme=gr.themes.Base(**FONTS),
        footer_links=[],
        ssr_mode=False,
        share=False,
    )


if __name__ == "__main__":
    main()
