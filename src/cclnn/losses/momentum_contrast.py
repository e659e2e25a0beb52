"""Momentum contrast (MoCo, He et al. 2020), by which DASR learns to distinguish degradations (Wang et al. 2021)."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_floating, check_positive, check_shape
from cclnn._typing import Float, Int, Tensor


def momentum_contrast_loss(
    query: Float[Tensor, "b d"], key: Float[Tensor, "b d"], queue: Float[Tensor, "d k"], *, temperature: float = 0.07
) -> Float[Tensor, ""]:
    """-log(exp(q . k / T) / (exp(q . k / T) + sum_j exp(q . n_j / T))), averaged over images.   (He et al. 2020, Eq. 1)

    q and k are the embeddings divided by their norms; the n_j are the columns of the queue, as they are.

    Args:
        query: embeddings of patches, of any norm.
        key: embeddings of other patches of the same degradation; no gradient is needed.
        queue: embeddings of other degradations, of norm 1.
        temperature: T.

    Returns:
        0-dim tensor, float32 or wider.

    >>> import torch
    >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0], [1.0]])
    >>> momentum_contrast_loss(a, a, b, temperature=1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    scores = contrast_scores(query, key, queue, temperature=temperature)
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))


def contrast_scores(
    query: Float[Tensor, "b d"], key: Float[Tensor, "b d"], queue: Float[Tensor, "d k"], *, temperature: float = 0.07
) -> Float[Tensor, "b k+1"]:
    """[q . k, q . n_1, q . n_2, ...] / T of each image, q and k divided by their norms; float32 or wider."""
    check_floating("query", query)
    check_shape("query", query, "b d")
    check_shape("key", key, "b d", b=query.shape[0], d=query.shape[1])
    check_shape("queue", queue, "d k", d=query.shape[1])
    check_positive("temperature", temperature)
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(query.dtype, torch.float32)
        q, k = (F.normalize(x.to(dtype), dim=1) for x in (query, key))
        return torch.cat([(q * k).sum(dim=1, keepdim=True), q @ queue.to(dtype)], dim=1) / temperature


class MomentumContrast(nn.Module):
    """The key encoder and the queue of momentum contrast: `moco(encoder, queries, keys)` is one step of training.

    The key encoder begins as a copy of `encoder`; each step moves its parameters by key <- m key + (1 - m) query. It
    has no gradient. The queue holds the embeddings of the last `queue_size` keys; at first, random ones.
    (He et al. 2020, Sec. 3.2)

    Quirks: only parameters are averaged, buffers are not: batch normalisation of the key encoder keeps its own
    statistics; the queue must be a whole number of batches (docs/quirks.md).

    Args:
        encoder: a module whose result is (features, embedding), as `cclnn.layers.DegradationEncoder`; copied.
        width: entries of an embedding.
        queue_size: K, embeddings kept.
        momentum: m; 0 <= m < 1.
        temperature: T of the loss.

    >>> import torch
    >>> from cclnn.layers import DegradationEncoder
    >>> encoder = DegradationEncoder(4, hidden=4, features=8)
    >>> moco = MomentumContrast(encoder, width=8, queue_size=6)
    >>> patches = torch.rand(2, 2, 3, 16, 16)  # images, patches of each
    >>> features, loss = moco(encoder, patches[:, 0], patches[:, 1])
    >>> features.shape, loss.shape, moco.position.item()
    (torch.Size([2, 8]), torch.Size([]), 2)
    """

    queue: Tensor
    position: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        width: int = 256,
        queue_size: int = 8192,
        momentum: float = 0.999,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        check_at_least("width", width, 1)
        check_at_least("queue_size", queue_size, 1)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must lie between 0 and 1, got {momentum}.")
        self.momentum = momentum
        self.temperature = temperature
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        like = next(encoder.parameters())
        drawn = torch.randn(width, queue_size, device=like.device, dtype=like.dtype)
        self.register_buffer("queue", F.normalize(drawn, dim=0))
        self.register_buffer("position", torch.zeros((), dtype=torch.long, device=like.device))

    def forward(
        self, encoder: nn.Module, queries: Float[Tensor, "b 3 h w"], keys: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, ""]]:
        """One step: follow the encoder, compare, and store the keys.

        Args:
            encoder: the one that is trained.
            queries, keys: two patches of each image, with the same degradation; their number divides `queue_size`.

        Returns:
            `(features, loss)`: the encoder's features of the queries, for the network, and the contrastive loss.
        """
        size = self.queue.shape[1]
        if size % len(keys):
            raise ValueError(f"`keys`: a batch of {len(keys)} does not divide the queue of {size}.")
        features, embedding = encoder(queries)
        with torch.no_grad():
            self.follow(encoder)
            key = F.normalize(self.key_encoder(keys)[1], dim=1)
        loss = momentum_contrast_loss(embedding, key, self.queue.clone(), temperature=self.temperature)
        self.store(key)
        return features, loss

    @torch.no_grad()
    def follow(self, encoder: nn.Module) -> None:
        """key <- m key + (1 - m) encoder, for every parameter."""
        for key, query in zip(self.key_encoder.parameters(), encoder.parameters(), strict=True):
            key.mul_(self.momentum).add_(query, alpha=1 - self.momentum)

    @torch.no_grad()
    def store(self, key: Float[Tensor, "b d"]) -> None:
        """Put normalised embeddings in the place of the oldest."""
        self.queue[:, self._columns(len(key))] = key.mT.to(self.queue.dtype)
        self.position.add_(len(key)).remainder_(self.queue.shape[1])

    def _columns(self, count: int) -> Int[Tensor, " b"]:
        return self.position + torch.arange(count, device=self.position.device)

    def extra_repr(self) -> str:
        width, size = self.queue.shape
        return f"width={width}, queue_size={size}, momentum={self.momentum}, temperature={self.temperature}"
