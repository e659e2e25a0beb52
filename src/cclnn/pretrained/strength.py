"""Weights between two sets of weights of one architecture."""

from cclnn.models._base import SRModel


def interpolate(first: SRModel, second: SRModel, strength: float) -> SRModel:
    """A model with the weights (1 - strength) * first + strength * second, in eval mode; neither model is changed.

    Args:
        first: the model at strength 0.
        second: the model at strength 1, of the same class and configuration.
        strength: 0 to 1.

    Raises:
        ValueError: `strength` out of range, or models of different architecture or configuration.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"`strength` must lie between 0 and 1, got {strength}.")
    if type(first) is not type(second) or first.config != second.config:
        kinds = f"{type(first).__name__} {first.config} and {type(second).__name__} {second.config}"
        raise ValueError(f"models between which weights are interpolated must be built alike, got {kinds}.")
    there = second.state_dict()
    blended = type(first)(**first.config).to(next(first.parameters()))
    blended.load_state_dict(
        {
            name: here.lerp(there[name].to(here), strength) if here.is_floating_point() else here
            for name, here in first.state_dict().items()
        }
    )
    return blended.eval()
