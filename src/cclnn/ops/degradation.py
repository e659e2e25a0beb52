"""The degradation model of blind super-resolution: blur, reduce, add noise, round (DASR, Wang et al. 2021)."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_floating, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops.resize import imresize

KERNEL_SIZE = 21


@dataclass(frozen=True)
class Degradation:
    """What is done to each image of a batch: an elliptic Gaussian blur and noise.

    Args:
        sigma: standard deviations of the blur along its two axes, in pixels of the large image; equal for a round one,
            0 and 0 for none.
        angle: of the first axis, in radians from the right, positive towards the lower edge.
        noise: standard deviation of the noise, in the image's units.
    """

    sigma: Float[Tensor, "b 2"]
    angle: Float[Tensor, " b"]
    noise: Float[Tensor, " b"]

    def kernels(self, size: int = KERNEL_SIZE) -> Float[Tensor, "b size size"]:
        """`gaussian_kernels` of this blur."""
        return gaussian_kernels(self.sigma, self.angle, size=size)


def gaussian_kernels(
    sigma: Float[Tensor, "b 2"], angle: Float[Tensor, " b"], *, size: int = KERNEL_SIZE
) -> Float[Tensor, "b size size"]:
    """k(p) = exp(-p' S^-1 p / 2) / sum,  S = R diag(sigma_1^2, sigma_2^2) R',  R a rotation.   (Wang et al. 2021)

    p = (column, row) runs over a square of `size` x `size` pixels around its centre.

    Quirk: sigma are standard deviations, although DASR's options call them eigenvalues of the covariance S
    (docs/quirks.md). Where both are 0 the kernel is 1 in its centre: no blur.

    Args:
        sigma: one pair per image, in pixels; both positive or both 0.
        angle: in radians; 0 puts the first axis along rows, positive angles turn it from right towards down.
        size: odd side of the kernel.

    >>> import torch
    >>> gaussian_kernels(torch.tensor([[1.0, 1.0]]), torch.zeros(1), size=3)
    tensor([[[0.0751, 0.1238, 0.0751],
             [0.1238, 0.2042, 0.1238],
             [0.0751, 0.1238, 0.0751]]])
    """
    check_floating("sigma", sigma)
    check_shape("sigma", sigma, "b 2")
    check_shape("angle", angle, "b", b=len(sigma))
    check_size(size)
    none = sigma.eq(0).all(dim=1)
    if not (sigma.gt(0).all(dim=1) | none).all():
        raise ValueError(f"`sigma` must be positive, or 0 along both axes, got {sigma.tolist()}.")
    steps = torch.arange(size, device=sigma.device, dtype=sigma.dtype) - size // 2
    column, row = steps[None, None, :], steps[None, :, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    first, second = torch.where(none[:, None], 1.0, sigma)[:, :, None, None].unbind(1)
    along, across = (cosine * column + sine * row) / first, (cosine * row - sine * column) / second
    kernels = torch.exp(-(along.square() + across.square()) / 2)
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    point = (column.eq(0) & row.eq(0)).to(kernels)
    return torch.where(none[:, None, None], point, kernels)


def blur(image: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b k k"]) -> Float[Tensor, "b c h w"]:
    """Every channel of each image correlated with the image's own kernel; borders are mirrored, edge pixels not twice.

    Args:
        image: each side longer than half a kernel.
        kernels: one per image, of odd side.

    >>> import torch
    >>> mean = torch.full((1, 3, 3), 1 / 9)
    >>> blur(torch.tensor([[[[9.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]]), mean)[0, 0]
    tensor([[1., 1., 0.],
            [1., 1., 0.],
            [0., 0., 0.]])
    """
    check_floating("image", image)
    check_shape("image", image, "b c h w")
    size = kernels.shape[-1]
    check_shape("kernels", kernels, "b k k", b=len(image), k=size)
    check_size(size)
    half = size // 2
    if min(image.shape[2:]) <= half:
        raise ValueError(f"`image` must have sides longer than {half} for kernels of {size}, got {tuple(image.shape)}.")
    padded = F.pad(image, (half, half, half, half), mode="reflect")
    planes = rearrange(padded, "b c h w -> c b h w")  # one group per image
    blurred = F.conv2d(planes, kernels[:, None].to(image.dtype), groups=len(image))
    return rearrange(blurred, "c b h w -> b c h w")


def degrade(
    image: Float[Tensor, "b c h w"],
    degradation: Degradation,
    *,
    scale: int,
    size: int = KERNEL_SIZE,
    normal: Float[Tensor, "b c hs ws"] | None = None,
    generator: torch.Generator | None = None,
    rgb_range: float = 1.0,
) -> Float[Tensor, "b c hs ws"]:
    """y = round(reduce(k * x) + sigma n): blur, bicubic reduction, noise, then 256 levels.   (Wang et al. 2021, Eq. 1)

    Nothing is rounded before the end; there the image is clamped to [0, rgb_range] and rounded, half to even.

    Args:
        image: x, in [0, rgb_range]; sides that are multiples of the scale and longer than half a kernel.
        degradation: the blur and the noise of each image.
        scale: an integer; y is 1/scale times as large.
        size: odd side of the blur's kernels.
        normal: n, standard normal numbers of the output's shape; None draws them.
        generator: what draws n, on the image's device; None is torch's default one.
        rgb_range: value of white.

    >>> import torch
    >>> none = Degradation(sigma=torch.zeros(1, 2), angle=torch.zeros(1), noise=torch.zeros(1))
    >>> degrade(torch.full((1, 3, 12, 14), 0.5), none, scale=2).unique() * 255  # 127.5 is rounded to an even number
    tensor([128.])
    """
    check_shape("image", image, "b c h w")
    check_at_least("scale", scale, 1)
    b, c, height, width = image.shape
    if height % scale or width % scale:
        raise ValueError(f"`image` must have sides that are multiples of `scale`={scale}, got {tuple(image.shape)}.")
    small = imresize(blur(image, degradation.kernels(size).to(image.device)), size=(height // scale, width // scale))
    if normal is None:
        normal = torch.randn(small.shape, generator=generator, device=small.device, dtype=small.dtype)
    check_shape("normal", normal, "b c hs ws", b=b, c=c, hs=height // scale, ws=width // scale)
    noisy = small + degradation.noise.to(small)[:, None, None, None] * normal
    levels = 255 / rgb_range
    return (noisy * levels).round().clamp(0, 255) / levels


def draw_degradation(
    count: int,
    *,
    isotropic: bool = False,
    sigma: tuple[float, float] = (0.2, 4.0),
    noise: tuple[float, float] = (0.0, 25 / 255),
    uniform: Float[Tensor, "4 b"] | None = None,
    generator: torch.Generator | None = None,
) -> Degradation:
    """A random degradation for each of `count` images, uniform in its parameters.   (Wang et al. 2021, training)

    The defaults are DASR's general case. Its simple case is `isotropic=True, noise=(0, 0)`.

    Args:
        count: images.
        isotropic: round blurs, with both standard deviations equal and angle 0.
        sigma: smallest and largest standard deviation of the blur, in pixels.
        noise: smallest and largest standard deviation of the noise, in the image's units: of an image in [0, 1].
        uniform: numbers in [0, 1) for the angle, both deviations and the noise; None draws them.
        generator: what draws them, on the CPU; None is torch's default one.

    >>> import torch
    >>> drawn = draw_degradation(2, uniform=torch.tensor([[0.5], [0.0], [1.0], [0.0]]).expand(4, 2))
    >>> drawn.sigma, drawn.angle
    (tensor([[0.2000, 4.0000],
            [0.2000, 4.0000]]), tensor([1.5708, 1.5708]))
    """
    check_at_least("count", count, 1)
    check_range("sigma", sigma)
    check_range("noise", noise)
    if uniform is None:
        uniform = torch.rand(4, count, generator=generator, device="cpu")
    check_shape("uniform", uniform, "u b", u=4, b=count)
    angle = torch.zeros_like(uniform[0]) if isotropic else math.pi * uniform[0]
    deviations = uniform[1:2].expand(2, -1) if isotropic else uniform[1:3]
    return Degradation(
        sigma=(sigma[0] + (sigma[1] - sigma[0]) * deviations).mT,
        angle=angle,
        noise=noise[0] + (noise[1] - noise[0]) * uniform[3],
    )


def check_size(size: int) -> None:
    """Raise ValueError unless a kernel of this side has a centre."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"`size` of a kernel must be odd and positive, got {size}.")


def check_range(name: str, limits: tuple[float, float]) -> None:
    """Raise ValueError unless 0 <= smallest <= largest."""
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"`{name}` must be a smallest and a largest value, 0 at least, got {limits}.")
