"""Words that the library and the command line both accept; imports no torch, so that --help stays fast."""

from typing import Literal, get_args

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Degrade = Literal["clean", "jpeg75", "jpeg85", "jpeg95", "noise2", "noise5"]
DEGRADATIONS: tuple[Degrade, ...] = get_args(Degrade)
TileRule = Literal["auto", "none"]
TILE_RULES: tuple[TileRule, ...] = get_args(TileRule)
