"""RNAN: residual non-local attention network (Zhang et al. 2019)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from cclnn._checks import check_at_least
from cclnn._typing import Float, Tensor
from cclnn.layers.residual_attention import ResidualAttention
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._trunk import LAST, TRUNK, ResidualSR, infer_trunk


class RNAN(ResidualSR):
    """Residual local attention between two residual non-local attentions, in EDSR's trunk.   (Zhang 2019, Fig. 2)

    Every pixel meets every other in `low` and `high`, in blocks of scores: memory of a non-local attention beyond its
    features is 4 h w (2 channels) + 32 MiB bytes in float32, see `NonLocalBlock`; time grows with (h w)^2. Inference on
    256x256 pixels takes 347 MiB; training also keeps the features of all its convolutions, as any network does.

    Quirks: the softmax runs over queries, as in the released code; any size works, where the released code needs even
    ones; the mean shifts are constants here, and copied from checkpoints, whose code trains them (docs/quirks.md).
    float16 overflows from some thousand pixels on: with the softmax over queries the weights that a pixel gives to
    others may sum to their number.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels; must be even.
        n_groups: attentions, the two non-local ones included.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_groups: Depth = 10,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_groups", n_groups, 2)
        super().__init__(
            scale,
            channels=channels,
            blocks=(ResidualAttention(channels, device=device, dtype=dtype) for _ in range(n_groups - 2)),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )
        self.low = ResidualAttention(channels, non_local=True, device=device, dtype=dtype)
        self.high = ResidualAttention(channels, non_local=True, device=device, dtype=dtype)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features = self.head(self.sub_mean(x * self.rgb_range).to(self.head.weight.dtype))
        deep = self.low(features)
        for block in self.body:
            deep = block(deep)
        image: Tensor = self.add_mean(self.tail(features + self.high(deep))) / self.rgb_range
        return image, None


def attention_renames(official: str, ours: str, *, non_local: bool) -> Iterator[tuple[str, str]]:
    """The rules of one residual attention."""
    module = f"{official}.body.0"
    first = f"{module}.RA_MB.0.MB_RB1.{int(non_local)}"
    blocks = {
        f"{module}.RA_RB1.0": "first",
        f"{module}.RA_TB.0.body.{{j}}": "trunk.{j}",
        first: "mask.first",
        f"{module}.RA_MB.0.MB_RB2.{{j}}": "mask.coarse.{j}",
        f"{module}.RA_MB.0.MB_RB3.0": "mask.last",
        f"{module}.RA_tail.{{j}}": "tail.{j}",
    }
    for theirs, name in blocks.items():
        yield f"{theirs}.body.0.*", f"{ours}.{name}.conv1.*"
        yield f"{theirs}.body.2.*", f"{ours}.{name}.conv2.*"
    for theirs, name in {"MB_Down": "down", "MB_Up": "up", "MB_1x1conv": "gate"}.items():
        yield f"{module}.RA_MB.0.{theirs}.0.*", f"{ours}.mask.{name}.*"
    if non_local:
        for theirs, name in {"theta": "query", "phi": "key", "g": "value", "W": "out"}.items():
            yield f"{module}.RA_MB.0.MB_RB1.0.{theirs}.*", f"{ours}.mask.attention.{name}.*"
    yield f"{official}.body.1.*", f"{ours}.conv.*"


def infer_rnan(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show."""
    local = sum(bool(re.fullmatch(r"body\.\d+\.conv\.weight", name)) for name in tensors)
    inferred = infer_trunk(tensors, given)
    del inferred["n_resblocks"]
    return {**inferred, "n_groups": local + 2}


RNAN.architecture = Architecture(
    title="RNAN",
    paper="Zhang et al. 2019, Residual Non-local Attention Networks for Image Restoration",
    year=2019,
    url="https://arxiv.org/abs/1903.10082",
    summary=(
        "Eight residual local attentions between two residual non-local ones. New in it: a mask branch that shrinks, "
        "looks around and enlarges again gates the features of a trunk branch, and begins with dense non-local "
        "attention in the first and last module. Layers to borrow: `NonLocalBlock`, `AttentionMask`, "
        "`ResidualAttention`."
    ),
    variants={"rnan": {}},
    parameters={"rnan": {2: 9_107_291, 3: 9_291_931, 4: 9_255_003}},
    receptive_radius="global",
    low_precision=("bf16",),  # float16 overflows: over queries, a pixel may gather every other's value with weight 1
    input_range=255.0,
    infer=infer_rnan,
    released=Released(
        source="https://github.com/yulunzhang/RNAN",
        license="none found",
        signature="body_nl_low.0.body.0.RA_RB1.0.body.0.weight",
        renames=(
            *TRUNK[:5],
            *attention_renames("body_nl_low.0", "low", non_local=True),
            *attention_renames("body_nl_high.0", "high", non_local=True),
            *attention_renames("body.{i}", "body.{i}", non_local=False),
            *LAST,
        ),
    ),
    small={"channels": 8, "n_groups": 3},
)
