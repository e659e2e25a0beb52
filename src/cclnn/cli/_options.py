"""Options that several commands share."""

from pathlib import Path
from typing import Any

import click

from cclnn._names import TILE_RULES
from cclnn.cli._jobs import EVERY


class Named(click.Path):
    """A path or `-`; an empty name, which would mean the working folder, is a mistake."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True, readable=False)  # each file says what is wrong with it

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name is empty.", param, ctx)
        return super().convert(value, param, ctx)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """Integers separated by commas, one for each name."""

    def __init__(self, names: str) -> None:
        self.name = names

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if len(parts) != len(self.name.split(",")) or not all(part.strip().lstrip("-").isdigit() for part in parts):
            self.fail(f"{value!r} is not of the form {self.name}.", param, ctx)
        return tuple(int(part) for part in parts)


class Page(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """A page's number, from 1, or "all"."""

    name = "page"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value == EVERY or isinstance(value, int):
            return value
        if not value.isdigit() or int(value) < 1:
            self.fail(f"{value!r} is neither a number of a page, from 1, nor {EVERY!r}.", param, ctx)
        return int(value)


class TileOption(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """A tile's side in pixels, "auto" or "none"."""

    name = "tile"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if isinstance(value, int) or value in TILE_RULES:
            return value
        if not value.isdigit():
            self.fail(f"{value!r} is not a number of pixels, 'auto' or 'none'.", param, ctx)
        return int(value)
