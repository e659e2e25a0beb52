"""A page that upscales photographs in the browser: `make web`. It needs no network: the weights are bundled.

Requests wait in one queue and are computed one at a time. Uploads are limited in bytes and pixels, results in pixels.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

import cclnn
from cclnn.attribution import point_attribution
from cclnn.evaluation import with_peak
from cclnn.evaluation.figures import attribution_figure
from cclnn.image import preview, to_tensor
from cclnn.precision import keep_freed_memory
from cclnn.upscaler import FileUpscaler, reason

UPLOAD, PIXELS, RESULT = 20 * 2**20, 12_000_000, 50_000_000  # bytes, pixels of the upload, pixels of the result
SIZES = [("factor", "scale"), "width", "height", "megapixels"]  # what the person reads, where it has another name
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
PROGRESS: Any = gr.Progress()  # as a default it makes gradio show a bar
keep = lru_cache(maxsize=4)(FileUpscaler)


@contextmanager
def told() -> Iterator[None]:
    """An error becomes one line for the person."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is, the person gets a line and no traceback
        raise gr.Error(reason(error), duration=None, print_exception=False) from None


def show(path: str | None) -> tuple[Image.Image | None, None, str]:
    """The upload, beside no map yet."""
    with told():
        return preview(path, name="the image", max_pixels=PIXELS) if path else None, None, ""


def upscale(
    path: str | None,
    model: str,
    kind: str,
    size: float,
    by_quality: bool,
    strength: float,
    tile: float,
    precision: str,
    bar: Any = PROGRESS,
) -> tuple[tuple[Image.Image, Image.Image], str, str]:
    """Before and after, what it took, and the file, with the metadata of the upload."""
    with told():
        if not path:
            raise ValueError("Choose an image first.")
        chosen: dict[str, Any] = {kind: round(size) if kind in ("width", "height") else size}
        chosen |= {"strength": None if by_quality else strength, "tile": int(tile) or "auto", "precision": precision}
        run, content = keep(model, max_input=PIXELS, max_output=RESULT, **chosen), Path(path).read_bytes()
        made, peak = with_peak(lambda: run(content, progress=lambda done, of: bar((done, of), unit="tiles")))
        file = Path(tempfile.mkdtemp()) / f"{Path(path).stem}_{made.after[0]}x{made.after[1]}.png"
        file.write_bytes(made.content)
        before = preview(path).resize(made.after, Image.Resampling.BICUBIC)
        memory = f" Memory at the peak: {peak / 2**20:.0f} MiB." if peak else ""
        return (before, preview(file)), f"{made}{memory}", str(file)


def attribute(path: str | None, model: str, point: gr.SelectData, bar: Any = PROGRESS) -> tuple[Any, str]:
    """Which pixels around the clicked one the network used for it."""
    with told():
        network = cclnn.load("cclnn-s-x2" if model == "auto" else model)
        photo, (x, y) = to_tensor(preview(path, name="the image", max_pixels=PIXELS)), point.index
        options: dict[str, Any] = {"scale": network.scale, "steps": 25, "batch": 5}
        used = point_attribution(
            network, photo, (y, x), progress=lambda done, of: bar((done, of), unit="images"), **options
        )
        figure = attribution_figure(used.image, {"used": used.attribution}, used.window, scale=network.scale)
        index = used.attribution.diffusion_index
        return figure, f"Diffusion index {index:.1f}: the larger, the more pixels were used."


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
                kind = gr.Radio(SIZES, value="scale", label="Size by")
                size = gr.Number(2, label="Factor, pixels or megapixels", elem_id="size")
                with gr.Accordion("Options", open=False):
                    by_quality = gr.Checkbox(value=True, label="Strength of the photo weights by a JPEG's quality")
                    strength = gr.Slider(0, 1, 1, label="Otherwise: from clean weights (0) to photo weights (1)")
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
        upload.change(show, upload, [shown, figure, index], **alone)
        given = [upload, model, kind, size, by_quality, strength, tile, precision]
        button.click(upscale, given, [slider, text, download], **alone)
        shown.select(attribute, [upload, model], [figure, index], **alone)
    return blocks.queue(max_size=16, default_concurrency_limit=1)


def main() -> None:
    """Serve the page until Ctrl-C, where GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say."""
    keep_freed_memory()
    # show_error=False hides every error but gr.Error, which the person sees in any case
    options: dict[str, Any] = {"show_error": False, "footer_links": [], "ssr_mode": False, "share": False}
    page().launch(max_file_size=UPLOAD, theme=gr.themes.Base(**FONTS), **options)


if __name__ == "__main__":
    main()
