"""VDSR: very deep super-resolution (Kim et al. 2016)."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cclnn._checks import check_at_least, check_positive
from cclnn._typing import Float, Tensor
from cclnn.layers.mean_shift import MeanShift
from cclnn.models._architecture import Architecture, Released
from cclnn.models._arguments import Depth, Scale, White, Width
from cclnn.models._enlarged import Colours, EnlargedSR, enlarged_radius
from cclnn.models._taking import take
from cclnn.models._trunk import infer_white


class VDSR(EnlargedSR):
    """y = x + conv(relu(conv(... relu(conv(x))))), all 3x3, on the luma of the bicubic image.   (Kim 2016, Fig. 1)

    Quirk: the authors released no PyTorch code. The defaults are the paper's: luma, with biases, 665,921 parameters,
    the 0.67 M of CCLN's Table 5. Two ports differ and are arguments here: RGB with mean shift (668,227), and luma
    without biases (664,704, which rounds to 0.66 M) (docs/quirks.md).

    Args:
        scale: 1 or more; the network is the same for each.
        channels: feature channels.
        n_layers: convolutions.
        colours: "y" or "rgb".
        bias: whether the convolutions have biases.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made, as in torch's own modules.
    """

    def __init__(
        self,
        scale: Scale = 2,
        *,
        channels: Width = 64,
        n_layers: Depth = 20,
        colours: Colours = "y",
        bias: bool = True,
        rgb_range: White = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("channels", channels, 1)
        check_at_least("n_layers", n_layers, 2)
        check_positive("rgb_range", rgb_range)
        super().__init__(scale, colours=colours)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        ends = 3 if colours == "rgb" else 1
        widths = [ends, *[channels] * (n_layers - 1), ends]
        self.rgb_range = rgb_range
        if colours == "rgb":
            self.sub_mean = MeanShift(rgb_range, sign=-1, **made)
            self.add_mean = MeanShift(rgb_range, sign=1, **made)
        self.body = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=bias, **made) for i in range(n_layers)
        )

    def refine(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = image * self.rgb_range
        if self.colours == "rgb":
            x = self.sub_mean(x)
        first = self.body[0]
        assert isinstance(first, nn.Conv2d)  # made above
        deep = x.to(first.weight.dtype)
        for i, conv in enumerate(self.body):
            deep = conv(deep.relu() if i else deep)
        refined = x + deep
        return (self.add_mean(refined) if self.colours == "rgb" else refined) / self.rgb_range


def same_names(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the port for luma (input, residual_layer, output) as those of the port for RGB (body.i.0)."""
    layers = sum(bool(re.fullmatch(r"residual_layer\.\d+\.conv\.weight", key)) for key in official)
    named = {}
    for key, tensor in official.items():
        if found := re.fullmatch(r"residual_layer\.(\d+)\.conv\.(\w+)", key):
            named[f"body.{int(found[1]) + 1}.0.{found[2]}"] = tensor
        elif found := re.fullmatch(r"(input|output)\.(\w+)", key):
            named[f"body.{0 if found[1] == 'input' else layers + 1}.0.{found[2]}"] = tensor
        else:
            named[key] = tensor
    return named


def port_names(model: VDSR, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `same_names`, for a model of luma."""
    if model.colours == "rgb":
        return dict(official)
    last = int(model.config["n_layers"]) - 1
    named = {}
    for key, tensor in official.items():
        _, number, _, kind = key.split(".")
        i = int(number)
        inner = f"residual_layer.{i - 1}.conv.{kind}"
        named[f"input.{kind}" if i == 0 else f"output.{kind}" if i == last else inner] = tensor
    return named


def infer_vdsr(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show; the scale is none of them."""
    (first,) = take(tensors, "body.0.weight", of="a VDSR")
    inferred: dict[str, Any] = {
        "channels": first.shape[0],
        "n_layers": sum(bool(re.fullmatch(r"body\.\d+\.weight", name)) for name in tensors),
        "colours": "rgb" if first.shape[1] == 3 else "y",
        "bias": "body.0.bias" in tensors,
    }
    if "sub_mean.bias" in tensors and "rgb_range" not in given:
        inferred["rgb_range"] = infer_white(tensors["sub_mean.bias"])
    return inferred


def vdsr_radius(model: VDSR) -> int:
    """Every layer looks one enlarged pixel further."""
    return enlarged_radius(int(model.config["n_layers"]), model.scale)


VDSR.architecture = Architecture(
    title="VDSR",
    paper="Kim et al. 2016, Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
    year=2016,
    url="https://arxiv.org/abs/1511.04587",
    summary=(
        "Twenty 3x3 convolutions on the luma of the image enlarged by bicubic interpolation. New in it: depth, and "
        "that the network learns only what bicubic interpolation leaves out. One network serves every scale. Layer to "
        "borrow: none, it is plain convolutions and a skip."
    ),
    variants={"vdsr": {}},
    scales=(2, 3, 4),
    parameters={"vdsr": {2: 665_921, 3: 665_921, 4: 665_921}},
    receptive_radius=vdsr_radius,
    upscaling=(),
    input_channels="y",
    infer=infer_vdsr,
    unseen=("scale", "rgb_range"),
    released=Released(
        source="https://github.com/twtygqyy/pytorch-vdsr",
        license="none found",
        signature=("residual_layer.0.conv.weight", "body.0.0.weight"),  # of the port for luma, and of that for RGB
        renames=(
            ("sub_mean.*", "sub_mean.*"),
            ("add_mean.*", "add_mean.*"),
            ("body.{i}.0.*", "body.{i}.*"),
        ),
        unpack=same_names,
        restore=port_names,
    ),
    small={"channels": 8, "n_layers": 4},
)
