"""The names people import, and what importing costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cclnn
from cclnn.models import registry

TOP = {
    *("CCLNN", "EDSR", "NLSN", "CCLNBlock", "ChannelAttention", "ChannelContrastiveAttention", "MeanShift"),
    *("NonLocalSparseAttention", "PixelAttention", "ResBlock", "Upsampler", "Upscaler", "__version__"),
    *("convert_official", "create_model", "hub", "layers", "list_models", "list_pretrained", "load", "losses"),
    *(
        "attribution",
        "evaluation",
        "export",
        "image",
        "integrations",
        "metrics",
        "models",
        "ops",
        "precision",
        "pretrained",
        "upscale",
        "upscaler",
    ),
}
MODULES = {
    "layers": {
        *("PixelAttention", "ChannelAttention", "ChannelContrastiveAttention", "NonLocalSparseAttention"),
        *("ResBlock", "CCLNBlock", "Upsampler", "MeanShift", "ResidualChannelAttentionBlock", "ResidualGroup"),
        *("AttentionMask", "ResidualAttention", "NonLocalBlock", "AttentionInAttentionBlock", "PixelAttentionConv"),
        *("SelfCalibratedBlock", "NearestUpsampler", "WeightNormConv2d"),
        *(
            "DirectionalVarianceAttention",
            "DirectionalVarianceBlock",
            "DirectionalVarianceGroup",
            "EfficientNonLocalContrastiveAttention",
        ),
        *("CBAM", "ChannelGate", "ChannelSpatialAttention", "CrossScaleAttention"),
        *("DegradationAwareBlock", "DegradationAwareConv", "DegradationAwareGroup", "DegradationEncoder"),
        *("FeedbackBlock", "LayerAttention", "MutualAffineBlock", "MutualAffineConv"),
        *("NonLocalAttention", "SpatialAttention", "MultiSourceFusion", "SelfExemplarsMining"),
    },
    "losses": {
        *(
            "channel_contrastive_loss",
            "channel_sparsity_loss",
            "collect_losses",
            "ChannelContrastiveLoss",
            "ChannelSparsityLoss",
        ),
        "CCLNNLoss",
        *("MomentumContrast", "momentum_contrast_loss"),
    },
    "models": {*registry.ARCHITECTURES, "Architecture", "Released", "SRModel", "create_model", "list_models"},
    "ops": {
        "LSHPlan",
        "dense_attention",
        "largest_scores",
        "hash_codes",
        "make_plan",
        "lsh_attention",
        "imresize",
        "rgb_to_y",
        *("Degradation", "blur", "degrade", "draw_degradation"),
        *("gaussian_kernels", "patch_attention"),
    },
    "image": {
        *("FORMATS", "Format", "ImageFileError", "Metadata", "Picture", "check_fits", "check_target", "convert"),
        *("encode", "format_of", "from_pil", "read_image", "read_picture", "save", "to_pil", "write_picture"),
        *("name_results", "preview", "result_name", "ResultNames", "to_tensor", "write_png"),
    },
    "metrics": {"psnr", "ssim"},
    "hub": {"model_card", "read_state_dict", "upload_folder"},
    "pretrained": {
        *("convert_official", "detect", "list_pretrained", "load", "publish", "published_facts", "to_official"),
        *("ForeignModel", "OnnxModel", "from_state_dict", "interpolate", "load_foreign", "recognize"),
    },
    "integrations": {"spandrel", "storage"},
}
REFERENCE = Path(__file__).parents[1] / "docs" / "api"
EXTRAS = ("PIL", "click", "tqdm", "jaxtyping", "beartype", "skimage", "scipy", "torchvision")
MODELS = ["cclnn", "cclnn-l", "cclnn-s", "cclnn-t", "edsr", "edsr-baseline", "edsr-l", "nlsn", "nlsn-l"]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_top_level_names():
    assert set(cclnn.__all__) == TOP
    assert set(dir(cclnn)) == TOP
    assert all(getattr(cclnn, name) is not None for name in TOP)
    with pytest.raises(AttributeError, match="module 'cclnn' has no attribute 'CCLN'"):
        cclnn.CCLN  # noqa: B018


@pytest.mark.parametrize("module", MODULES)
def test_module_names(module):
    assert set(getattr(cclnn, module).__all__) == MODULES[module]


def test_model_names():
    """Those of the design are there, each in `cclnn.models` by its class."""
    assert set(MODELS) <= set(cclnn.list_models())
    assert all(getattr(cclnn.models, name) is kind for name, kind in registry.ARCHITECTURES.items())


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda path: path.stem)
def test_every_documented_name_is_an_attribute_of_the_package(page, after_torch):
    """After `import cclnn` alone, in the order of the page."""
    names = re.findall(r"^::: (cclnn\.\S+)$", page.read_text(), re.MULTILINE)
    assert names
    done = after_torch.run("import cclnn\n" + "\n".join(names))
    assert done.returncode == 0, done.stderr


def test_the_first_use_of_a_module_may_be_deep(after_torch):
    done = after_torch.run("import cclnn; cclnn.ops.sparse_attention.why_not; cclnn.integrations.spandrel.install")
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_none_fails(after_torch):
    done = after_torch.run("import cclnn; cclnn.ops; cclnn.no_such_module")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "AttributeError: module 'cclnn' has no attribute 'no_such_module'"


def test_everything_but_files_works_without_the_extras(after_torch):
    blocked = f"import sys; [sys.modules.__setitem__(name, None) for name in {EXTRAS}]; "
    use = "import cclnn; [getattr(cclnn, name) for name in cclnn.__all__]; cclnn.load('cclnn-s-x2')"
    done = after_torch.run(blocked + use)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("statement", ["import cclnn", "from cclnn import CCLNBlock", "import cclnn.upscaler"])
def test_importing_loads_no_extra(statement, after_torch):
    """Beyond what torch itself loads where it finds it (tqdm), and jaxtyping, the annotations of developers."""
    extras = set(EXTRAS) - {"jaxtyping"}
    code = f"import sys; before = set(sys.modules); {statement}; assert not {extras} & (set(sys.modules) - before)"
    done = after_torch.run(code)
    assert done.returncode == 0, done.stderr


def test_upscale_stays_a_function_whatever_is_imported_first(after_torch):
    done = after_torch.run("from cclnn.upscaler import Upscaler; import cclnn; assert callable(cclnn.upscale)")
    assert done.returncode == 0, done.stderr


def test_a_first_call_does_not_import_the_compiler(after_torch):
    """It takes a second and 150 MB, in every process."""
    code = (
        "import sys, torch, cclnn; model = cclnn.create_model('cclnn-t'); "
        "model(torch.rand(1, 3, 8, 9)).sum().backward(); print('torch._dynamo' in sys.modules)"
    )
    done = after_torch.run(code)
    assert done.stdout == "False\n", done.stderr


def test_importing_the_package_does_not_import_torch():
    done = run("import sys, cclnn; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_command_names_the_extra_it_lacks():
    done = run("import sys; sys.modules['click'] = None; from cclnn.cli import main; main()")
    assert done.returncode == 1
    assert 'the cclnn command needs click: pip install "cclnn[cli]"' in done.stderr
