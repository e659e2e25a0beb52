"""Draw boxes and arrows as SVG: the diagrams of the models, of the blocks and of the attention.

Boxes stand in columns and rows, arrows run from the right of one box to the left of another. An arrow turns in the gap
before its end, so columns that share a source or an end do not cross.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from cclnn._files import write_atomically

NARROWEST, GAP, LINE, MARGIN = 100, 24, 16, 10
FILLS = {"plain": "#eef3fb", "local": "#e3f4e6", "nonlocal": "#fdeedd", "loss": "#fbe4e6", "note": "none"}
STROKE, TEXT, DIM = "#33557f", "#15202e", "#5b6b80"


@dataclass(frozen=True)
class Box:
    """A box of `lines` under a grey `title`. Rows may be fractions. "note": text alone; one character: a circle."""

    lines: tuple[str, ...]
    column: int
    row: float = 0
    title: str = ""
    kind: str = "plain"

    @property
    def is_circle(self) -> bool:
        """A sum or product."""
        return self.kind == "plain" and not self.title and len("".join(self.lines)) == 1

    @property
    def width(self) -> int:
        """Pixels that the text needs, estimated from the number of characters."""
        if self.is_circle:
            return 26
        text = 16 + max(7 * len(line) for line in (self.title, *self.lines))
        return text if self.kind == "note" else max(NARROWEST, text)

    @property
    def height(self) -> int:
        """Pixels of the title, the lines and their margins."""
        if self.is_circle:
            return 26
        return 26 + LINE * (len(self.lines) + bool(self.title))


@dataclass(frozen=True)
class Link:
    """An arrow between two boxes, given by their index; None is the edge of the picture.

    `via` sends it along another row. `below` lets it leave from the lower side, for what a module gives besides.
    """

    start: int | None
    end: int | None
    via: float | None = None
    below: bool = False


def chain(boxes: Sequence[Box]) -> list[Link]:
    """The links of boxes that follow each other, from edge to edge."""
    return [Link(a, b) for a, b in pairwise([None, *range(len(boxes)), None])]


def draw(boxes: Sequence[Box], links: Sequence[Link], *, title: str) -> str:
    """The SVG. `title` is what a screen reader says."""
    columns = range(max(box.column for box in boxes) + 1)
    widths = [max(box.width for box in boxes if box.column == column) for column in columns]
    lefts = [GAP + sum(widths[:column]) + GAP * column for column in columns]
    tall = max(box.height for box in boxes)
    rows = [*(box.row for box in boxes), *(link.via for link in links if link.via is not None)]
    top, step = min(rows), tall + 18
    total = lefts[-1] + widths[-1] + GAP
    height = round(2 * MARGIN + tall + (max(rows) - top) * step)

    def level(row: float) -> int:
        return round(MARGIN + tall / 2 + (row - top) * step)

    def sides(box: Box) -> tuple[int, int]:
        width = box.width if box.is_circle else widths[box.column]
        left = lefts[box.column] + (widths[box.column] - width) // 2
        return left, left + width

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" viewBox="0 0 {total} {height}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{escape(title)}</title>'
    ]
    for link in links:
        start = None if link.start is None else boxes[link.start]
        end = None if link.end is None else boxes[link.end]
        y2 = level(end.row if end else start.row if start else 0)
        y1 = level(start.row) if start else y2
        x1 = sides(start)[1] if start else 2
        x2 = sides(end)[0] if end else total - 2
        if start and link.below:
            x1 = sum(sides(start)) // 2
            drawn.append(arrow(f"M{x1} {y1 + start.height // 2}V{y2}", x2, y2))
        elif link.via is not None:
            y, back = level(link.via), x2 - GAP // 2
            drawn.append(arrow(f"M{x1} {y1}H{x1 + GAP // 2}V{y}H{back}V{y2}", x2, y2))
        else:
            turn = "" if y1 == y2 else f"H{lefts[end.column] - GAP // 2}V{y2}" if end else ""
            drawn.append(arrow(f"M{x1} {y1}{turn}", x2, y2))
    for box in boxes:
        (left, right), y = sides(box), level(box.row)
        drawn.append(_shape(box, left, right, y))
        texts = [(box.title, DIM)] * bool(box.title) + [
            (line, DIM if box.kind == "note" else TEXT) for line in box.lines
        ]
        first = y - LINE * (len(texts) - 1) / 2 + 4
        drawn += [
            f'<text x="{(left + right) // 2}" y="{first + LINE * i:g}" text-anchor="middle" fill="{colour}">'
            f"{escape(text)}</text>"
            for i, (text, colour) in enumerate(texts)
        ]
    return "\n".join([*(line for line in drawn if line), "</svg>"]) + "\n"


def _shape(box: Box, left: int, right: int, y: int) -> str:
    if box.kind == "note":
        return ""
    if box.is_circle:
        return f'<circle cx="{(left + right) // 2}" cy="{y}" r="13" fill="{FILLS[box.kind]}" stroke="{STROKE}"/>'
    return (
        f'<rect x="{left}" y="{y - box.height // 2}" width="{right - left}" height="{box.height}" rx="6" '
        f'fill="{FILLS[box.kind]}" stroke="{STROKE}"/>'
    )


def arrow(path: str, x: int, y: int) -> str:
    """A line along `path` and on to (x, y), where it has its tip."""
    return f'<path d="{path}H{x - 1}" stroke="{STROKE}" fill="none"/><path d="M{x} {y}l-7 -4v8z" fill="{STROKE}"/>'


def write(path: Path, text: str) -> None:
    """Write a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
