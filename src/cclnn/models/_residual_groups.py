"""What RCAN and HAN share: residual groups as the body of the trunk, their released names, their arguments."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from cclnn._checks import check_at_least
from cclnn._typing import Tensor
from cclnn.layers.residual_channel_attention import ResidualGroup
from cclnn.models._base import SRModel
from cclnn.models._taking import take
from cclnn.models._trunk import LAST, TRUNK, infer_trunk


def residual_groups(
    n_groups: int,
    *,
    channels: int,
    n_blocks: int,
    reduction: int,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Iterator[ResidualGroup]:
    """Groups of residual channel attention blocks, made one at a time; their number is checked at once."""
    check_at_least("n_groups", n_groups, 1)
    made: dict[str, Any] = {"n_blocks": n_blocks, "reduction": reduction, "device": device, "dtype": dtype}
    return (ResidualGroup(channels, **made) for _ in range(n_groups))


# (official key, ours), after `name_last`.
GROUPS = (
    *TRUNK[:5],
    ("body.{i}.body.{j}.body.0.*", "body.{i}.blocks.{j}.conv1.*"),
    ("body.{i}.body.{j}.body.2.*", "body.{i}.blocks.{j}.conv2.*"),
    ("body.{i}.body.{j}.body.3.conv_du.0.*", "body.{i}.blocks.{j}.attention.squeeze.*"),
    ("body.{i}.body.{j}.body.3.conv_du.2.*", "body.{i}.blocks.{j}.attention.excite.*"),
    ("body.{i}.body.last.*", "body.{i}.conv.*"),
    *LAST,
)


def infer_groups(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show."""
    inferred = infer_trunk(tensors, given)
    del inferred["n_resblocks"]
    (squeezed,) = take(tensors, "body.0.blocks.0.attention.squeeze.weight", of="an RCAN or a HAN")
    return {
        **inferred,
        "n_groups": sum(bool(re.fullmatch(r"body\.\d+\.conv\.weight", name)) for name in tensors),
        "n_blocks": sum(bool(re.fullmatch(r"body\.0\.blocks\.\d+\.conv1\.weight", name)) for name in tensors),
        "reduction": inferred["channels"] // squeezed.shape[0],
    }


def name_last(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolution that ends a group, `body.g.body.20` after 20 blocks, under the name `body.g.body.last`."""
    return {re.sub(r"^(body\.\d+\.body)\.\d+\.(\w+)$", r"\1.last.\2", key): x for key, x in official.items()}


def number_last(model: SRModel, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `name_last`."""
    return {key.replace(".last.", f".{model.config['n_blocks']}."): tensor for key, tensor in official.items()}
