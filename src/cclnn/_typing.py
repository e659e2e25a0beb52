"""Shape annotations, real jaxtyping when it is installed (tests, editors), else plain tensors; and shared aliases."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8
else:
    try:
        from jaxtyping import Float, Int, UInt8
    except ImportError:

        class _Plain:
            """`Float[Tensor, "b c"]` is just `Tensor` where jaxtyping is absent."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Float = Int = UInt8 = _Plain

Progress = Callable[[int, int], None]  # called with (steps done, steps in all)

__all__ = ["Float", "Int", "Progress", "Tensor", "UInt8"]
