"""Words that the library and the command line both accept; imports no torch, so that --help stays fast."""

from typing import Literal, get_args

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Degrade = Literal["clean", "jpeg75", "jpeg85", "jpeg95", "noise2", "noise5"]
DEGRADATIONS: tuple[Degrade, ...] = get_args(Degrade)
TileRule = Literal["auto", "none"]
TILE_RULES: tuple[TileRule, ...] = get_args(TileRule)
Alpha = Literal["bicubic", "model"]
ALPHAS: tuple[Alpha, ...] = get_args(Alpha)
ExportFormat = Literal["onnx", "pt2"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
AUTO = "auto"  # as a model: published weights that suit the image
