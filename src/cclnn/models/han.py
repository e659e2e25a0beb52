"""HAN: holistic attention network, RCAN with attention between layers (Niu et al. 2020)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cclnn._typing import Float, Tensor
from cclnn.layers.channel_spatial_attention import ChannelSpatialAttention
from cclnn.layers.layer_attention import LayerAttention
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._residual_groups import GROUPS, infer_groups, name_last, number_last, residual_groups
from cclnn.models._trunk import ResidualSR


class HAN(ResidualSR):
    """sr = tail(f + merge([CSA(m_0), merge_layers(LA(m_0 .. m_G))])) + mean,  f = head(x - mean).   (Niu et al. 2020)

    m_0 is the output of the body, RCAN's groups and a last convolution, m_1 .. m_G are the outputs of the groups, the
    last group's first: `layer_attention` (LA) mixes them all, `channel_spatial_attention` (CSA) gates m_0.

    Quirk: layer attention gives its weight to the map that is least similar, and nearly all of it to that one, whatever
    the features: a softmax of negated products without a scale, which also depends on the number of pixels
    (docs/quirks.md). Both attentions start as the identity.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        n_groups: G, residual groups; the released code works with 10 alone.
        n_blocks: residual channel attention blocks in a group.
        reduction: the attention's bottleneck has channels // reduction units; must divide channels.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_groups: Depth = 10,
        n_blocks: Depth = 20,
        reduction: Width = 16,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            scale,
            channels=channels,
            blocks=residual_groups(
                n_groups, channels=channels, n_blocks=n_blocks, reduction=reduction, device=device, dtype=dtype
            ),
            rgb_range=rgb_range,
            device=device,
            dtype=dtype,
        )
        made: dict[str, Any] = {"padding": 1, "device": device, "dtype": dtype}
        self.layer_attention = LayerAttention(device=device, dtype=dtype)
        self.merge_layers = nn.Conv2d((n_groups + 1) * channels, channels, 3, **made)
        self.channel_spatial_attention = ChannelSpatialAttention(device=device, dtype=dtype)
        self.merge = nn.Conv2d(2 * channels, channels, 3, **made)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features = self.head(self.sub_mean(x * self.rgb_range).to(self.head.weight.dtype))
        maps = self.stages(features)
        layers = self.merge_layers(self.layer_attention(maps).flatten(1, 2))
        deep = self.merge(torch.cat([self.channel_spatial_attention(maps[:, 0]), layers], dim=1))
        image: Tensor = self.add_mean(self.tail(features + deep)) / self.rgb_range
        return image, None

    def stages(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b m c h w"]:
        """The outputs of the body's modules, the last one first."""
        maps = []
        for block in self.body:
            features = block(features)
            maps.append(features)
        return torch.stack(maps[::-1], dim=1)


def with_flat_kernel(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`name_last`, and the 3-D kernel, (1, 1, 3, 3, 3), as one of three neighbouring channels, (1, 3, 3, 3)."""
    tensors = name_last(official)
    kernel = tensors.get("csa.conv.weight")
    deep = isinstance(kernel, Tensor) and kernel.ndim == 5  # anything else is left, for the caller to refuse
    return {**tensors, "csa.conv.weight": tensors["csa.conv.weight"].flatten(0, 1)} if deep else tensors


def with_deep_kernel(model: HAN, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `with_flat_kernel`."""
    tensors = number_last(model, official)
    return {**tensors, "csa.conv.weight": tensors["csa.conv.weight"][None]}


HAN.architecture = Architecture(
    title="HAN",
    paper="Niu et al. 2020, Single Image Super-Resolution via a Holistic Attention Network",
    year=2020,
    url="https://arxiv.org/abs/2008.08767",
    summary=(
        "RCAN's ten groups, whose outputs all reach the end. New in it: attention between layers, which mixes the "
        "outputs of the groups by their inner products, and a gate for every channel and pixel from a 3-D convolution. "
        "Layers to borrow: `LayerAttention`, `ChannelSpatialAttention`."
    ),
    variants={"han": {}},
    parameters={"han": {2: 15_924_057, 3: 16_108_697, 4: 16_071_769, 8: 16_219_481}},
    receptive_radius="global",
    input_range=255.0,
    infer=infer_groups,
    released=Released(
        source="https://github.com/wwlCape/HAN",
        license="apache-2.0",
        signature="la.gamma",
        renames=(
            ("la.gamma", "layer_attention.gamma"),
            ("csa.gamma", "channel_spatial_attention.gamma"),
            ("csa.conv.*", "channel_spatial_attention.conv.*"),
            ("last_conv.*", "merge_layers.*"),
            ("last.*", "merge.*"),
            *GROUPS,
        ),
        unpack=with_flat_kernel,
        restore=with_deep_kernel,
    ),
    small={"channels": 16, "n_groups": 2, "n_blocks": 2, "reduction": 4},
)
