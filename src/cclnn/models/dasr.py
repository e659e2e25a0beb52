"""DASR: a network for unknown degradations, which it reads off the image (Wang et al. 2021)."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.degradation_aware import DegradationAwareGroup, DegradationEncoder, leaky
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._taking import take
from cclnn.models._trunk import ResidualSR, infer_trunk


class DASR(ResidualSR):
    """EDSR's trunk with degradation-aware groups: body(f, v), v = f(W encoder(x)), f(x) = max(x, 0.1 x).

    The encoder's features tell of the image's blur and noise; v, made of them once, makes the kernels and gates of all
    groups. Nothing but the image is needed: no kernel, no noise level.   (Wang et al. 2021, Fig. 2)

    Training has a second loss, which no single image shows: `cclnn.losses.MomentumContrast`, run on `encoder` with two
    patches of each image, gives it and the features, which `restore` takes. docs/training.md has a loop. In training
    `return_loss=True` gives a zero that depends on the encoder's last layers, since only that loss trains them; in this
    way every parameter has a gradient.

    Quirks: the whole image decides on v, so that parts of an image, as tiles, have other kernels than the whole; the
    encoder takes values up to white without subtracting the mean (docs/quirks.md).

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels of the network and of the encoder's first two convolutions.
        n_groups: degradation-aware groups.
        n_blocks: degradation-aware blocks in a group.
        reduction: the gates' bottleneck has channels // reduction units; must divide channels.
        hidden: feature channels of the encoder's middle two convolutions.
        features: entries of what the encoder says.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_groups: Depth = 5,
        n_blocks: Depth = 5,
        reduction: Width = 8,
        hidden: Width = 128,
        features: Width = 256,
        rgb_range: White = 255.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_groups", n_groups, 1)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            scale,
            channels=channels,
            blocks=(
                DegradationAwareGroup(channels, n_blocks=n_blocks, reduction=reduction, **made) for _ in range(n_groups)
            ),
            rgb_range=rgb_range,
            **made,
        )
        self.encoder = DegradationEncoder(channels, hidden=hidden, features=features, **made)
        self.represent = nn.Linear(features, channels, bias=False, **made)

    def restore(self, x: Float[Tensor, "b 3 h w"], features: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 sh sw"]:
        """The image, in [0, 1] (not clamped), given what the encoder, or momentum contrast, says of its degradation.

        Args:
            x: the image, in [0, 1].
            features: of `encoder(rgb_range * x)`, or of another image with the same degradation.
        """
        check_shape("x", x, "b c h w", c=3)
        check_shape("features", features, "b d", b=x.shape[0], d=self.represent.in_features)
        v = leaky(self.represent(features))
        shallow = self.head(self.sub_mean(x * self.rgb_range).to(self.head.weight.dtype))
        *groups, last = self.body
        deep = shallow
        for group in groups:
            deep = group(deep, v)
        image: Tensor = self.add_mean(self.tail(shallow + last(deep))) / self.rgb_range
        return image

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features, embedding = self.encoder((x * self.rgb_range).to(self.represent.weight.dtype))
        return self.restore(x, features), 0 * embedding.float().sum() if self.training else None


GATE = re.compile(r"\.ca\.conv_du\.\d\.weight$")
LAST_OF_GROUP = re.compile(r"^(G\.body\.\d+\.body)\.\d+\.(\w+)$")


def infer_dasr(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show: the trunk's, groups and blocks, the encoder's widths."""
    inferred = infer_trunk(tensors, given)
    del inferred["n_resblocks"]
    names = ("body.0.blocks.0.aware1.squeeze.weight", "encoder.body.6.weight", "represent.weight")
    squeeze, middle, represent = take(tensors, *names, of="a DASR")
    return {
        **inferred,
        "n_groups": sum(bool(re.fullmatch(r"body\.\d+\.conv\.weight", name)) for name in tensors),
        "n_blocks": sum(bool(re.fullmatch(r"body\.0\.blocks\.\d+\.conv1\.weight", name)) for name in tensors),
        "reduction": inferred["channels"] // squeeze.shape[0],
        "hidden": middle.shape[0],
        "features": represent.shape[1],
    }


def linear_gates(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gates' 1x1 convolutions as matrices; the convolution that ends a group, `body.5` of 5 blocks, as `last`."""
    return {
        LAST_OF_GROUP.sub(r"\1.last.\2", key): tensor.flatten(1) if GATE.search(key) else tensor
        for key, tensor in official.items()
    }


def convolved_gates(model: DASR, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `linear_gates`."""
    return {
        key.replace(".last.", f".{model.config['n_blocks']}."): tensor[:, :, None, None] if GATE.search(key) else tensor
        for key, tensor in official.items()
    }


DASR.architecture = Architecture(
    title="DASR",
    paper="Wang et al. 2021, Unsupervised Degradation Representation Learning for Blind Super-Resolution",
    year=2021,
    url="https://arxiv.org/abs/2104.00416",
    summary=(
        "A network for images of unknown blur and noise. New in it: an encoder, trained by a contrastive loss without "
        "labels, tells one degradation from another, and what it says makes the kernels and gates of the network's "
        "convolutions. Layers to borrow: `DegradationAwareConv`, `DegradationEncoder`."
    ),
    variants={"dasr": {}},
    scales=(2, 3, 4),
    parameters={"dasr": {2: 5_821_595, 3: 6_006_235, 4: 5_969_307}},
    receptive_radius="global",
    input_range=255.0,
    trained_apart=("encoder.head.**",),
    infer=infer_dasr,
    released=Released(
        source="https://github.com/LongguangWang/DASR",
        license="mit",
        signature="E.encoder_q.E.0.weight",
        renames=(
            ("G.sub_mean.*", "sub_mean.*"),
            ("G.add_mean.*", "add_mean.*"),
            ("G.head.0.*", "head.*"),
            ("G.compress.0.weight", "represent.weight"),
            *(
                (f"G.body.{{i}}.body.{{j}}.da_conv{n}.{theirs}", f"body.{{i}}.blocks.{{j}}.aware{n}.{ours}")
                for n in (1, 2)
                for theirs, ours in (
                    ("kernel.0.*", "kernel_hidden.*"),
                    ("kernel.2.*", "kernel.*"),
                    ("conv.*", "conv.*"),
                    ("ca.conv_du.0.*", "squeeze.*"),
                    ("ca.conv_du.2.*", "excite.*"),
                )
            ),
            ("G.body.{i}.body.{j}.conv1.*", "body.{i}.blocks.{j}.conv1.*"),
            ("G.body.{i}.body.{j}.conv2.*", "body.{i}.blocks.{j}.conv2.*"),
            ("G.body.{i}.body.last.*", "body.{i}.conv.*"),
            ("G.body.{i}.*", "body.{i}.*"),
            ("G.tail.**", "tail.**"),
            ("E.encoder_q.E.**", "encoder.body.**"),
            ("E.encoder_q.mlp.**", "encoder.head.**"),
        ),
        dropped=("E.encoder_k.**", "E.queue", "E.queue_ptr"),  # of momentum contrast, in training
        unpack=linear_gates,
        restore=convolved_gates,
    ),
    small={"channels": 16, "n_groups": 2, "n_blocks": 2, "hidden": 8, "features": 8},
)
