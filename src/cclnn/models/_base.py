"""What every network of the library is: a module that knows its scale and how to build itself again."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Self


class SRModel(nn.Module):
    """A super-resolution network: image (b 3 h w) in [0, 1] to image (b 3 scale*h scale*w), not clamped.

    Args:
        scale: output size / input size.
        config: the architecture's own constructor arguments, JSON-able: `type(model)(**model.config)` is its twin.
    """

    def __init__(self, scale: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.scale = scale
        self.config = config

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], **options: Any) -> "Self":
        """`cclnn.load(source, **options)`, which must hold a model of this class."""
        from cclnn.hub.pretrained import load  # the hub imports the models; only these methods look back

        model = load(source, **options)
        if not isinstance(model, cls):
            held = type(model).__name__
            raise ValueError(f"`source`={str(source)!r} holds a model of class {held}, not {cls.__name__}.")
        return model

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        dtype: torch.dtype = torch.float32,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `config.json`, `model.safetensors` and `README.md` into `folder`, for `cclnn.load(folder)`.

        Args:
            folder: made if need be; each file is replaced as a whole.
            dtype: the weights are stored as torch.float32, torch.bfloat16 or torch.float16.
            card: facts for the model card, see `cclnn.hub.model_card`.
        """
        from cclnn.hub import checkpoint

        checkpoint.save_pretrained(self, folder, dtype=dtype, card=card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        message: str | None = None,
        dtype: torch.dtype = torch.float32,
        card: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, in one commit; the repository is made if need be.

        Args:
            repo_id: "org/repo" on the Hub.
            private: of a repository that is made now.
            token: of the Hub; None uses the one that `hf auth login` stored.
            message: of the commit.
            dtype, card: as in `save_pretrained`.

        Returns:
            What `cclnn.load` takes to load this very commit: "hf-hub:org/repo@commit".
        """
        from cclnn.hub.upload import push

        return push(self, repo_id, private=private, token=token, message=message, dtype=dtype, card=card)
