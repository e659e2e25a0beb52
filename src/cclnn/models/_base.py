"""What every network of the library is: a module that knows its scale and how to build itself again."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from cclnn._checks import check_shape
from cclnn._eager import has_numbers
from cclnn._sizes import one_more
from cclnn._typing import Float, Tensor
from cclnn.hub.download import Access
from cclnn.hub.files import open_source
from cclnn.hub.upload import upload_folder
from cclnn.models import _files
from cclnn.models._architecture import Architecture
from cclnn.models._configured import ConfiguredModel
from cclnn.ops.sparse_attention import Backend

if TYPE_CHECKING:
    from typing_extensions import Self

LOOKS = 8  # images of each model: reading numbers off a GPU waits for it
FAR = 0.5  # outside [0, 1]: beyond what noise and resampling add


class SRModel(ConfiguredModel):
    """A super-resolution network: RGB image (b 3 h w) in [0, 1] to RGB image (b 3 scale*h scale*w), not clamped.

    `model(x)` is the image; `model(x, return_loss=True)` is the image and a 0-dim loss of the network's own, zero where
    there is none. Any h, w >= 1: what padding or luma handling a network needs is inside it. Whole numbers are refused.
    The first images that a model is given in eager mode are looked at: if one reaches far outside [0, 1], a warning
    says so, once.

    A subclass calls `super().__init__(scale)`, computes in `super_resolve`, and has its record in `architecture`.
    `model.config` is captured from the call of its constructor; `type(model)(**model.config)` has the same layers.

    Args:
        scale: output size / input size.
    """

    architecture: ClassVar[Architecture]
    _looks: int = LOOKS

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        """The image and the network's own loss, None where it has none; any floating dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define super_resolve.")

    def forward(
        self, x: Float[Tensor, "b 3 h w"], *, return_loss: bool = False
    ) -> Float[Tensor, "b 3 sh sw"] | tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""]]:
        check_shape("x", x, "b c h w", c=3)
        if not x.is_floating_point():
            raise TypeError(
                f"`x` must be a floating-point image, black 0 and white 1, got {x.dtype}. "
                f"Divide it by its white (x / 255 for 8 bits), or give it to cclnn.upscale."
            )
        if has_numbers(x) and self._looks:  # in this order: compiled code must not depend on the count
            self._looks = 0 if _warn_of_range(x) else self._looks - 1
        if x.shape[0]:
            sr, loss = self.super_resolve(x)
        else:
            sr, loss = self.super_resolve(one_more(x))
            sr, loss = sr[:0], None if loss is None else 0 * loss
        sr = sr.to(x.dtype)
        if not return_loss:
            return sr
        return sr, x.new_zeros((), dtype=torch.float32) if loss is None else loss

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        backend: Backend = "auto",
    ) -> "Self":
        """As `cclnn.load`, which documents the arguments; `source` must hold a model of this class."""

        def this_class(name: str) -> type["Self"]:
            if name != cls.__name__:
                raise ValueError(f"`source`={str(source)!r} holds a model of class {name}, not {cls.__name__}.")
            return cls

        access = Access(Path(cache_dir) if cache_dir else None, token, local_files_only)
        with open_source(source, access, revision=revision) as files:
            return _files.read_model(this_class, files, device=device, dtype=dtype, backend=backend)

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
        _files.save_folder(self, folder, dtype=dtype, card=card)

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
            private: whether a repository that is made now is private.
            token: access token; None uses the one that `hf auth login` stored.
            message: the commit's message.
            dtype, card: as in `save_pretrained`.

        Returns:
            What `cclnn.load` takes to load this very commit: "hf-hub:org/repo@commit".
        """
        with _files.saved_for(self, repo_id, dtype=dtype, card=card) as folder:
            return upload_folder(folder, repo_id, private=private, token=token, message=message)


def _warn_of_range(x: Float[Tensor, "b 3 h w"]) -> bool:
    """Warn if numbers lie far outside [0, 1]; whether they did."""
    if not x.numel():
        return False
    least, most = (bound.item() for bound in x.detach().aminmax())
    far = least < -FAR or most > 1 + FAR
    if far:
        text = f"`x` should be an image with black 0 and white 1, got numbers from {least:.4g} to {most:.4g}."
        warnings.warn(text, RuntimeWarning, stacklevel=5)
    return far
