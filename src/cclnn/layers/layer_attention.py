"""Layer attention: attention between the outputs of a network's stages (HAN, Niu et al. 2020)."""

import torch
from torch import nn

from cclnn._autocast import without_autocast
from cclnn._checks import check_shape
from cclnn._typing import Float, Tensor


class LayerAttention(nn.Module):
    """out_i = m_i + gamma sum_j softmax over j of (-m_i . m_j) m_j, over all maps m_j.   (Niu et al. 2020, Sec. 3.2)

    m_i . m_j is the inner product over channels and pixels. gamma is one number, 0 at initialisation: the layer starts
    as the identity. Any number of maps and pixels.

    Quirks: the softmax is that of the *negated* products, as in the released code, so that the least similar map gets
    the most; products are not scaled, so that the softmax is nearly one-hot and depends on the number of pixels
    (docs/quirks.md). Products are computed in float32 or wider, with autocast off: float16 would overflow.

    Args:
        device, dtype: of the parameter, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import LayerAttention
    >>> maps = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 1, 2)  # two maps of one channel, 1x2 pixels
    >>> LayerAttention().shares(maps)
    tensor([[[0.2689, 0.7311],
             [0.7311, 0.2689]]])
    """

    def __init__(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))

    def shares(self, maps: Float[Tensor, "b m c h w"]) -> Float[Tensor, "b m m"]:
        """The share of map j (last axis) in the output for map i; float32 or wider."""
        check_shape("maps", maps, "b m c h w")
        vectors = maps.flatten(2)
        with without_autocast(maps):
            vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
            return (-torch.bmm(vectors, vectors.mT)).softmax(dim=2)

    def forward(self, maps: Float[Tensor, "b m c h w"]) -> Float[Tensor, "b m c h w"]:
        vectors, shares = maps.flatten(2), (self.gamma * self.shares(maps)).to(maps.dtype)
        with without_autocast(maps):
            return torch.baddbmm(vectors, shares, vectors).reshape(maps.shape)

    def extra_repr(self) -> str:
        return ""
