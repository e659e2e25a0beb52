"""The optimiser of a run: Adam for every weight, or Muon for the trunk's convolutions and Adam for the rest."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from cclnn.models import SRModel

LEAST_WIDTH = 8  # channels in and out of a convolution whose kernel Muon takes
QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: the steepest start whose result stays within 0.7 and 1.2
ITERATIONS = 5


class MuonAdam(Optimizer):
    """Muon for `matrices`, Adam for `others`.   (Jordan et al. 2024; Kingma and Ba 2015)

    A kernel is a matrix M with a row per output channel. Its gradient's running mean, with Nesterov's look ahead, is
    replaced by the nearest matrix whose singular values are all about 1: M -= lr * (0.2 sqrt(max(rows, columns)) O +
    decay M). The factor gives O the size of a usual step of Adam, the decay bounds M, which steps of one size make grow
    as long as a run lasts (Liu et al. 2025, Moonlight, Eq. 3-4). torch.optim.Muon takes matrices alone and iterates in
    bfloat16, which processors without that format emulate; here kernels of one shape are iterated together, in float32.

    Args:
        matrices: weights of two or more dimensions.
        others: all other parameters.
        muon_lr, lr: highest learning rates of the two.
        decay: of the matrices; after 1 / (lr * decay) steps little is left of what they were.
        momentum: of Muon's running mean.
        betas, eps: of Adam.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        muon_lr: float,
        lr: float,
        decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        groups = [
            {"params": [*matrices], "rule": "muon", "lr": muon_lr, "highest": muon_lr, "decay": decay},
            {"params": [*others], "rule": "adam", "lr": lr, "highest": lr},
        ]
        super().__init__(groups, {"momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None  # accelerate has the argument, the loop does not use it
        for group in self.param_groups:
            learned = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._muon if group["rule"] == "muon" else self._adam)(group, learned)

    def _muon(self, group: dict[str, Any], kernels: list[nn.Parameter]) -> None:
        alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for kernel in kernels:
            alike[kernel.shape].append(kernel)
        for shape, some in alike.items():
            directions = torch.stack([self._look_ahead(kernel, group["momentum"]).flatten(1) for kernel in some])
            size = 0.2 * max(directions.shape[1:]) ** 0.5
            for kernel, direction in zip(some, orthogonalise(directions), strict=True):
                kernel.mul_(1 - group["lr"] * group["decay"]).sub_(direction.view(shape), alpha=group["lr"] * size)

    def _look_ahead(self, kernel: nn.Parameter, momentum: float) -> Tensor:
        assert kernel.grad is not None
        state = self.state[kernel]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(kernel)
        mean: Tensor = state["mean"]
        mean.lerp_(kernel.grad, 1 - momentum)
        return kernel.grad.lerp(mean, momentum)

    def _adam(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        beta1, beta2 = group["betas"]
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "mean" not in state:
                state.update(count=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
            state["count"] += 1
            state["mean"].lerp_(parameter.grad, 1 - beta1)
            state["square"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
            spread = (state["square"] / (1 - beta2 ** state["count"])).sqrt_().add_(group["eps"])
            parameter.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - beta1 ** state["count"]))


def make_optimizer(
    model: SRModel, *, kind: str, lr: float, muon_lr: float, beta2: float, muon_decay: float = 0.0
) -> Optimizer:
    """The optimiser that `--optimizer` names. Each of its groups has its highest learning rate as "highest".

    Raises:
        ValueError: Muon for a network without a convolution that it takes.
    """
    betas = (0.9, beta2)
    if kind == "adam":
        return Adam([{"params": [*model.parameters()], "highest": lr}], lr=lr, betas=betas, eps=1e-8, fused=True)
    matrices, others = divide(model)
    if not matrices:
        raise ValueError(
            f"{type(model).__name__} has no convolution of {LEAST_WIDTH} channels or more before its upscaling"
        )
    return MuonAdam(matrices, others, muon_lr=muon_lr, lr=lr, decay=muon_decay, betas=betas)


def divide(model: SRModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Kernels of the convolutions between image and upscaling, and all other parameters, which are Adam's."""
    matrices = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 4 and min(parameter.shape[:2]) >= LEAST_WIDTH and not model.architecture.upscales(name)
    }
    return [*matrices.values()], [parameter for name, parameter in model.named_parameters() if name not in matrices]


def orthogonalise(matrices: Tensor) -> Tensor:
    """U p(p(..p(S))) V^T for each matrix U S V^T, p = the quintic: all singular values come to about 1.

    p(X) = a X + b X X^T X + c X X^T X X^T X needs no decomposition (Newton-Schulz), for S between 0 and 1.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # Frobenius: no singular value is above 1
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
