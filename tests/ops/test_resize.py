"""imresize against MATLAB's own files, an oracle of dense weight matrices, and finite differences."""

import math
import random
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import annotations_are_checked
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
from torch.testing import assert_close

from cclnn.metrics import psnr
from cclnn.ops import imresize

SET5 = Path(__file__).parents[3] / "shared" / "data" / "test" / "Set5"
NAMES = ["baby", "bird", "butterfly", "head", "woman"]
PAD = {"replicate": "edge", "symmetric": "symmetric"}


def picture(folder, name):
    if not SET5.is_dir():
        pytest.skip(f"{SET5} is absent")
    image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra `cli`, reads the images")
    pixels = np.array(image.open(SET5 / folder / f"{name}.png").convert("RGB"))
    return torch.from_numpy(pixels).movedim(-1, 0)[None]


def cropped_to_multiple(image, scale):
    height, width = (length - length % scale for length in image.shape[2:])
    return image[..., :height, :width]


def keys(x):
    """Keys' cubic with a = -1/2, one number at a time."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def oracle_axis(line, target, ratio, antialias, border):
    """Resize the first axis of an array: pad it for real, weigh every padded pixel, normalise."""
    shrink = min(ratio, 1.0) if antialias else 1.0
    reach = math.ceil(2 / shrink + 1 / ratio) + 2  # ceil(size) may centre the last pixel outside the image
    padded = np.pad(line, [(reach, reach)] + [(0, 0)] * (line.ndim - 1), mode=PAD[border])
    rows = []
    for i in range(target):
        centre = (i + 0.5) / ratio - 0.5 + reach
        weights = np.array([keys(shrink * (centre - j)) for j in range(len(padded))])
        rows.append(np.tensordot(weights / weights.sum(), padded, axes=1))
    return np.stack(rows)


def oracle(image, size, ratios, antialias=True, border="replicate"):
    x = image.numpy()
    for axis in (2, 3):
        line = np.moveaxis(x, axis, 0)
        x = np.moveaxis(oracle_axis(line, size[axis - 2], ratios[axis - 2], antialias, border), 0, axis)
    return torch.from_numpy(x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reduction_equals_matlab_bit_for_bit(scale, name):
    hr = cropped_to_multiple(picture("HR", name), scale)
    assert torch.equal(imresize(hr, 1 / scale), picture(f"LR_x{scale}", name))


@pytest.mark.parametrize(("scale", "expected"), [(2, 33.674), (3, 30.405), (4, 28.430)])
def test_bicubic_upsampling_has_the_known_psnr_on_set5(scale, expected):
    values = []
    for name in NAMES:
        hr = cropped_to_multiple(picture("HR", name), scale)
        sr = imresize(picture(f"LR_x{scale}", name), float(scale))
        values.append(psnr(sr / 255, hr / 255, border=scale).item())
    assert abs(sum(values) / len(values) - expected) < 0.005


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("scale", [0.11, 1 / 4, 1 / 3, 0.5, 0.73, 1.0, 1.37, 2.0, 3.0, 4.5])
def test_equals_dense_oracle(scale, antialias, border):
    image = torch.rand(2, 3, 11, 17, dtype=torch.float64)
    size = (math.ceil(11 * scale), math.ceil(17 * scale))
    expected = oracle(image, size, (scale, scale), antialias, border)
    actual = imresize(image, scale, antialias=antialias, border=border)
    assert_close(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("size", [(23, 5), (3, 40), (11, 17), (1, 1)])
def test_size_scales_each_axis_by_its_own_ratio(size, border):
    image = torch.rand(2, 1, 11, 17, dtype=torch.float64)
    expected = oracle(image, size, (size[0] / 11, size[1] / 17), border=border)
    assert_close(imresize(image, size=size, border=border), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("scale", [0.2, 2.5])
def test_borders_reach_beyond_images_smaller_than_the_kernel(scale, border):
    image = torch.rand(1, 2, 1, 3, dtype=torch.float64)
    size = (math.ceil(scale), math.ceil(3 * scale))
    assert_close(imresize(image, scale, border=border), oracle(image, size, (scale, scale), border=border))


def test_borders_differ_only_near_the_border():
    image = torch.rand(1, 1, 23, 29, dtype=torch.float64)
    difference = (imresize(image, 2.0, border="symmetric") - imresize(image, 2.0)).abs()
    assert difference[..., 4:-4, 4:-4].max() == 0
    assert difference.max() > 1e-3


@pytest.mark.parametrize("scale", [0.37, 2.0])
def test_bytes_are_rounded_half_up_after_each_pass(scale):
    image = torch.randint(0, 256, (1, 3, 13, 19), dtype=torch.uint8)
    x = image.numpy().astype(np.float64)
    for axis in (2, 3):
        line = oracle_axis(np.moveaxis(x, axis, 0), math.ceil(image.shape[axis] * scale), scale, True, "replicate")
        x = np.moveaxis(np.floor(line + 0.5).clip(0, 255), 0, axis)
    assert torch.equal(imresize(image, scale), torch.from_numpy(x).to(torch.uint8))


def test_scale_one_changes_nothing():
    image = torch.rand(2, 3, 7, 5)
    assert_close(imresize(image, 1.0), image, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [0.3, 1.7, 3.0])
def test_constant_images_stay_constant(scale):
    image = torch.full((1, 2, 7, 11), 0.625, dtype=torch.float64)
    out = imresize(image, scale)
    assert_close(out, torch.full_like(out, 0.625), rtol=0, atol=1e-15)


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("scale", [0.45, 1.6])
def test_gradients_equal_finite_differences(scale, border):
    image = torch.rand(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, scale, border=border), (image,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_output_has_the_dtype_of_the_image(dtype):
    image = torch.rand(1, 3, 11, 13, dtype=torch.float64)
    out = imresize(image.to(dtype), 0.5)
    assert out.dtype == dtype
    assert_close(out.double(), imresize(image, 0.5), rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_inference_mode_leaves_nothing_that_training_cannot_use(dtype):
    """Weights are cached between calls; a size first met in inference mode must still be differentiable."""
    image = torch.rand(1, 1, 37, 41, dtype=dtype)
    with torch.inference_mode():
        first = imresize(image, 0.59)
    image.requires_grad_()
    again = imresize(image, 0.59)
    again.sum().backward()
    assert image.grad.isfinite().all()
    assert torch.equal(again.detach(), first)


def test_a_default_device_leaves_nothing_behind():
    """Weights are cached between calls; those of a call under `torch.device("meta")` must not be empty later."""
    with torch.device("meta"):
        assert imresize(torch.rand(1, 1, 43, 47), 0.61).shape == (1, 1, 27, 29)
    image = torch.rand(1, 1, 43, 47, dtype=torch.float64)
    assert_close(imresize(image, 0.61), oracle(image, (27, 29), (0.61, 0.61)))


def test_bytes_are_reduced_along_the_smaller_scale_first():
    """As MATLAB does; the order shows, since each pass is rounded."""
    image = torch.randint(0, 256, (1, 3, 13, 19), dtype=torch.uint8)
    for size, order in (((11, 4), (3, 2)), ((3, 17), (2, 3)), ((26, 20), (3, 2)), ((26, 38), (2, 3))):
        x = image.numpy().astype(np.float64)
        for axis in order:
            target = size[axis - 2]
            line = oracle_axis(np.moveaxis(x, axis, 0), target, target / image.shape[axis], True, "replicate")
            x = np.moveaxis(np.floor(line + 0.5).clip(0, 255), 0, axis)
        assert torch.equal(imresize(image, size=size), torch.from_numpy(x).to(torch.uint8))


class Resize(torch.nn.Module):
    def __init__(self, scale, border="replicate"):
        super().__init__()
        self.scale, self.border = scale, border

    def forward(self, x):
        return imresize(x, self.scale, border=self.border)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
@pytest.mark.parametrize("scale", [2.0, 1 / 3])
def test_twenty_sizes_compile_twice(scale, request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    module = Resize(scale)
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for i in range(20):
        draw = random.Random(i)
        x = torch.rand(2, 3, draw.randint(4, 60), draw.randint(4, 60))
        assert_close(compiled(x), module(x), rtol=0, atol=2e-7)
    assert counter.frame_count <= 2


@pytest.mark.usefixtures("cached_translations")
@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize(("scale", "border"), [(2.0, "symmetric"), (1 / 3, "replicate")])
def test_exports_for_all_sizes_to_onnx_too(scale, border, tmp_path, request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    module = Resize(scale, border)
    any_size = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    program = export(module, (torch.rand(2, 3, 19, 23),), dynamic_shapes=any_size)
    torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "resize.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "resize.onnx")
    for size in ((1, 3, 5, 4), (3, 3, 40, 7), (1, 3, 8, 90)):
        x = torch.rand(size)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert_close(program.module()(x), module(x), rtol=0, atol=2e-7)
        assert_close(torch.from_numpy(y), module(x), rtol=0, atol=2e-7)


def test_messages(rejects):
    image = torch.rand(1, 3, 5, 7)
    with rejects(r"exactly one of `scale` and `size` is needed, got scale=None and size=None"):
        imresize(image)
    with rejects(r"exactly one of `scale` and `size` is needed, got scale=2.0 and size=\(3, 4\)"):
        imresize(image, 2.0, size=(3, 4))
    for scale in (0.0, -1.0, math.inf, math.nan):
        with rejects(f"`scale` must be positive and finite, got {scale}"):
            imresize(image, scale)
    with rejects("`size` must be at least 1, got 0"):
        imresize(image, size=(3, 0))
    with rejects("`border` must be one of 'replicate', 'symmetric', got 'mirror'"):
        imresize(image, 2.0, border="mirror")
    with rejects(r"`image` must have shape \(b c h w\), got \(3, 5, 7\)"):
        imresize(image[0], 2.0)
    with rejects(r"`image` must not be empty, got shape \(1, 3, 0, 7\)"):
        imresize(image[:, :, :0], 2.0)
    with rejects(r"`image` must be floating point or uint8, got torch\.int32", TypeError):
        imresize(image.int(), 2.0)
