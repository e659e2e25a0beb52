"""Shape annotations: real jaxtyping when it is installed (tests, editors), plain tensors otherwise."""

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

__all__ = ["Float", "Int", "Tensor", "UInt8"]
