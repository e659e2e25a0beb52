"""Checkpoints of the released code -> models of cclnn: every key is renamed by a rule below or is an error."""

import re
from collections.abc import Mapping
from typing import Any

from cclnn._typing import Tensor
from cclnn.hub.checkpoint import load_strictly
from cclnn.layers.mean_shift import DIV2K_MEAN
from cclnn.models._base import SRModel
from cclnn.models._registry import MODELS, check_model_name

# (official module, ours); "weight" or "bias" follows.
RULES = [
    (r"(sub_mean|add_mean)", r"\1"),
    (r"head\.0", r"head"),
    (r"tail\.(0\.\d+|1)", r"tail.\1"),
    (r"body\.(\d+)", r"body.\1"),
    (r"body\.(\d+)\.body\.0", r"body.\1.conv1"),
    (r"body\.(\d+)\.body\.2", r"body.\1.conv2"),
    (r"body\.(\d+)\.(conv_match|conv_assembly)\.0", r"body.\1.\2"),
    (r"body\.(\d+)\.pa\.conv", r"body.\1.pixel_attention.conv"),
    (r"body\.(\d+)\.nlsa\.(conv_match|conv_assembly)\.0", r"body.\1.nonlocal_attention.\2"),
    (r"body\.(\d+)\.cca\.conv_du\.0", r"body.\1.channel_attention.squeeze"),
    (r"body\.(\d+)\.cca\.conv_du\.2", r"body.\1.channel_attention.excite"),
    (r"body\.(\d+)\.res\.body\.0", r"body.\1.residual.conv1"),
    (r"body\.(\d+)\.res\.body\.2", r"body.\1.residual.conv2"),
]


def convert_official(architecture: str, state_dict: Mapping[str, Tensor], **arguments: Any) -> SRModel:
    """The model that a released checkpoint describes, in eval mode, with its weights; strict.

    Scale, channels, number of residual blocks, reductions and rgb_range are read off the tensors. What no tensor
    shows (res_scale, n_hashes, chunk_size, ratio) comes from the table of models, or from `arguments`.

    Args:
        architecture: a name of `list_models()`: "edsr", "edsr-baseline", "nlsn", ... and "cclnn" for the same layout
            with a block's parts named pa, nlsa, cca and res.
        state_dict: official key -> tensor, as the released code saves it.
        arguments: of the architecture's constructor.

    Raises:
        ValueError: unknown architecture, a key that no rule renames, missing keys or other shapes.
    """
    check_model_name(architecture)
    tensors = {rename(key): tensor for key, tensor in state_dict.items()}
    entry = MODELS[architecture]
    model = entry.architecture(**{**entry.arguments, **infer_arguments(tensors), **arguments})
    model.to(tensors["head.weight"].dtype)
    load_strictly(model, tensors, f"the official {architecture} state dict")
    return model.eval()


def rename(key: str) -> str:
    """Our name for an official key."""
    module, _, kind = key.rpartition(".")
    for official, ours in RULES:
        if kind in ("weight", "bias") and (match := re.fullmatch(official, module)):
            return f"{match.expand(ours)}.{kind}"
    raise ValueError(f"`state_dict` holds {key!r}, which no rule of cclnn.hub.convert renames.")


def infer_arguments(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments that renamed tensors show."""
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
        "rgb_range": round(-tensors["sub_mean.bias"][0].item() / DIV2K_MEAN[0], 2),
    }
    for name, tensor in tensors.items():
        if name.endswith("conv_match.weight"):
            inferred["match_reduction"] = channels // tensor.shape[0]
        if name.endswith("squeeze.weight"):
            inferred["reduction"] = channels // tensor.shape[0]
    return inferred
