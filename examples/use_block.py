"""The CCLN block in a network of your own: a small denoiser, a few steps of training, a prediction.

python examples/use_block.py
"""

import torch
from torch import Tensor, nn

from cclnn import CCLNBlock
from cclnn.losses import CCLNNLoss


class Denoiser(nn.Module):
    """Image in, image out, one CCLN block in between; also returns the block's contrastive loss."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.block = CCLNBlock(channels, chunk_size=64, n_hashes=2)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, loss = self.block(self.head(x))
        return x + self.tail(features), loss


def main() -> None:
    torch.manual_seed(0)
    model = Denoiser(channels=32)
    objective = CCLNNLoss(warmup=10)  # the first 10 steps on L1 alone
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    clean = torch.rand(4, 3, 1, 1).expand(4, 3, 37, 29)
    for step in range(1, 31):
        noisy = clean + 0.1 * torch.randn_like(clean)
        restored, block_loss = model(noisy)
        loss = objective(restored, clean, block_loss, epoch=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()  # deterministic from here on
    with torch.no_grad():
        restored, _ = model(noisy)
    before, after = (noisy - clean).abs().mean(), (restored - clean).abs().mean()
    print(f"mean absolute error {before:.4f} -> {after:.4f}")
    assert after < before


if __name__ == "__main__":
    main()
