"""Checkpoints of the released code -> models of cclnn: every key is renamed by a rule below or is an error."""

import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from cclnn._typing import Tensor
from cclnn.hub.checkpoint import check_finite, check_fit, load_strictly
from cclnn.hub.config import blank
from cclnn.hub.names import unpack, unwrap
from cclnn.layers.mean_shift import DIV2K_MEAN
from cclnn.models._base import SRModel
from cclnn.models._registry import MODELS, check_model_name

# (official module, ours); "weight" or "bias" follows. One mapping an architecture, each of them whole.
EDSR = [
    (r"(sub_mean|add_mean)", r"\1"),
    (r"head\.0", r"head"),
    (r"tail\.(0\.\d+|1)", r"tail.\1"),
    (r"body\.(\d+)", r"body.\1"),
    (r"body\.(\d+)\.body\.0", r"body.\1.conv1"),
    (r"body\.(\d+)\.body\.2", r"body.\1.conv2"),
]
NLSN = [
    *EDSR,
    (r"body\.(\d+)\.(conv_match|conv_assembly)\.0", r"body.\1.\2"),
]
CCLNN = [  # no code was released: NLSN's layout, with a block's parts named pa, nlsa, cca and res
    *EDSR,
    (r"body\.(\d+)\.pa\.conv", r"body.\1.pixel_attention.conv"),
    (r"body\.(\d+)\.nlsa\.(conv_match|conv_assembly)\.0", r"body.\1.nonlocal_attention.\2"),
    (r"body\.(\d+)\.cca\.conv_du\.0", r"body.\1.channel_attention.squeeze"),
    (r"body\.(\d+)\.cca\.conv_du\.2", r"body.\1.channel_attention.excite"),
    (r"body\.(\d+)\.res\.body\.0", r"body.\1.residual.conv1"),
    (r"body\.(\d+)\.res\.body\.2", r"body.\1.residual.conv2"),
]
MAPPINGS = {"EDSR": EDSR, "NLSN": NLSN, "CCLNN": CCLNN}


@dataclass(frozen=True)
class Signature:
    """A key that one released architecture has, and no other above it in the list."""

    architecture: str
    key: str


SIGNATURES = [  # the first that matches; the names after EDSR are known, but wait for their models
    Signature("CCLNN", r"body\.0\.pa\.conv\.weight"),
    Signature("NLSN", r"body\.0\.conv_match\.0\.weight"),
    Signature("RCAN", r"body\.0\.body\.0\.body\.3\.conv_du\.0\.weight"),
    Signature("EDSR", r"body\.0\.body\.0\.weight"),
    Signature("A2N", r"AAB_trunk\.0\.attention\.k1\.weight"),
    Signature("DiVANet", r"b1\.rb1\.DiVA\.conv_h\.weight"),
    Signature("RNAN", r"body_nl_low\.0\.body\.0\.RA_RB1\.0\.body\.0\.weight"),
    Signature("PAN", r"SCPA_trunk\.0\.conv1_a\.weight"),
    Signature("VDSR", r"body\.0\.0\.weight|residual_layer\.0\.conv\.weight"),
]
WHITES = (1.0, 255.0)
UNSEEN = ("res_scale", "n_hashes", "chunk_size")  # arguments that change the output, but no tensor's shape
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def convert_official(architecture: str, state_dict: Mapping[str, Any], **arguments: Any) -> SRModel:
    """The model that a released checkpoint describes, in eval mode, with its weights; strict.

    Scale, channels, number of residual blocks, reductions and rgb_range are read off the tensors. What no tensor
    shows (res_scale, n_hashes, chunk_size, ratio) comes from `arguments`, else from the model of `list_models()` with
    this architecture, width and depth (so `edsr` of 64 channels and 16 blocks gets the res_scale of `edsr-baseline`),
    and where there is none from the model that is named.

    Args:
        architecture: a name of `list_models()`: "edsr", "edsr-baseline", "nlsn", ... and "cclnn" for the same layout
            with a block's parts named pa, nlsa, cca and res. "auto" detects "edsr", "nlsn" or "cclnn" from the keys.
        state_dict: official key -> tensor, as the released code saves it; containers ("params_ema", "state_dict", ...)
            and wrappers' prefixes ("module.", "_orig_mod.") are unpacked.
        arguments: of the architecture's constructor.

    Raises:
        ValueError: unknown architecture, a key that no rule renames, missing keys or other shapes.
    """
    if architecture != "auto":
        check_model_name(architecture)
    inner = unpack(state_dict, "`state_dict`")
    _check_tensors(inner)
    official = {key: inner[stored] for key, stored in unwrap(inner, "`state_dict`").items()}
    named = detect(official).lower() if architecture == "auto" else architecture
    kind = MODELS[named].architecture.__name__
    tensors = {rename(key, kind): tensor for key, tensor in official.items()}
    inferred = {**infer_arguments(tensors, given=arguments), **arguments}
    entry = MODELS[nearest_model(kind, inferred) or named]
    source = f"the official {named} state dict"
    twin = blank(entry.architecture, {**entry.arguments, **inferred}, device="meta")
    check_fit(twin, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    check_finite(tensors, "`state_dict`")
    model = blank(entry.architecture, twin.config, device="cpu").to(tensors["head.weight"].dtype)
    load_strictly(model, tensors, source)
    return model.eval()


def detect(official: Mapping[str, Any]) -> str:
    """The architecture whose released code wrote these keys."""
    for signature in SIGNATURES:
        if any(re.fullmatch(signature.key, key) for key in official):
            if signature.architecture in MAPPINGS:
                return signature.architecture
            raise ValueError(
                f"`state_dict` is one of {signature.architecture}, which cclnn does not have yet; it converts "
                f"{', '.join(MAPPINGS)}."
            )
    shown = ", ".join(sorted(official)[:4])
    raise ValueError(
        f"`state_dict` is of no architecture that cclnn knows ({', '.join(s.architecture for s in SIGNATURES)}): it "
        f"holds {shown}, ..."
    )


def nearest_model(kind: str, inferred: Mapping[str, Any]) -> str | None:
    """The name of `list_models()` with this architecture, width and depth, whose other arguments then hold."""
    for name, entry in MODELS.items():
        defaults = inspect.signature(entry.architecture).parameters
        sizes = {size: entry.arguments.get(size, defaults[size].default) for size in ("channels", "n_resblocks")}
        if entry.architecture.__name__ == kind and sizes.items() <= inferred.items():
            return name
    return None


def rename(key: str, architecture: str | None = None) -> str:
    """Our name for an official key of "EDSR", "NLSN" or "CCLNN"; None: of whichever has a rule for it."""
    module, _, kind = key.rpartition(".")
    mappings = list(MAPPINGS.values()) if architecture is None else [MAPPINGS[architecture]]
    for official, ours in itertools.chain(*mappings):
        if kind in ("weight", "bias") and (match := re.fullmatch(official, module)):
            return f"{match.expand(ours)}.{kind}"
    needed = f" for {architecture}" if architecture else ""
    raise ValueError(f"`state_dict` holds {key!r}, which no rule of cclnn.hub.convert renames{needed}.")


def infer_arguments(tensors: Mapping[str, Tensor], *, given: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments that renamed tensors show; one that is `given` is not needed from them."""
    for needed in ("head.weight", "tail.0.0.weight", "sub_mean.bias"):
        if needed not in tensors:
            raise ValueError(f"`state_dict` has no tensor for {needed!r}; is it a network of the EDSR family?")
    channels = tensors["head.weight"].shape[0]
    factor = tensors["tail.0.0.weight"].shape[0] // channels
    steps = sum(bool(re.fullmatch(r"tail\.0\.\d+\.weight", name)) for name in tensors)
    inferred: dict[str, Any] = {
        "scale": 3 if factor == 9 else 2**steps,
        "channels": channels,
        "n_resblocks": sum(bool(re.fullmatch(r"body\.\d+\.conv1\.weight", name)) for name in tensors),
    }
    if "rgb_range" not in given:
        inferred["rgb_range"] = infer_white(tensors["sub_mean.bias"])
    for name, tensor in tensors.items():
        if name.endswith("conv_match.weight"):
            inferred["match_reduction"] = channels // tensor.shape[0]
        if name.endswith("squeeze.weight"):
            inferred["reduction"] = channels // tensor.shape[0]
    return inferred


def infer_white(bias: Tensor) -> float:
    """rgb_range, 1 or 255, off the mean shift: bias = -rgb_range * mean, which half precision and training move."""
    found = -bias[0].item() / DIV2K_MEAN[0]
    for white in WHITES:
        if abs(found / white - 1) < 0.05:
            return white
    raise ValueError(f"`state_dict`: sub_mean.bias fits rgb_range={found:.4g}, neither 1 nor 255; give `rgb_range`.")


def _check_tensors(state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"`state_dict` must hold tensors, but {key!r} is of type {type(value).__name__}.")
        if value.dtype not in FLOATS or value.layout is not torch.strided or value.is_meta:
            kind = f"{value.dtype}, {value.layout}, on {value.device}"
            raise ValueError(f"`state_dict` must hold plain floating-point tensors, but {key!r} is {kind}.")
        if not (value.ndim and value.numel()):
            raise ValueError(f"`state_dict`: {key!r} of shape {tuple(value.shape)} holds no vector of numbers.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(
                f"`state_dict`: {key!r} of shape {tuple(value.shape)} is larger than the numbers stored for it."
            )
