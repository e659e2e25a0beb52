"""The upscaler: same kind out, tiles equal the whole, nothing changed that is not its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden.reader import assert_golden, cases, read
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

import cclnn
from cclnn.image.picture import Metadata, Picture
from cclnn.upscaler import Upscaler
from cclnn.upscaler.ensemble import self_ensemble
from cclnn.upscaler.tiles import spans

CHELSEA = Path(__file__).parents[2] / "examples" / "images" / "chelsea.png"
# Eight pixels are the radius of this network's receptive field; a test below shows it.
SMALL = {"channels": 8, "n_resblocks": 2, "res_scale": 1.0}


@pytest.fixture
def edsr():
    return cclnn.EDSR(2, **SMALL).eval()


class Nearest(cclnn.models.SRModel):
    """Repeats every pixel: what it must give is known."""

    def __init__(self, scale=2):
        super().__init__(scale)

    def forward(self, x):
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def pixels(*shape, dtype=np.uint8):
    values = np.random.default_rng(0).random(shape)
    return values.astype(dtype) if np.issubdtype(dtype, np.floating) else (values * np.iinfo(dtype).max).astype(dtype)


def repeated(array, scale=2):
    return array.repeat(scale, axis=0).repeat(scale, axis=1)


def with_extremes(expected, array):
    """`expected`, with opacity 0 or white where bicubic interpolation of the array's opacity gives that."""
    if array.shape[-1] not in (2, 4) or array.ndim == 2:
        return expected
    white = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    opacity = torch.from_numpy(array[..., -1].astype(np.float32))[None, None] / white
    bicubic = cclnn.ops.imresize(opacity, expected.shape[0] // array.shape[0])[0, 0].numpy()
    step = 0.5 / 65535 if white == 1 else 0.5 / white
    expected = expected.copy()
    expected[..., -1][bicubic <= step] = 0
    expected[..., -1][bicubic >= 1 - step] = white
    return expected


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_the_network_on_the_whole_image(scale):
    model = cclnn.EDSR(scale, **SMALL).eval()
    x = torch.rand(2, 3, 13, 17)
    with torch.no_grad():
        expected = model(x).clamp(0, 1)
    assert_close(Upscaler(model, precision="fp32", edges="network")(x), expected)


@pytest.mark.parametrize(("height", "width"), [(13, 17), (1, 5), (7, 1)])
def test_the_image_is_mirrored_beyond_its_edges(edsr, height, width):
    """NumPy's mirroring by 8 pixels, repeated where the image is smaller than that."""
    x = torch.rand(2, 3, height, width)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (8, 8), (8, 8)), mode="symmetric")
    with torch.no_grad():
        expected = edsr(torch.from_numpy(padded)).clamp(0, 1)[:, :, 16:-16, 16:-16]
    assert_close(Upscaler(edsr, precision="fp32")(x), expected)
    assert_close(Upscaler(edsr, overlap=3, tile="none", precision="fp32")(x), expected)


@pytest.mark.parametrize(("colour", "levels"), [((255, 255, 255), 1), ((0, 200, 0), 10), ((255, 0, 255), 15)])
def test_flat_pictures_keep_their_colour_to_the_corners(colour, levels):
    """Within 1 level at x4; with the network's own padding they change by more than `levels`."""
    flat = np.full((40, 36, 3), colour, np.uint8)
    expected = np.full((160, 144, 3), colour, int)
    assert np.abs(cclnn.upscale(flat, "cclnn-s-x4", precision="fp32") - expected).max() <= 1
    assert np.abs(cclnn.upscale(flat, "cclnn-s-x4", precision="fp32", edges="network") - expected).max() > levels


def test_a_flat_picture_in_tiles_too():
    flat = np.full((70, 90, 3), (0, 200, 0), np.uint8)
    assert np.abs(cclnn.upscale(flat, "cclnn-s-x4", tile=48, precision="fp32") - np.array([0, 200, 0])).max() <= 1


@pytest.mark.parametrize("tile", [24, 25, 31, 100])
def test_tiles_equal_the_whole_once_the_overlap_covers_the_field(edsr, tile):
    x = torch.rand(1, 3, 61, 47)
    whole = Upscaler(edsr, tile="none", precision="fp32")(x)
    assert_close(Upscaler(edsr, tile=tile, overlap=8, precision="fp32")(x), whole)


def test_the_field_of_that_network_has_a_radius_of_eight():
    """Two pixels of output a pixel: 15 of them before a cut feel what lies beyond it, no more and no fewer."""
    model = cclnn.EDSR(2, **SMALL).eval().double()
    x = torch.rand(1, 3, 40, 3, dtype=torch.float64)
    with torch.no_grad():
        difference = (model(x)[:, :, :50] - model(x[:, :, :25])).abs().amax(dim=(0, 1, 3))
    assert difference[-15:].min() > 0
    assert difference[:-15].max() < 1e-12


def test_too_little_overlap_shows(edsr):
    """The tests above can fail: with no overlap the tiles differ."""
    x = torch.rand(1, 3, 61, 47)
    whole = Upscaler(edsr, tile="none", precision="fp32")(x)
    assert (Upscaler(edsr, tile=24, overlap=0, precision="fp32")(x) - whole).abs().max() > 1e-3


@settings(max_examples=25)
@given(
    height=st.integers(1, 45),
    width=st.integers(1, 45),
    channels=st.integers(1, 4),
    overlap=st.integers(0, 6),
    extra=st.integers(1, 20),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float16, np.float32]),
    alpha=st.sampled_from(["bicubic", "model"]),
)
def test_any_size_kind_tile_and_overlap(height, width, channels, overlap, extra, dtype, alpha):
    """A network that repeats pixels comes out exactly, whatever is cut; opacity, where interpolated, as when whole."""
    array = pixels(height, width, channels, dtype=dtype)
    if channels in (2, 4):
        array[..., -1] += array[..., -1] == 0  # what is invisible changes, by design
        array[..., -1] = np.minimum(array[..., -1], 1) if array.dtype.kind == "f" else array[..., -1]
    before = array.copy()
    tiled = Upscaler(Nearest(), tile=2 * overlap + extra, overlap=overlap, alpha=alpha, precision="fp32")
    result = tiled(array)
    assert np.array_equal(array, before)
    assert (result.dtype, result.shape) == (dtype, (2 * height, 2 * width, channels))
    straight = channels if alpha == "model" or channels % 2 else channels - 1
    expected = with_extremes(repeated(array), array).astype(np.float64)
    step = 2e-7 if array.dtype.kind == "f" else 0
    np.testing.assert_allclose(result[..., :straight], expected[..., :straight], rtol=step, atol=step)
    whole = Upscaler(Nearest(), tile="none", alpha=alpha, precision="fp32")(array)
    one = 1e-3 if dtype == np.float16 else 1e-6 if dtype == np.float32 else 1
    assert np.abs(result.astype(np.float64) - whole.astype(np.float64)).max() <= one
    bands = list(tiled.bands(array))
    assert np.array_equal(np.concatenate(bands), result)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_pil_images_come_back_in_their_mode(mode):
    shape = (7, 5) if mode == "I;16" else (7, 5, 4)
    source = (
        Image.fromarray(pixels(*shape, dtype=np.uint16))
        if mode == "I;16"
        else Image.frombytes(mode, (5, 7), np.maximum(pixels(7, 5, len(mode)), 1).tobytes())
    )
    source.info.update(dpi=(300, 300), icc_profile=b"a profile")
    result = Upscaler(Nearest(3), alpha="model")(source)
    assert (result.mode, result.size) == (mode, (15, 21))
    assert (result.info["dpi"], result.info["icc_profile"]) == ((300, 300), b"a profile")
    expected = repeated(np.asarray(source), 3)
    assert np.array_equal(np.asarray(result), with_extremes(expected, np.asarray(source)) if "A" in mode else expected)


@pytest.mark.parametrize(
    ("mode", "info", "comes_back"),
    [("1", {}, "L"), ("P", {}, "RGB"), ("P", {"transparency": 3}, "RGBA"), ("L", {"transparency": 3}, "LA")],
)
def test_pil_images_of_other_modes(mode, info, comes_back):
    source = Image.fromarray(pixels(7, 5, 3)).convert(mode)
    source.info.update(info)
    result = Upscaler(Nearest(), alpha="model")(source)
    assert (result.mode, result.size) == (comes_back, (10, 14))
    assert "transparency" not in result.info
    if not info:
        expected = repeated(np.asarray(source.convert(comes_back)))
        assert np.array_equal(np.asarray(result), expected)


def test_pictures_keep_their_metadata():
    metadata = Metadata(icc=b"profile", dpi=(72.0, 72.0))
    source = Picture(pixels(5, 4, 4, dtype=np.uint16), "CMYK", metadata)
    result = Upscaler(Nearest())(source)
    assert (result.mode, result.metadata, result.bits) == ("CMYK", metadata, 16)
    assert np.array_equal(result.pixels, repeated(source.pixels))


def test_cmyk_is_seen_with_white_paper_white():
    """The network gets 1 - ink, so that a network for photographs sees photographs; black ink goes as grey."""
    seen = []

    class Watch(Nearest):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    ink = np.array([[[0, 51, 255, 102]]], dtype=np.uint8)
    Upscaler(Watch(), precision="fp32")(Picture(ink, "CMYK"))
    assert_close(torch.cat(seen)[:, :, 0, 0], torch.tensor([[1.0, 0.8, 0.0], [0.6, 0.6, 0.6]]))


def test_same_values_whatever_the_kind(edsr):
    array = pixels(7, 5, 3)
    from_array = cclnn.upscale(array, model=edsr, precision="fp32")
    assert (type(from_array), from_array.dtype, from_array.shape) == (np.ndarray, np.uint8, (14, 10, 3))
    from_pil = cclnn.upscale(Image.fromarray(array), model=edsr, precision="fp32")
    assert np.array_equal(np.asarray(from_pil), from_array)
    as_float = cclnn.upscale(array / 255, model=edsr, precision="fp32")
    assert as_float.dtype == np.float64
    assert np.abs(np.round(as_float * 255) - from_array).max() <= 1
    fine = cclnn.upscale(array.astype(np.uint16) * 257, model=edsr)
    assert np.abs(fine / 65535 - as_float).max() <= 0.5 / 65535 + 1e-6
    grey = cclnn.upscale(array[:, :, 0], model=edsr, precision="fp32")
    as_colour = cclnn.upscale(array[:, :, [0, 0, 0]], model=edsr, precision="fp32")
    assert np.abs(grey - as_colour.mean(axis=2)).max() <= 1


def test_16_bits_are_computed_in_fp32_unless_told_otherwise(edsr):
    array = pixels(9, 8, 3, dtype=np.uint16)
    exact = Upscaler(edsr, precision="fp32")(array)
    assert np.array_equal(Upscaler(edsr)(array), exact)
    assert not np.array_equal(Upscaler(edsr, precision="bf16")(array), exact)


def test_changes_neither_input_nor_model_nor_random_state(edsr):
    edsr.train()
    x = torch.rand(1, 3, 9, 11)
    before, weights, state = x.clone(), {k: v.clone() for k, v in edsr.state_dict().items()}, torch.get_rng_state()
    upscaler = Upscaler(edsr)
    result = upscaler(x)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert edsr.training
    assert all(torch.equal(value, weights[name]) for name, value in edsr.state_dict().items())
    assert all(parameter.grad is None for parameter in edsr.parameters())
    assert not result.is_inference()
    assert torch.is_grad_enabled()


def test_the_caller_computes_gradients_between_bands(edsr):
    """Inference mode ends with every band, so that what runs between two of them is not in it."""
    for band in Upscaler(edsr, tile=24, overlap=2).bands(torch.rand(1, 3, 61, 9)):
        assert not torch.is_inference_mode_enabled()
        (band.requires_grad_() * 2).sum().backward()


def test_is_deterministic_with_non_local_attention():
    model = cclnn.create_model("cclnn-t", scale=2, channels=16, chunk_size=9)
    x = torch.rand(1, 3, 23, 19)
    first, second = Upscaler(model, tile=40)(x), Upscaler(model, tile=40)(x)
    assert torch.equal(first, second)


def test_reports_progress(edsr):
    calls = []
    Upscaler(edsr, tile=20, overlap=2)(
        torch.rand(1, 3, 21, 9), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(0, 2), (1, 2), (2, 2)]


def test_bundled_model_beats_bicubic():
    """A photograph reduced by two and brought back: closer to the original than bicubic, by more than 0.5 dB."""
    with Image.open(CHELSEA) as photo:
        hr = torch.from_numpy(np.array(photo)[:, :450]).permute(2, 0, 1)[None]
    lr = cclnn.ops.imresize(hr, 0.5)
    bicubic = cclnn.ops.imresize(lr, 2)
    ours = cclnn.upscale(lr)
    scores = [cclnn.metrics.psnr(image / 255, hr / 255, border=2).item() for image in (bicubic, ours)]
    assert scores[1] > scores[0] + 0.5


def seam_and_elsewhere(image, seams):
    """Mean step across the rows and columns `seams`, and across all others."""
    rows = image.diff(dim=2).abs().mean(dim=(0, 1, 3))
    at = torch.zeros(rows.numel(), dtype=torch.bool)
    at[seams] = True
    return rows[at].mean(), rows[~at].mean()


def test_seams_of_a_non_local_network_do_not_show():
    """Steps across the middle of the blended parts are at most 1.05 times the steps elsewhere."""
    with Image.open(CHELSEA) as photo:
        lr = torch.from_numpy(np.array(photo.crop((90, 0, 150, 288)))).permute(2, 0, 1)[None] / 255
    upscaler = Upscaler("cclnn-s-x2", tile=72, precision="fp32")
    tiled = upscaler(lr)
    cover = spans(288, 72, 16)
    centres = [2 * span.keep_to - span.fade_out for span in cover[:-1]]
    seams = [row for centre in centres for row in range(centre - 2, centre + 2)]
    whole = Upscaler("cclnn-s-x2", tile="none", precision="fp32")(lr)
    at, elsewhere = seam_and_elsewhere(tiled, seams)
    at_whole, elsewhere_whole = seam_and_elsewhere(whole, seams)
    assert (at / elsewhere) / (at_whole / elsewhere_whole) < 1.05


@cases("wrapper")
def test_golden_whole_tiles_and_ensemble(name):
    """The released wrappers, before rounding, around networks whose output leaves [0, 1] by far."""
    case = read(name)
    white = case.params["rgb_range"]
    model = cclnn.convert_official("edsr", case.under("state."), res_scale=0.1, rgb_range=white)
    settings = {"precision": "fp32", "edges": "network"}
    x, upscaler = case["input.x"] / white, Upscaler(model, tile="none", **settings)
    outputs = {"output.plain": upscaler, "output.chop": Upscaler(model, tile=37, overlap=10, **settings)}
    if "output.x8" in case:
        outputs["output.x8"] = Upscaler(model, tile="none", ensemble=True, **settings)
        with torch.no_grad():
            assert_golden(self_ensemble(model, x) * white, case["output.x8"], float32=1e-6)
    for key, upscaler in outputs.items():
        assert_golden(upscaler(x), (case[key] / white).clamp(0, 1), float32=3e-6)


def test_ensemble_is_the_mean_of_eight(edsr):
    x = torch.rand(1, 3, 11, 7)
    with torch.no_grad():
        turned = [(k, f) for k in range(4) for f in (False, True)]
        eight = []
        for k, flip in turned:
            y = x.flip(3) if flip else x
            y = edsr(y.rot90(k, (2, 3))).rot90(-k, (2, 3))
            eight.append(y.flip(3) if flip else y)
    expected = torch.stack(eight).mean(dim=0).clamp(0, 1)
    ensemble = Upscaler(edsr, ensemble=True, precision="fp32", edges="network")
    assert_close(ensemble(x), expected)
    assert_close(ensemble(x.mT), expected.mT)


def test_ensemble_in_tiles_equals_the_whole(edsr):
    x = torch.rand(1, 3, 41, 33)
    whole = Upscaler(edsr, tile="none", ensemble=True, precision="fp32")(x)
    assert_close(Upscaler(edsr, tile=30, overlap=9, ensemble=True, precision="fp32")(x), whole)


class Small(cclnn.EDSR):
    """Runs out of memory on more than `limit` pixels."""

    limit = 24 * 24

    def forward(self, x):
        if x.shape[2] * x.shape[3] > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate all there is.")
        return super().forward(x)


def test_out_of_memory_halves_the_tile_with_one_warning():
    model = Small(2, **SMALL).eval()
    x = torch.rand(1, 3, 61, 97)
    expected = Upscaler(cclnn.EDSR(2, **SMALL).eval(), tile="none", precision="fp32", edges="network")
    expected.model.load_state_dict(model.state_dict())
    upscaler = Upscaler(model, tile=80, overlap=9, precision="fp32", edges="network")
    with pytest.warns(RuntimeWarning, match="out of memory with tiles of 80 pixels: going on with smaller") as caught:
        assert_close(upscaler(x), expected(x))
    assert len(caught) == 1
    assert_close(upscaler(x), expected(x))  # remembered: no second warning


def test_out_of_memory_halfway_down_goes_on_from_the_finished_rows():
    """Memory that another program takes in the middle of an image: rows that were given out stay as they are."""
    model = Small(2, **SMALL).eval()
    model.limit = 40 * 40
    x = torch.rand(1, 3, 131, 47)
    whole = cclnn.EDSR(2, **SMALL).eval()
    whole.load_state_dict(model.state_dict())
    upscaler = Upscaler(model, tile=40, overlap=8, precision="fp32", edges="network")
    bands, calls = [], []

    def run():
        for band in upscaler.bands(x, progress=lambda done, total: calls.append((done, total))):
            bands.append(band)
            upscaler.model.limit = 24 * 24

    with pytest.warns(RuntimeWarning, match="out of memory with tiles of 40 pixels: going on"):
        run()
    assert_close(torch.cat(bands, dim=2), Upscaler(whole, tile="none", precision="fp32", edges="network")(x))
    first, last = calls[0], calls[-1]
    assert first[0] == 0
    assert last[0] == last[1] > first[1]
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_each_kind_of_warning_is_given_once():
    class Faulty(Small):
        def forward(self, x):
            sr = super().forward(x)
            return sr * float("nan") if torch.is_autocast_enabled("cpu") else sr

    upscaler = Upscaler(Faulty(2, **SMALL), tile=80, overlap=9, precision="bf16", edges="network")
    with pytest.warns(RuntimeWarning) as caught:
        upscaler(torch.rand(1, 3, 61, 97))
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert texts[0].startswith("out of memory with tiles of 80 pixels")
    assert texts[1].startswith("the model gives NaN or infinity")


def test_out_of_memory_with_the_smallest_tile_is_an_error():
    model = Small(2, **SMALL).eval()
    model.limit = 0
    upscaler = Upscaler(model, tile=40, overlap=9)
    with (
        pytest.warns(RuntimeWarning, match="out of memory"),
        pytest.raises(torch.OutOfMemoryError, match="with tiles of 20 pixels, and smaller ones leave nothing"),
    ):
        upscaler(torch.rand(1, 3, 61, 97))


class Overflowing(cclnn.EDSR):
    """NaN in low precision, where a tile holds white."""

    def forward(self, x):
        sr = super().forward(x)
        return sr * float("nan") if torch.is_autocast_enabled("cpu") and x.max() == 1 else sr


def test_nan_in_low_precision_is_computed_again_with_one_warning():
    model = Overflowing(2, **SMALL).eval()
    x = torch.rand(1, 3, 30, 80) * 0.9
    x[..., 0, 0] = x[..., 29, 79] = 1
    upscaler = Upscaler(model, tile=30, overlap=9, precision="bf16")
    with pytest.warns(RuntimeWarning, match="the model gives NaN or infinity in torch.bfloat16: such tiles") as caught:
        sr = upscaler(x)
    assert len(caught) == 1
    assert sr.isfinite().all()
    exact = Upscaler(model, tile="none", precision="fp32")(x)
    assert_close(sr[..., :10, :10], exact[..., :10, :10])
    assert not torch.equal(sr[..., 60:100], exact[..., 60:100])  # tiles without NaN stay in bf16


def test_nan_in_fp32_is_an_error(edsr):
    with torch.no_grad():
        edsr.head.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity in float32: its weights are damaged or do not suit it"):
        Upscaler(edsr, precision="fp32")(torch.rand(1, 3, 9, 8))


@pytest.mark.parametrize("alpha", ["bicubic", "model"])
@pytest.mark.parametrize("background", [0, 255])
def test_no_dark_or_light_fringes(alpha, background):
    """A white disk on transparency that hides black (or a black one that hides white) stays so wherever it shows."""
    rows, cols = np.mgrid[:48, :40]
    inside = (rows - 20.0) ** 2 + (cols - 17.0) ** 2 < 13.0**2
    disk = np.zeros((48, 40, 4), dtype=np.uint8)
    disk[..., :3] = np.where(inside, 255 - background, background)[..., None]
    disk[..., 3] = 255 * inside
    result = Upscaler("cclnn-s-x2", alpha=alpha, tile=40, overlap=12)(disk)
    visible = result[..., 3] > 0
    assert 4 * inside.sum() * 0.9 < visible.sum() < 4 * inside.sum() * 1.5
    assert np.abs(result[visible][:, :3].astype(int) - (255 - background)).max() <= 12
    raw = Upscaler("cclnn-s-x2", tile=40, overlap=12)(disk[..., :3])  # what it would be without care
    assert np.abs(raw[visible].astype(int) - (255 - background)).max() > 100


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_opacity_by_the_model_keeps_opaque_and_clear_areas(dtype):
    """The network alone gives 252 or 3 in places."""
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    array = np.full((31, 43, 4), 0.4 * white).astype(dtype)
    array[:, :20, 3], array[:, 20:, 3] = white, 0
    opacity = cclnn.upscale(array, "cclnn-s-x4", alpha="model", precision="fp32")[..., 3]
    assert (opacity[:, :72] == white).all()
    assert (opacity[:, 88:] == 0).all()
    array[..., 3] = white
    assert (cclnn.upscale(array, "cclnn-s-x4", alpha="model", precision="fp32")[..., 3] == white).all()


def test_opacity_is_interpolated_as_a_whole_image():
    array = pixels(61, 23, 2)
    result = Upscaler(Nearest(), tile=20, overlap=3)(array)
    opacity = torch.from_numpy(array[None, None, :, :, 1]).float() / 255
    expected = cclnn.ops.imresize(opacity, 2).clamp(0, 1)[0, 0]
    assert_close(torch.from_numpy(result[..., 1]) / 255, expected, rtol=0, atol=0.51 / 255)


def test_auto_tile_comes_from_the_memory_at_hand(edsr, monkeypatch):
    upscaler = Upscaler(edsr)
    monkeypatch.setattr("cclnn.upscaler.network.memory_at_hand", lambda device: 1e12)
    assert upscaler.tile_side(2000, 3000) == 512
    monkeypatch.setattr("cclnn.upscaler.network.memory_at_hand", lambda device: 1e6)
    assert upscaler.tile_side(2000, 3000) == 64
    assert Upscaler(edsr, tile=99).tile_side(2000, 3000) == 99
    assert Upscaler(edsr, tile="none").tile_side(2000, 3000) == 3000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 32}, "`tile` must be at least 33, got 32"),
        ({"tile": "big"}, "`tile` must be a number of pixels, 'auto' or 'none', got 'big'"),
        ({"overlap": -1}, "`overlap` must be at least 0, got -1"),
        ({"precision": "int8"}, "`precision` must be one of .* got 'int8'"),
        ({"edges": "zeros"}, "`edges` must be one of 'mirror', 'network', got 'zeros'"),
        ({"alpha": "none"}, "`alpha` must be one of 'bicubic', 'model', got 'none'"),
    ],
)
def test_messages(edsr, arguments, message, rejects):
    with rejects(message):
        Upscaler(edsr, **arguments)


def test_what_is_no_model_is_told(rejects):
    with rejects("`model` must be a name, a path or a model of cclnn, got Conv2d.", TypeError):
        Upscaler(torch.nn.Conv2d(3, 3, 1))
