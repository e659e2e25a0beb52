"""Image quality metrics by the conventions of SR papers."""

from cclnn.metrics.fidelity import psnr, ssim

__all__ = ["psnr", "ssim"]
