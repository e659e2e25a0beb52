"""Measures of sparse attention: how pixels spread over buckets, what they attend to, and its effect on the result."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_shape
from cclnn._mode import evaluating
from cclnn._typing import Float, Tensor
from cclnn.attribution.blocks import attention_weights, layer_inputs
from cclnn.layers.non_local_sparse_attention import Match, NonLocalSparseAttention
from cclnn.metrics import psnr

Intervention = Literal["mean", "own", "zero"]
INTERVENTIONS: tuple[Intervention, ...] = get_args(Intervention)
BEST = 16  # true best matches of a token
SCORES = 2**24  # of sampled tokens with all tokens, held at once


@dataclass(frozen=True)
class LayerHealth:
    """What one non-local sparse attention does with one image.

    block:         name of the layer in the network
    tokens:        n, the pixels it attends between
    buckets:       effective buckets, exp of the entropy of the share of tokens in each bucket, mean over rounds
    n_buckets:     buckets that a round may use
    met:           tokens that a token attends to, mean
    participation: effective number of them, 1 / sum of w^2 over their weights w, mean
    dense:         the same for a softmax over all tokens: near `tokens` where all scores are alike
    cosine:        mean cosine of two queries: 1 where all have one direction
    recall:        share of the 16 tokens with the highest scores, itself left out, that a token attends to
    """

    block: str
    tokens: int
    buckets: float
    n_buckets: int
    met: float
    participation: float
    dense: float
    cosine: float
    recall: float


@dataclass(frozen=True)
class AttentionHealth:
    """The attentions of a network in its order, and how the result depends on them.

    change: intervention -> root mean square change of the output, white being 1
    psnr:   "none" and each intervention -> PSNR in dB against the reference image, on Y with `scale` pixels shaved;
            None without a reference image
    """

    layers: tuple[LayerHealth, ...]
    change: dict[Intervention, float]
    psnr: dict[str, float] | None

    def numbers(self) -> dict[str, float]:
        """All of it by name, for a log: "body.0/buckets", "change/zero", "psnr/mean"."""
        kinds = ("buckets", "met", "participation", "dense", "cosine", "recall")
        found = {f"{layer.block}/{kind}": float(getattr(layer, kind)) for layer in self.layers for kind in kinds}
        found.update({f"change/{name}": value for name, value in self.change.items()})
        found.update({f"psnr/{name}": value for name, value in (self.psnr or {}).items()})
        return found


@torch.no_grad()
def attention_health(
    model: nn.Module, image: Float[Tensor, "1 c h w"], hr: Tensor | None = None, *, samples: int = 256
) -> AttentionHealth:
    """Measure every `NonLocalSparseAttention` of a network on one image, in eval mode.

    The interventions replace what each pixel attends to, in all layers at once: by the mean of the values over the
    image ("mean"), by the pixel's own value ("own"), by nothing ("zero"). Where "mean" or "own" changes little, it does
    not matter which pixels attend to which.

    Args:
        model: any module from (1, c, h, w) to (1, c', H, W) with such layers.
        image: its input in [0, 1].
        hr: the reference image, for PSNR.
        samples: tokens whose weights and best matches are examined, drawn with a fixed seed; fewer for large images.

    Raises:
        ValueError: the network has no such layer, or `hr` is not as large as its output.
    """
    check_shape("image", image, "b c h w", b=1)
    check_at_least("samples", samples, 1)
    layers = tuple(
        _layer_health(name, layer, x, samples) for name, layer, x in layer_inputs(model, image, NonLocalSparseAttention)
    )
    if not layers:
        raise ValueError(f"`model` of class {type(model).__name__} has no non-local sparse attention.")
    with evaluating(model):
        output = model(image)
        if hr is not None and hr.shape != output.shape:
            raise ValueError(
                f"`hr` must have the shape of the model's output, {tuple(output.shape)}, got {tuple(hr.shape)}."
            )
        changed: dict[Intervention, Tensor] = {}
        for how in INTERVENTIONS:
            with replaced_attention(model, how):
                changed[how] = model(image)
    change = {how: (other - output).float().square().mean().sqrt().item() for how, other in changed.items()}
    if hr is None:
        return AttentionHealth(layers, change, None)
    border = hr.shape[2] // image.shape[2]
    results = [("none", output), *changed.items()]
    scores = {how: psnr(sr.float().clamp(0, 1), hr.float(), border=border).item() for how, sr in results}
    return AttentionHealth(layers, change, scores)


@contextmanager
def replaced_attention(model: nn.Module, how: Intervention) -> Iterator[None]:
    """Inside the `with` block, each `NonLocalSparseAttention` of the model returns the replacement that `how` names.

    After the block the model computes as before.

    Args:
        model: any module.
        how: "mean" (each pixel receives the mean of the values over the image), "own" (its own value) or "zero".
    """
    check_choice("how", how, INTERVENTIONS)

    def hook(layer: NonLocalSparseAttention, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        if how == "zero":
            return inputs[0]
        values = layer.values(inputs[0])
        return layer.add(inputs[0], values if how == "own" else values.mean(dim=1, keepdim=True).expand_as(values))

    hooks = [
        module.register_forward_hook(hook) for module in model.modules() if isinstance(module, NonLocalSparseAttention)
    ]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _layer_health(name: str, layer: NonLocalSparseAttention, x: Tensor, samples: int) -> LayerHealth:
    with evaluating(layer):
        match = layer.match(x)
    query = match.query.to(torch.promote_types(match.query.dtype, torch.float32))
    n = query.shape[1]
    samples = max(1, min(samples, n, SCORES // n))
    drawn = torch.randperm(n, generator=torch.Generator("cpu").manual_seed(0))[:samples].to(x.device)
    weights = attention_weights(query, match.plan, drawn)
    met = attention_weights(torch.zeros_like(query), match.plan, drawn) > 0  # equal scores: a weight for each token met
    unit = nn.functional.normalize(query[0], dim=-1)
    scores = query[0, drawn] @ unit.mT
    others = scores.scatter(1, drawn[:, None], -torch.inf)
    best = others.topk(min(BEST, n - 1), dim=-1).indices  # of one token there are none
    return LayerHealth(
        block=name,
        tokens=n,
        buckets=_effective_buckets(match),
        n_buckets=layer.n_buckets(n),
        met=met.sum(dim=-1).double().mean().item(),
        participation=_participation(weights),
        dense=_participation(scores.softmax(dim=-1)),
        cosine=((unit.sum(dim=0).square().sum() - n) / max(1, n * (n - 1))).item(),
        recall=met.gather(1, best).double().mean().item() if n > 1 else 1.0,
    )


def _participation(weights: Float[Tensor, "t n"]) -> float:
    return float((1 / weights.double().square().sum(dim=-1)).mean())


def _effective_buckets(match: Match) -> float:
    entropies = []
    for codes in match.codes[0]:
        share = codes.bincount().double() / len(codes)
        entropies.append(torch.special.entr(share).sum())
    return float(torch.stack(entropies).exp().mean())
