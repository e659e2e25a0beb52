"""Our networks in spandrel, the real package: what it detects and builds, of our files and of its own."""

import functools
import importlib
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import cclnn
from cclnn.integrations import spandrel as ours
from cclnn.layers.mean_shift import DIV2K_MEAN
from cclnn.models import ARCHITECTURES, create_model
from cclnn.pretrained import to_official

WEIGHTS = Path(cclnn.__file__).parent / "weights"
LACKING = sorted(ARCHITECTURES.keys() - {"RCAN"})
lacking = pytest.mark.parametrize("kind", [pytest.param(ARCHITECTURES[name], id=name) for name in LACKING])


@pytest.fixture
def registry(spandrel, monkeypatch):
    """spandrel's registry, which the test leaves as it found it."""
    registry = spandrel.MAIN_REGISTRY
    for name in ("_architectures", "_ordered", "_by_id"):  # replaced, never changed
        monkeypatch.setattr(registry, name, getattr(registry, name))
    return registry


@pytest.fixture
def installed(registry):
    assert ours.install() == LACKING
    return registry


def detected(registry, state):
    """The name of the architecture that spandrel takes the tensors for."""
    return next((found.architecture.id for found in registry.architectures("detection") if found.detect(state)), None)


def small(kind, scale=2):
    """A small model; what tensors do not show has its default."""
    record = kind.architecture
    seen = {key: value for key, value in record.small.items() if key not in ("n_steps", "margin")}
    return create_model(next(iter(record.variants)), scale=scale, **seen).eval()


def states(model):
    """The model's tensors under our names, and under the released ones where there are any."""
    return [model.state_dict(), *([to_official(model)] if model.architecture.released else [])]


@lacking
def test_loads_our_architectures(spandrel, installed, kind):
    model = small(kind, 3 if kind.__name__ in ("EDSR", "DLNFN", "SmallCCLNN", "HAN") else 2)
    x = torch.rand(1, 3, 13, 17)
    with torch.no_grad():
        expected = model(x).clamp(0, 1)
    for state in states(model):
        loaded = spandrel.ModelLoader().load_from_state_dict(dict(state))
        assert isinstance(loaded, spandrel.ImageModelDescriptor)
        assert (loaded.architecture.id, loaded.architecture.name) == (kind.__name__, kind.architecture.title)
        assert loaded.model.config == model.config
        assert (loaded.scale, loaded.purpose) == (model.scale, "SR")
        assert (loaded.input_channels, loaded.output_channels) == (3, 3)
        assert loaded.size_requirements.none
        assert torch.equal(loaded(x), expected)


@lacking
def test_low_precision_is_supported_where_it_is_promised(spandrel, installed, kind):
    model = small(kind)
    x = torch.rand(1, 3, 13, 17)
    with torch.no_grad():
        expected = model(x).clamp(0, 1)
    promised = kind.architecture.low_precision
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        loaded = spandrel.ModelLoader().load_from_state_dict(model.state_dict())
        if name not in promised:
            with pytest.raises(spandrel.UnsupportedDtypeError):
                loaded.to(dtype)
            continue
        image = loaded.to(dtype)(x.to(dtype))
        assert image.dtype == dtype
        assert (image.float() - expected).abs().mean() < 0.02


def test_tiling_is_discouraged_where_a_pixel_depends_on_the_whole_image(spandrel, installed):
    load = spandrel.ModelLoader().load_from_state_dict
    local, distant = load(small(ARCHITECTURES["EDSR"]).state_dict()), load(small(ARCHITECTURES["NLSN"]).state_dict())
    assert (local.tiling, distant.tiling) == (spandrel.ModelTiling.SUPPORTED, spandrel.ModelTiling.DISCOURAGED)


def test_our_bundled_file_gives_what_our_own_loader_gives(spandrel, installed):
    loaded = spandrel.ModelLoader().load_from_file(WEIGHTS / "cclnn-s-x2.safetensors")
    x = torch.rand(1, 3, 19, 23)
    with torch.no_grad():
        assert torch.equal(loaded(x), cclnn.load("cclnn-s-x2")(x).clamp(0, 1))
    assert loaded.tags == ["channels=48", "n_units=6"]


def test_a_pickled_checkpoint_of_released_code_loads(spandrel, installed, tmp_path):
    torch.save({"params_ema": to_official(small(ARCHITECTURES["EDSR"], 4))}, tmp_path / "edsr_x4.pth")
    assert spandrel.ModelLoader().load_from_file(tmp_path / "edsr_x4.pth").scale == 4


def test_any_model_becomes_a_descriptor(spandrel):
    """Where tensors do not show the scale."""
    described = ours.descriptor(create_model("vdsr", scale=4, n_layers=3, channels=8))
    assert described(torch.rand(1, 3, 5, 7)).shape == (1, 3, 20, 28)


def test_installing_twice_changes_nothing(installed):
    before = installed.architectures("detection")
    assert ours.install() == []
    assert installed.architectures("detection") == before


def test_without_it_spandrel_takes_some_of_ours_for_its_own(registry):
    """Why ours are asked first."""
    han, vdsr = (small(ARCHITECTURES[name]) for name in ("HAN", "VDSR"))
    assert detected(registry, to_official(han)) == "RCAN"
    assert detected(registry, vdsr.state_dict()) == "Compact"
    ours.install()
    assert detected(registry, to_official(han)) == "HAN"
    assert detected(registry, vdsr.state_dict()) == "VDSR"


NEEDED = {  # what their constructors have no default for, or which does not fit
    "AuraSR": {"dim": 16, "image_size": 64, "input_image_size": 16, "style_network": {}},
    "IPT": {"n_feats": 16, "num_layers": 1, "patch_size": 6},
    "MMRealSR": {"num_in_ch": 3, "num_out_ch": 3},
    "NAFNet": {"enc_blk_nums": [1], "dec_blk_nums": [1], "middle_blk_num": 1},
    "RCAN": {"n_resgroups": 2, "n_resblocks": 2},
    "SAFMN": {"dim": 36},
    "SAFMNBCIE": {"dim": 36},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "Swin2SR": {"window_size": 8},
    "SwinIR": {"window_size": 8},
}


def networks_of(support):
    """(name, class) of every network that one of spandrel's architectures has."""
    module = importlib.import_module(type(support.architecture).__module__)
    found = {name: getattr(module, name) for name in module.__all__}
    return {name: kind for name, kind in found.items() if issubclass(kind, nn.Module)}


def tensors_of(kind, arguments):
    """Names and shapes that spandrel's own class has; of numbers, those that our rules look at."""
    real = kind.__module__.endswith(("rcan_arch", "ipt"))  # they fill tensors by hand
    with torch.device("cpu" if real else "meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in code that is not ours
        state = kind(**arguments).state_dict()
    state = {name: torch.zeros(x.shape, dtype=x.dtype) for name, x in state.items()}
    if "sub_mean.bias" in state:
        state["sub_mean.bias"] = -255 * torch.tensor(DIV2K_MEAN)
    return state


def test_spandrels_own_networks_stay_its_own(registry, monkeypatch):
    """Every architecture that it knows, built by its own classes: the same is detected with ours and without."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # read at once
    built = [
        (support.architecture.id, name, tensors_of(kind, NEEDED.get(support.architecture.id, {})))
        for support in registry
        for name, kind in networks_of(support).items()
    ]
    assert {theirs for theirs, _, _ in built} == {support.architecture.id for support in registry}
    before = [detected(registry, state) for _, _, state in built]
    assert before == [theirs for theirs, _, _ in built]
    ours.install()
    assert [detected(registry, state) for _, _, state in built] == before


def test_without_spandrel_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ImportError, match=r"pip install \"cclnn\[spandrel\]\""):
        ours.install()
