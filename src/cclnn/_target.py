"""The size an image is upscaled to, given as a factor, a side or an area; the passes of networks that reach it."""

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass

LARGEST = 8.0  # the largest factor; beyond it a network sees its own output more than the image
PASSES = 4  # enough for a factor of 8 by networks for x2


@dataclass(frozen=True)
class Target:
    """At most one of a factor, a width, a height and an area; the aspect is kept. With none, a network's own factor.

    scale:      output size / input size, 1 to 8; sides are rounded, half up
    width:      pixels per row of the output
    height:     rows of the output
    megapixels: millions of pixels of the output, but for rounding of its sides
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    megapixels: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            told = " and ".join(f"`{name}`={value}" for name, value in given.items())
            raise ValueError(f"at most one of scale, width, height and megapixels can be given, got {told}.")
        if self.scale is not None and not 1 <= self.scale <= LARGEST:
            raise ValueError(f"`scale` must lie between 1 and {LARGEST:g}, got {self.scale:g}.")
        for name, value in given.items():
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"`{name}` must be positive, got {value}.")

    @property
    def is_given(self) -> bool:
        """Whether anything is asked for."""
        return any(value is not None for value in vars(self).values())

    @property
    def label(self) -> str:
        """What a file's name says of it: x2, x1.5, w1920, h1080, 12mp; "" if nothing is asked for."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if self.width is not None:
            return f"w{self.width}"
        if self.height is not None:
            return f"h{self.height}"
        return f"{self.megapixels:g}mp" if self.megapixels is not None else ""

    def factor(self, height: int, width: int) -> float:
        """Output size / input size for an image of this size.

        Raises:
            ValueError: it is less than 1 or more than 8.
        """
        if self.scale is not None:
            return self.scale
        if self.width is not None:
            found = self.width / width
        elif self.height is not None:
            found = self.height / height
        else:
            assert self.megapixels is not None  # something is asked for
            found = math.sqrt(self.megapixels * 1e6 / (height * width))
        if not 1 <= found <= LARGEST:
            told = next(f"`{name}`={value:g}" for name, value in vars(self).items() if value is not None)
            raise ValueError(
                f"{told} is {found:.3g} times an image of {width} x {height} pixels; 1 to {LARGEST:g} is possible."
            )
        return found

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output for an image of this size."""
        factor = self.factor(height, width)
        rows, columns = (max(1, math.floor(length * factor + 0.5)) for length in (height, width))
        return self.height or rows, self.width or columns


def passes(factor: float, first: Collection[int], others: Collection[int]) -> tuple[int, ...]:
    """The scales of networks whose product reaches `factor`: as few as possible, then as small a product as possible.

    Args:
        factor: output size / input size.
        first: scales of the networks that can make the first pass.
        others: of those that can make the other passes.
    """
    for count in range(1, PASSES + 1):
        chains = itertools.product(sorted(first), *[sorted(others)] * (count - 1))
        enough = [chain for chain in chains if math.prod(chain) >= factor - 1e-9]
        if enough:
            return min(enough, key=math.prod)
    raise ValueError(
        f"networks for x{', x'.join(map(str, sorted({*first, *others})))} do not reach a factor of {factor:g}."
    )
