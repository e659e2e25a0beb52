"""Two networks of your own, each with a block of cclnn, some steps of training and a prediction: a plain residual
network of layers in sequence with `CCLNBlock`, and a small U-Net with `NonLocalSparseAttention`.

python examples/use_block.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cclnn import CCLNBlock, NonLocalSparseAttention
from cclnn.losses import CCLNNLoss, collect_losses

STEPS = 30
WARMUP = 10  # steps on the L1 loss alone


class Residual(nn.Module):
    """x + body(x): the body is a plain sequence, so its blocks pass on features alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            CCLNBlock(channels, chunk_size=64, n_hashes=2, return_loss=False),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            CCLNBlock(channels, chunk_size=64, n_hashes=2, return_loss=False, seed=1),
            nn.Conv2d(channels, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        deep: Tensor = self.body(x)
        return x + deep


class UNet(nn.Module):
    """Two sizes; at the smaller one, where pixels are fewest, each attends to those that are like it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.attention = NonLocalSparseAttention(channels, chunk_size=64, n_hashes=2)
        self.up = nn.Conv2d(channels, channels, 3, padding=1)
        self.decode = nn.Conv2d(2 * channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.encode(x).relu()
        small = self.attention(self.down(skip).relu())
        large = F.interpolate(self.up(small).relu(), size=x.shape[2:])
        image: Tensor = x + self.decode(torch.cat([skip, large], dim=1))
        return image


def train_with_losses(model: nn.Module, clean: Tensor) -> None:
    """Train on the reconstruction, and after the warm-up on the losses of the blocks too."""
    objective = CCLNNLoss(warmup=WARMUP)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(1, STEPS + 1):
        noisy = clean + 0.1 * torch.randn_like(clean)
        with collect_losses(model) as losses:
            restored = model(noisy)
        block_loss = losses.mean()
        loss = objective(restored, clean, block_loss, epoch=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (1, STEPS):
            l1 = F.l1_loss(restored, clean).item()
            print(f"  step {step}: L1 {l1:.4f}, contrastive loss of the blocks {block_loss.item():.4f}")


def train_plainly(model: nn.Module, clean: Tensor) -> None:
    """Train on the reconstruction: a sparse attention has no loss of its own."""
    objective = nn.L1Loss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(1, STEPS + 1):
        restored = model(clean + 0.1 * torch.randn_like(clean))
        loss = objective(restored, clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (1, STEPS):
            print(f"  step {step}: L1 {loss.item():.4f}")


def main() -> None:
    torch.manual_seed(0)
    clean = torch.rand(4, 3, 1, 1).expand(4, 3, 37, 29)
    noisy = clean + 0.1 * torch.randn_like(clean)
    for name, model, train in (
        ("residual network with CCLNBlock", Residual(channels=32), train_with_losses),
        ("U-Net with NonLocalSparseAttention", UNet(channels=16), train_plainly),
    ):
        print(name)
        train(model, clean)
        model.eval()  # deterministic from here on
        with torch.no_grad():
            restored = model(noisy)
        before, after = (noisy - clean).abs().mean(), (restored - clean).abs().mean()
        print(f"  mean absolute error {before:.4f} -> {after:.4f}")
        assert after < before


if __name__ == "__main__":
    main()
