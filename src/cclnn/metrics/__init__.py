"""Image quality, measured as SR papers do."""

from cclnn.metrics.fidelity import psnr, ssim

__all__ = ["psnr", "ssim"]
