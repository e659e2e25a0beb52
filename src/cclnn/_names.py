"""Words that the library and the command line both accept; imports no torch, so that --help stays fast."""

from typing import Literal, get_args

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TileRule = Literal["auto", "none"]
TILE_RULES: tuple[TileRule, ...] = get_args(TileRule)
