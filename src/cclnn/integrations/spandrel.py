"""Our networks in spandrel, the loader of chaiNNer and ComfyUI (extra `spandrel`), which does not know them."""

from collections.abc import Mapping
from typing import Any

from cclnn.models import ARCHITECTURES, SRModel
from cclnn.pretrained import from_state_dict, recognize


def install() -> list[str]:
    """Add the architectures of ours that spandrel lacks to its `MAIN_REGISTRY`, for every `ModelLoader` from then on.

        cclnn.integrations.spandrel.install()
        model = spandrel.ModelLoader().load_from_file("edsr_x4.safetensors")

    They are known by every name and every shape of their tensors, ours or the released code's, and asked first: some of
    spandrel's go by a few names, and would take ours for theirs. Where spandrel has a name (RCAN), its own stays, which
    knows the released names alone.

    spandrel gives on tensors alone. What they do not show is as in `cclnn.pretrained.from_state_dict`; `descriptor`
    takes a model that `cclnn.load` has loaded.

    Returns:
        The names that were added, sorted; none the second time.

    Raises:
        ImportError: spandrel cannot be imported.
    """
    spandrel = _spandrel()
    registry = spandrel.MAIN_REGISTRY
    theirs = tuple(support.architecture.id for support in registry)
    lacking = [_architecture(kind) for name, kind in ARCHITECTURES.items() if name not in registry]
    registry.add(*(spandrel.ArchSupport.from_architecture(one, before=theirs) for one in lacking))
    return [one.id for one in lacking]


def descriptor(model: SRModel) -> Any:
    """The model as spandrel describes one, `spandrel.ImageModelDescriptor`, for programs that take that.

    Half precision and bfloat16 are as tested for the architecture. Tiling is discouraged where a pixel depends on the
    whole image. Every size is taken: padding is inside the networks.

    Args:
        model: any network of ours; it is used, not copied.

    Raises:
        ImportError: spandrel cannot be imported.
    """
    spandrel = _spandrel()
    record = model.architecture
    return spandrel.ImageModelDescriptor(
        model,
        model.state_dict(),
        architecture=_architecture(type(model)),
        purpose="SR",
        tags=[
            f"{name}={model.config[name]}" for name in ("channels", "n_resblocks", "n_units") if name in model.config
        ],
        supports_half="fp16" in record.low_precision,
        supports_bfloat16="bf16" in record.low_precision,
        scale=model.scale,
        input_channels=3,
        output_channels=3,
        size_requirements=spandrel.SizeRequirements(),  # none
        tiling=spandrel.ModelTiling.DISCOURAGED if record.reach(model) is None else spandrel.ModelTiling.SUPPORTED,
    ).eval()


def _spandrel() -> Any:
    try:
        import spandrel
    except ImportError as error:
        raise ImportError(f'spandrel cannot be imported: pip install "cclnn[spandrel]" ({error})') from error
    return spandrel


def _architecture(kind: type[SRModel]) -> Any:
    """The class as an `Architecture` of spandrel's, which can only be derived from where spandrel is installed."""
    spandrel = _spandrel()

    class Ours(spandrel.Architecture):  # type: ignore[misc, name-defined]  # it has no types
        def __init__(self) -> None:
            super().__init__(
                id=kind.__name__,
                name=kind.architecture.title,
                detect=lambda state: recognize(state, among=[kind]) is not None,
            )

        def load(self, state_dict: Mapping[str, Any]) -> Any:
            return descriptor(from_state_dict(state_dict, among=[kind]).float())  # as spandrel loads its own

    return Ours()
