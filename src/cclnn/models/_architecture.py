"""The record of an architecture: everything about it that the rest of the library needs to know, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from cclnn._typing import Tensor
from cclnn.hub.renames import pattern

Tensors: TypeAlias = Mapping[str, Tensor]
LowPrecision = Literal["bf16", "fp16"]
# (tensors under our names, arguments given by the caller) -> the arguments that shapes and values reveal.
Infer: TypeAlias = Callable[[Tensors, Mapping[str, Any]], dict[str, Any]]


def nothing_revealed(_tensors: Tensors, _given: Mapping[str, Any]) -> dict[str, Any]:
    """No argument: checkpoints have the sizes of the named models."""
    return {}


@dataclass(frozen=True)
class Released:
    """How checkpoints of the released code look, and how they become ours.

    `renames` are pairs of templates (official key, our key), tried in order, in either direction. `{i}` stands for
    digits, `*` for one name between dots, `**` for one or more; the same placeholders stand on both sides.

    Args:
        source: where the released code is published.
        license: identifier of the released code's licence, or its terms in two words; "none found" where neither a
            licence file nor the README of the repository states one.
        signature: template of a key that checkpoints of this architecture have, or several, of which they have one
            each. Where those of others have it too, the architecture is meant whose `renames` take every key.
        renames: pairs of templates; a key that none of them matches is an error.
        dropped: templates of official keys that hold nothing to keep; `restore` makes again those that a
            checkpoint must have.
        unpack: official tensors (without wrappers' prefixes) -> the tensors that `renames` takes, where values or
            shapes change, not names alone.
        restore: (our model, tensors under official names) -> the official state dict: the inverse of `unpack`.
    """

    source: str
    license: str
    signature: str | tuple[str, ...]
    renames: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...] = ()
    unpack: Callable[[Tensors], dict[str, Tensor]] | None = None
    restore: Callable[[Any, Tensors], dict[str, Tensor]] | None = None


@dataclass(frozen=True)
class Architecture:
    """A network family: its models by name, its source, and the facts that tiling, precision and tables need.

    Args:
        title: the name that its paper uses.
        paper: authors, year, title.
        year: of the paper.
        url: where the paper can be read.
        summary: what it is, what is new in it, which layer to borrow: a paragraph of docs/models.md.
        variants: name in `list_models()` -> the constructor arguments that differ from the defaults. The first is the
            one that a checkpoint of no known size takes its other arguments from.
        scales: the scales that it was designed for.
        parameters: name -> scale -> parameters, mean-shift scalars included: a contract that a test checks.
        receptive_radius: how far, in input pixels, an output pixel depends on the input: a function of the model, or
            "global" where it depends on the whole image.
        size_multiple: the network pads its input to a multiple of this many pixels (and crops its output).
        low_precision: number formats below float32 in which it is tested to work.
        input_channels: what the network itself looks at, "rgb" or "y" (luma); images are RGB in any case.
        input_range: value of white that released weights expect.
        upscaling: templates, as in `Released`, of parameters that make an image of one scale from features: those of
            another scale do not fit, and training with Muon leaves them to Adam.
        trained_apart: templates, as in `Released`, of parameters that the image does not depend on: a loss outside the
            network trains them.
        infer: (tensors under our names, arguments given by the caller) -> the constructor arguments that shapes and
            values reveal: none by default.
        unseen: arguments that change the output but that no checkpoint can reveal.
        released: how released checkpoints look; None where no code or weights were released.
        note: a restriction to print beside the name wherever models are listed.
        small: arguments that make every variant small enough for a test of a second.
    """

    title: str
    paper: str
    year: int
    url: str
    summary: str
    variants: Mapping[str, Mapping[str, Any]]
    scales: tuple[int, ...] = (2, 3, 4, 8)
    parameters: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    receptive_radius: Callable[[Any], int] | Literal["global"] = "global"
    size_multiple: int = 1
    low_precision: tuple[LowPrecision, ...] = ("bf16", "fp16")
    input_channels: Literal["rgb", "y"] = "rgb"
    input_range: float = 1.0
    upscaling: tuple[str, ...] = ("tail.**",)
    trained_apart: tuple[str, ...] = ()
    infer: Infer = nothing_revealed
    unseen: tuple[str, ...] = ()
    released: Released | None = None
    note: str = ""
    small: Mapping[str, Any] = field(default_factory=dict)

    def upscales(self, parameter: str) -> bool:
        """Whether the parameter of this name makes an image of one scale from features."""
        return any(pattern(template).fullmatch(parameter) for template in self.upscaling)

    def reach(self, model: Any) -> int | None:
        """Pixels to each side of an input pixel that its output depends on; None if on the whole image."""
        return None if self.receptive_radius == "global" else self.receptive_radius(model)
