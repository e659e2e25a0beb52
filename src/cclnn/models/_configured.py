"""A module that remembers the call that made it: what files need to know of a model."""

from typing import TYPE_CHECKING, Any

from torch import nn

from cclnn._arguments import captured

if TYPE_CHECKING:
    from typing_extensions import Self


class ConfiguredModel(nn.Module):
    """`config` is captured from the call of the constructor: `type(model)(**model.config)` has the same layers.

    It holds every argument but `backend`, `device` and `dtype`, as JSON values, and is what config.json stores.
    """

    config: dict[str, Any]
    scale: int

    def __new__(cls, *args: Any, **kwargs: Any) -> "Self":
        model = super().__new__(cls)
        model.config = captured(cls, args, kwargs)
        return model

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
