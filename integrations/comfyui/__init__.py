"""A node for ComfyUI: copy this folder into ComfyUI's `custom_nodes`, install cclnn into its Python, restart it."""

from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import torch

import cclnn

FOLDER = "upscale_models"  # of ComfyUI's `models`


class CclnnUpscale:
    """An image of ComfyUI's, (b, h, w, c) in [0, 1], upscaled by any network that cclnn runs."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    CATEGORY = "image/upscaling"
    DESCRIPTION = "Upscale photographs faithfully, tile by tile, to any size from 1 to 8 times their own."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        models = ["auto", *cclnn.list_pretrained(), *folder_paths.get_filename_list(FOLDER)]
        tiles = {"default": 0, "min": 0, "max": 8192, "step": 32, "tooltip": "Pixels per side; 0 by the memory."}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (models, {"tooltip": "auto, a published name, or a file in models/upscale_models."}),
                "scale": ("FLOAT", {"default": 2.0, "min": 1.0, "max": 8.0, "step": 0.05}),
                "photo": ("BOOLEAN", {"default": False, "tooltip": "auto: the image was compressed, as JPEG does."}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05, "display": "slider"}),
                "tile": ("INT", tiles),
                "precision": (["auto", "fp32", "bf16", "fp16"],),
            }
        }

    def upscale(
        self,
        image: torch.Tensor,
        model: str,
        scale: float,
        photo: bool,
        strength: float,
        tile: int,
        precision: Any,
    ) -> tuple[torch.Tensor]:
        """Every image of the batch in turn; ComfyUI's progress bar counts tiles, and its cancel button ends the run."""
        bar = comfy.utils.ProgressBar(len(image))
        done = 0

        def show(tiles: int, of: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(done * of + tiles, len(image) * of)

        known = model == "auto" or model in cclnn.list_pretrained()
        source = model if known else folder_paths.get_full_path_or_raise(FOLDER, model)
        results = []
        for one in image.movedim(-1, 1).clamp(0, 1).split(1):
            larger = cclnn.upscale(
                one,
                source,
                scale=scale,
                photo=photo,
                strength=strength,
                tile=tile or "auto",
                precision=precision,
                device=str(comfy.model_management.get_torch_device()),
                progress=show,
            )
            results.append(larger.clamp(0, 1).movedim(1, -1))
            done += 1
        return (torch.cat(results),)


NODE_CLASS_MAPPINGS = {"CclnnUpscale": CclnnUpscale}
NODE_DISPLAY_NAME_MAPPINGS = {"CclnnUpscale": "Upscale (cclnn)"}

cclnn.integrations.spandrel.install()  # so that ComfyUI's own loader of upscale models takes our files, too
