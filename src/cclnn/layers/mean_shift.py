"""Subtract or add the mean colour of the training set, as EDSR does around its network."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._autocast import without_autocast
from cclnn._checks import check_choice, check_shape
from cclnn._typing import Float, Tensor

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class MeanShift(nn.Module):
    """y = weight . x + bias per pixel, with weight = I and bias = sign * rgb_range * mean(DIV2K).

    Held as a 1x1 convolution in persistent buffers, as in released checkpoints (some of them trained it).
    Quirk: always computed in float32 or wider, with autocast off: bfloat16 has 8 bits of precision, an image more.

    Args:
        rgb_range: value of white, 1 or 255.
        sign: -1 to subtract the mean, +1 to add it.
        device, dtype: of the buffers, as for torch's own layers.

    >>> subtract, add = MeanShift(255.0), MeanShift(255.0, sign=1)
    >>> add(torch.zeros(1, 3, 1, 1)).flatten()
    tensor([114.4440, 111.4605, 103.0200])
    >>> add(subtract(torch.full((1, 3, 1, 1), 128.0))).flatten()
    tensor([128., 128., 128.])
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        rgb_range: float = 1.0,
        *,
        sign: Literal[-1, 1] = -1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_choice("sign", sign, (-1, 1))
        self.rgb_range = rgb_range
        self.sign = sign
        empty = torch.empty(0, device=device, dtype=dtype)  # where torch's own layers would hold their tensors
        # Computed on the CPU: on "meta", torch.eye would import torch's compiler, which takes seconds.
        wide = torch.promote_types(empty.dtype, torch.float32)
        mean = torch.tensor(DIV2K_MEAN, device="cpu", dtype=wide)
        self.register_buffer("weight", torch.eye(3, device="cpu")[:, :, None, None].to(empty))
        self.register_buffer("bias", (sign * rgb_range * mean).to(empty))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        check_shape("x", x, "b c h w", c=3)
        dtype = torch.promote_types(x.dtype, torch.float32)
        with without_autocast(x):
            return F.conv2d(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))

    def extra_repr(self) -> str:
        return f"{self.rgb_range}, sign={self.sign}"
