"""The skeleton of networks with feedback, which give an image in every iteration: SRFBN and its descendants."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_positive
from cclnn._typing import Float, Tensor
from cclnn.layers.mean_shift import MeanShift
from cclnn.models._base import SRModel


class FeedbackSR(SRModel):
    """sr_t = bilinear(x) + tail(h_t),  h_1, ..., h_T = iterate(head(x - mean)): sr_T is the result.

    A subclass says in `iterate` how the iterations follow from the features. Their weights are shared, so that the
    number of weights does not depend on T.

    Args:
        scale: output size / input size.
        channels: of every h_t.
        head: from the shifted image to features of the same size.
        n_steps: T.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made.
    """

    adds_bilinear: ClassVar[bool] = True
    """Whether bilinear(x) is added; otherwise the mean alone."""

    def __init__(
        self,
        scale: int,
        *,
        channels: int,
        head: nn.Module,
        n_steps: int,
        rgb_range: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("n_steps", n_steps, 1)
        check_positive("rgb_range", rgb_range)
        super().__init__(scale)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.rgb_range = rgb_range
        self.n_steps = n_steps
        self.sub_mean = MeanShift(rgb_range, sign=-1, **made)
        self.head = head
        self.tail = nn.Conv2d(channels, 3, 3, padding=1, **made)
        self.add_mean = MeanShift(rgb_range, sign=1, **made)

    def iterate(self, features: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c sh sw"]]:
        """h_1, ..., h_T."""
        raise NotImplementedError(f"{type(self).__name__} must define iterate.")

    def steps(self, x: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b 3 sh sw"]]:
        """The image after each iteration, in [0, 1] (not clamped)."""
        shifted = self.sub_mean(x * self.rgb_range)
        images = [self.tail(large) for large in self.iterate(self.head(shifted.to(self.tail.weight.dtype)))]
        if self.adds_bilinear:
            enlarged = F.interpolate(shifted, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
            images = [enlarged + image for image in images]
        return [self.add_mean(image) / self.rgb_range for image in images]

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], None]:
        return self.steps(x)[-1], None
