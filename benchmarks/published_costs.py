"""Count parameters and MACs of published networks that the library does not have, from the sizes of their convolutions.

python benchmarks/published_costs.py

The sizes are those of the released definitions: model/rlfn.py of bytedance/RLFN, basicsr/archs/BSRN_arch.py of
xiaom233/BSRN, code/vapsr_beta.py and options/train of zhoumumu/VapSR. MACs are those of the convolutions for an output
of 1280x720, as `cclnn info` counts them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cclnn.evaluation.complexity import HD

Grid = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """One convolution, and the grid of its output: rows and columns."""

    inputs: int
    outputs: int
    kernel: int
    grid: Grid
    groups: int = 1
    bias: bool = True

    @property
    def weights(self) -> int:
        return self.inputs // self.groups * self.outputs * self.kernel**2

    @property
    def parameters(self) -> int:
        return self.weights + self.bias * self.outputs

    @property
    def macs(self) -> int:
        return self.weights * self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Network:
    """Its convolutions, and the parameters of its other layers."""

    convolutions: tuple[Convolution, ...]
    others: int = 0

    @property
    def parameters(self) -> int:
        return self.others + sum(convolution.parameters for convolution in self.convolutions)

    @property
    def macs(self) -> int:
        return sum(convolution.macs for convolution in self.convolutions)


def strided(grid: Grid, kernel: int, stride: int) -> Grid:
    """The grid after a layer without padding."""
    rows, columns = ((size - kernel) // stride + 1 for size in grid)
    return rows, columns


def rlfn(scale: int, grid: Grid) -> Network:
    """Six blocks of three convolutions with enhanced spatial attention, 52 channels."""
    halved = strided(grid, kernel=3, stride=2)
    pooled = strided(halved, kernel=7, stride=3)
    convolution = Convolution(52, 52, 3, grid)
    attention = (
        Convolution(52, 16, 1, grid),
        Convolution(16, 16, 1, grid),
        Convolution(16, 16, 3, halved),
        Convolution(16, 16, 3, pooled),
        Convolution(16, 52, 1, grid),
    )
    block = (*3 * (convolution,), Convolution(52, 52, 1, grid), *attention)
    ends = (Convolution(3, 52, 3, grid), convolution, Convolution(52, 3 * scale**2, 3, grid))
    return Network((*6 * block, *ends))


def separable(inputs: int, outputs: int, grid: Grid, output: Grid | None = None) -> Iterator[Convolution]:
    """BSRN's blueprint separable convolution: 1x1 without bias, then 3x3 of each channel."""
    yield Convolution(inputs, outputs, 1, grid, bias=False)
    yield Convolution(outputs, outputs, 3, output or grid, groups=outputs)


def bsrn(scale: int, grid: Grid) -> Network:
    """Eight distillation blocks of separable convolutions, 64 channels, with spatial and channel attention."""
    halved = strided(grid, kernel=3, stride=2)
    pooled = strided(halved, kernel=7, stride=3)
    block = (
        *3 * (Convolution(64, 32, 1, grid), *separable(64, 64, grid)),
        *separable(64, 32, grid),
        Convolution(128, 64, 1, grid),
        *(Convolution(64, 16, 1, grid), Convolution(16, 16, 1, grid), Convolution(16, 64, 1, grid)),
        *separable(16, 16, grid, halved),
        *3 * tuple(separable(16, 16, pooled)),
        *(Convolution(64, 4, 1, (1, 1)), Convolution(4, 64, 1, (1, 1))),
    )
    first = separable(12, 64, grid)  # of the image, four times
    last = (Convolution(512, 64, 1, grid), *separable(64, 64, grid), Convolution(64, 3 * scale**2, 3, grid))
    return Network((*first, *8 * block, *last))


def vapsr(scale: int, grid: Grid) -> Network:
    """Blocks of pixel attention through large separable kernels, 48 channels, each with a layer norm."""
    n_blocks = 21 if scale == 4 else 20
    block = (
        *(Convolution(48, 64, 1, grid), Convolution(64, 64, 1, grid)),
        *2 * (Convolution(64, 64, 5, grid, groups=64),),
        Convolution(64, 48, 1, grid),
    )
    ends = (Convolution(3, 48, 3, grid), Convolution(48, 48, 3, grid))
    doubled = (2 * grid[0], 2 * grid[1])
    if scale == 4:
        tail = (Convolution(48, 64, 3, grid), Convolution(16, 12, 3, doubled))
    else:
        tail = (Convolution(48, 56, 3, grid), Convolution(56, 3 * scale**2, 3, grid))
    return Network((*n_blocks * block, *ends, *tail), others=n_blocks * 2 * 48)


NETWORKS = {"RLFN": rlfn, "BSRN": bsrn, "VapSR": vapsr}


def published(name: str, scale: int) -> Network:
    """A network for an output of 1280x720."""
    return NETWORKS[name](scale, (HD[0] // scale, HD[1] // scale))


if __name__ == "__main__":
    for name in NETWORKS:
        for scale in (2, 4):
            network = published(name, scale)
            print(f"{name:6} x{scale}  {network.parameters:>9,} parameters  {network.macs / 1e9:6.1f} G MACs")
