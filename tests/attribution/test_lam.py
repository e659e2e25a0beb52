"""Local attribution maps against released code, closed forms and a network whose map is known."""

import pytest
import torch
from golden.reader import assert_golden, cases, read
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn import convert_official, create_model
from cclnn.attribution import blur_path, diffusion_index, gini, local_attribution_map, point_attribution
from cclnn.attribution.lam import gradient_magnitude


def path(image, **arguments):
    parts = list(blur_path(image, **arguments))
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


@cases("lam_gini")
def test_golden_gini(name):
    case = read(name)
    assert_close(gini(case["input.a"]), case["output.gini"].item(), rtol=1e-12, atol=0)
    assert_close(diffusion_index(case["input.a"]), case["output.di"].item(), rtol=1e-12, atol=0)


@cases("lam_path")
def test_golden_blur_path(name):
    case = read(name)
    arguments = {"sigma": case.params["sigma"], "steps": case.params["fold"], "kernel_size": case.params["l"]}
    images, derivatives = path(case["input.image_hwc"].permute(2, 0, 1), **arguments, batch=2)
    assert_golden(images, case["output.images_fchw"], float32=1e-6)
    assert_golden(derivatives, case["output.derivs_fchw"], float32=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
@cases("lam_edsr")
def test_golden_map(name, batch):
    case = read(name)
    p = case.params
    model = convert_official("edsr", case.under("state."), res_scale=p["res_scale"])
    assert model.scale == p["scale"]
    found = local_attribution_map(
        model,
        case["input.x_chw"][None],
        (p["window_h"], p["window_w"], p["window"]),
        sigma=p["sigma"],
        steps=p["fold"],
        kernel_size=p["l"],
        batch=batch,
    )
    assert_golden(found.map, case["output.abs_norm"], float32=1e-4)
    assert_close(found.gini, case["output.gini"].item(), rtol=1e-5, atol=0)
    assert_close(found.diffusion_index, case["output.di"].item(), rtol=1e-5, atol=0)
    magnitude = gradient_magnitude(model(case["input.x_chw"][None]), (p["window_h"], p["window_w"], p["window"]))
    assert_golden(magnitude.detach(), case["inter.objective_at_x"][None], float32=1e-5)


def test_gini_of_known_distributions():
    """All alike: 0. One of n holds everything: (n - 1) / n. 1, 2, 3, 4: 1/4."""
    assert_close(gini(torch.full((5, 7), 3.0)), 0.0, rtol=0, atol=1e-12)
    one = torch.zeros(5, 7)
    one[2, 3] = 1e6
    assert_close(gini(one), 34 / 35, rtol=1e-6, atol=0)
    assert_close(gini(torch.tensor([4.0, 1.0, 3.0, 2.0])), 0.25, rtol=1e-6, atol=0)
    assert_close(gini(torch.tensor([1.0, -2.0, 0.0, -1.0]).double()), gini(torch.tensor([3.0, 0, 2, 1]).double()))
    assert_close(diffusion_index(torch.tensor([4.0, 1.0, 3.0, 2.0])), 75.0, rtol=1e-6, atol=0)


def test_the_path_ends_at_the_image_and_its_derivatives_sum_to_the_way():
    """mean_i dx_i/di telescopes to the image minus its first blur, which scipy-free F.conv2d gives."""
    image = torch.rand(3, 13, 17, dtype=torch.float64)
    images, derivatives = path(image, sigma=1.5, steps=7, kernel_size=5, batch=3)
    assert_close(images[-1], image)
    offsets = torch.arange(5, dtype=torch.float64) - 2
    line = (-(offsets**2) / (2 * (1.5 + 1e-5) ** 2)).exp()
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    blurred = F.conv2d(F.pad(image[:, None], (2, 2, 2, 2), mode="reflect"), kernel)[:, 0]
    assert_close(derivatives.mean(dim=0), image - blurred)


def test_gradient_magnitude_of_a_ramp():
    """v = 3 row + 4 col has gradient 5 everywhere; only the window counts; every image of a batch alone."""
    ramp = 3.0 * torch.arange(9)[:, None] + 4.0 * torch.arange(11)
    batch = torch.stack([ramp, 2 * ramp])[:, None].repeat(1, 2, 1, 1).requires_grad_()
    value = gradient_magnitude(batch, (2, 3, 4))
    assert_close(value.detach(), torch.tensor([2 * 16 * 5.0, 2 * 16 * 10.0]))
    value[0].backward()
    touched = batch.grad[0, 0].nonzero()
    assert touched.min(dim=0).values.tolist() == [2, 3]
    assert touched.max(dim=0).values.tolist() == [6, 7]
    assert batch.grad[1].abs().max() == 0


class Local(nn.Module):
    """x2 by repetition: an output pixel depends on one input pixel."""

    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="nearest")


def test_a_local_network_uses_only_the_window():
    """Output window (8, 12) .. (14, 18), and one pixel more for differences, is input (4, 6) .. (7, 9)."""
    found = local_attribution_map(Local(), torch.rand(1, 3, 14, 18), (8, 12, 6), steps=5)
    used = found.map.nonzero()
    assert used.min(dim=0).values.tolist() == [4, 6]
    assert used.max(dim=0).values.tolist() == [7, 9]
    assert found.map.max() == 1
    assert found.map.min() >= 0


def test_a_flat_output_is_attributed_to_nothing_and_not_to_nan():
    flat = local_attribution_map(Local(), torch.full((1, 3, 14, 18), 0.5), (8, 12, 6), steps=5)
    assert flat.map.abs().max() == 0
    assert_close(flat.diffusion_index, 100.0)


def test_a_nonlocal_network_looks_farther_than_its_convolutions():
    """The same window through EDSR's and NLSN's trunk: only one of them leaves the receptive field."""
    image = torch.rand(1, 3, 23, 29)
    far = {}
    for name in ("edsr", "nlsn"):
        model = create_model(name, channels=8, n_resblocks=1)
        far[name] = local_attribution_map(model, image, (2, 2, 4), steps=4).map[18:, 22:]
    assert far["edsr"].abs().max() == 0
    assert far["nlsn"].abs().max() > 0


def test_the_model_is_left_as_it_was():
    model = create_model("cclnn-t", n_resblocks=1, channels=16).train()
    model.body[1].eval()
    before = torch.get_rng_state()
    first = local_attribution_map(model, torch.rand(1, 3, 14, 15), (4, 5, 6), steps=3)
    assert model.training
    assert not model.body[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.set_rng_state(before)
    again = local_attribution_map(model, torch.rand(1, 3, 14, 15), (4, 5, 6), steps=3)
    assert torch.equal(first.map, again.map)  # eval mode: NLSA's rotations are fixed


def test_the_batch_bounds_what_the_network_sees():
    sizes = []

    class Noting(Local):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    done = []
    local_attribution_map(
        Noting(), torch.rand(1, 3, 14, 15), (4, 5, 6), steps=7, batch=3, progress=lambda *x: done.append(x)
    )
    assert sizes == [3, 3, 1]
    assert done == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_works_where_gradients_are_switched_off():
    with torch.no_grad():
        found = local_attribution_map(Local(), torch.rand(1, 3, 14, 15), (4, 5, 6), steps=3)
    assert found.map.max() == 1


def test_messages(rejects):
    image = torch.rand(1, 3, 14, 15)
    with rejects("`window` of row 23, column 0, side 5 must lie in the 27 x 29 pixels of the output"):
        local_attribution_map(Local(), image, (23, 0, 5))
    with rejects("`window` of row 0, column -1, side 5 must lie in"):
        local_attribution_map(Local(), image, (0, -1, 5))
    with rejects("`window's side` must be at least 1, got 0"):
        local_attribution_map(Local(), image, (0, 0, 0))
    with rejects(r"`image` must have shape \(b=1 c h w\), got \(2, 3, 14, 15\)"):
        local_attribution_map(Local(), image.repeat(2, 1, 1, 1), (0, 0, 5))
    with rejects("`image` must be a floating-point tensor, got torch.uint8", TypeError):
        local_attribution_map(Local(), image.byte(), (0, 0, 5))
    with rejects("`steps` must be at least 1, got 0"):
        local_attribution_map(Local(), image, (0, 0, 5), steps=0)
    with rejects("`batch` must be at least 1, got 0"):
        local_attribution_map(Local(), image, (0, 0, 5), batch=0)
    with rejects("`sigma` must be positive, got 0"):
        local_attribution_map(Local(), image, (0, 0, 5), sigma=0.0)
    with rejects("`kernel_size` must be odd and at most 27 for an image of 14 x 15 pixels, got 8"):
        local_attribution_map(Local(), image, (0, 0, 5), kernel_size=8)
    with rejects("`kernel_size` must be odd and at most 27 for an image of 14 x 15 pixels, got 29"):
        local_attribution_map(Local(), image, (0, 0, 5), kernel_size=29)
    with rejects("`model` must return one tensor, got tuple", TypeError):
        local_attribution_map(Two(), image, (0, 0, 5))
    with rejects("`x` must be a floating-point tensor, got torch.int64", TypeError):
        gini(torch.arange(3))


class Two(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("pixel", "corner", "window"),
    [  # of an image of 37 x 53 pixels at x2, parts of 24 pixels and windows of 7
        ((18, 25), (6, 13), (22, 22)),  # in the middle of the part, whose pixel 12 becomes 24 and 25
        ((0, 52), (0, 29), (0, 40)),  # the last window that has a next column: 40 to 46 of 48
        ((36, 0), (13, 0), (40, 0)),
    ],
)
def test_a_point_is_explained_in_the_part_around_it(pixel, corner, window):
    model = create_model("edsr-baseline", channels=8, n_resblocks=1, scale=2)
    image = torch.rand(1, 3, 37, 53)
    found = point_attribution(model, image, pixel, scale=2, part=24, side=7, steps=3)
    part = image[:, :, corner[0] : corner[0] + 24, corner[1] : corner[1] + 24]
    assert torch.equal(found.image, part)
    assert found.window == (*window, 7)
    expected = local_attribution_map(model, part, (*window, 7), steps=3)
    assert torch.equal(found.attribution.map, expected.map)
    assert found.attribution.diffusion_index == expected.diffusion_index


def test_a_point_of_a_small_image_is_explained_in_the_whole_image():
    model = create_model("edsr-baseline", channels=8, n_resblocks=1, scale=3)
    image = torch.rand(1, 3, 11, 80)
    found = point_attribution(model, image, (10, 40), scale=3, steps=2)
    assert found.image.shape == (1, 3, 11, 64)
    assert found.window == (3 * 11 - 1 - 16, 3 * 32 + 1 - 8, 16)


@pytest.mark.parametrize("pixel", [(-1, 0), (11, 0), (0, 80)])
def test_a_point_outside_the_image_is_refused(rejects, pixel):
    with rejects(f"`pixel` must lie in the image of 11 x 80 pixels, got {pixel[0]}, {pixel[1]}"):
        point_attribution(torch.nn.Identity(), torch.rand(1, 3, 11, 80), pixel, scale=1)
