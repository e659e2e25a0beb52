"""Which of the paper's ablation settings (Tables 1-4) a checkpoint belongs to: read off its configuration."""

from collections.abc import Mapping

from cclnn.evaluation.paper import ABLATIONS, Setting
from cclnn.models import SRModel

PAPER_WEIGHT = 4e-3  # lambda of every row of Tables 1-3
SIZE = ("channels", "n_resblocks")


def ablation_rows(
    models: Mapping[str, SRModel], weights: Mapping[str, float] | None = None
) -> dict[str, list[tuple[Setting, str | None]]]:
    """Table -> (setting, name of the model that has it or None), in the paper's order; a setting may have several.

    Args:
        models: name -> network; all of one size and scale, or the comparison would be of sizes.
        weights: name -> lambda that it was trained with, where it is known; the others count as the paper's 4e-3 in
            Tables 1-3 and are left out of Table 4.

    Raises:
        ValueError: no models, models of several sizes or scales, one that no table has, a weight for none of them.
    """
    weights = weights or {}
    if unknown := sorted(weights.keys() - models.keys()):
        raise ValueError(f"`weights` names {', '.join(unknown)}, which is not among the models.")
    sizes = {name: (model.scale, *(model.config.get(key) for key in SIZE)) for name, model in models.items()}
    if len(set(sizes.values())) != 1:
        listed = "; ".join(f"{name} has {size}" for name, size in sizes.items()) or "none"
        raise ValueError(f"`models` must share scale, {' and '.join(SIZE)}: {listed}.")
    tables: dict[str, list[tuple[Setting, str | None]]] = {}
    for title, settings in ABLATIONS.items():
        for setting in settings:
            fitting = [name for name, model in models.items() if _fits(model, weights.get(name), setting)]
            tables.setdefault(title, []).extend((setting, name) for name in fitting or (None,))
    placed = {name for rows in tables.values() for _, name in rows}
    if astray := sorted(models.keys() - placed):
        described = "; ".join(f"{name}: {type(models[name]).__name__} {models[name].config}" for name in astray)
        raise ValueError(f"no setting of Tables 1-4 fits {described}.")
    return tables


def _fits(model: SRModel, weight: float | None, setting: Setting) -> bool:
    trained_alike = weight == setting.weight if setting.weight is not None else weight in (None, PAPER_WEIGHT)
    return (
        type(model).__name__ == setting.architecture
        and trained_alike
        and all(model.config.get(key) == value for key, value in setting.arguments.items())
    )
