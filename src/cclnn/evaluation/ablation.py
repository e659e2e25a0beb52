"""Find the paper's ablation setting (Tables 1-4) that a checkpoint's configuration matches."""

from collections.abc import Mapping

from cclnn.evaluation.paper import ABLATIONS, CONTRASTIVE_WEIGHT, Setting
from cclnn.models import SRModel

SIZE = ("channels", "n_resblocks")
PAPERS_ATTENTION = {"similarity": "dot", "centre": False, "local_round": False, "stride": 1}


def ablation_rows(
    models: Mapping[str, SRModel], weights: Mapping[str, float] | None = None
) -> dict[str, list[tuple[Setting, str | None]]]:
    """Map each table to its settings in the paper's order, each with the name of a matching model or None.

    A setting that several models match is listed once for each of them.

    Args:
        models: name -> network. All must have the same size and scale, or the comparison would be one of sizes.
        weights: name -> lambda used in training, where it is known. A model without one is taken to have been trained
            with the paper's lambda in Tables 1-3, and is left out of Table 4.

    Raises:
        ValueError: there are no models, their sizes or scales differ, no table has a setting for one of them, or
            `weights` names another model.
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
    if unmatched := sorted(models.keys() - placed):
        described = "; ".join(f"{name}: {type(models[name]).__name__} {models[name].config}" for name in unmatched)
        raise ValueError(f"no setting of Tables 1-4 fits {described}.")
    return tables


def _fits(model: SRModel, weight: float | None, setting: Setting) -> bool:
    trained_alike = weight == setting.weight if setting.weight is not None else weight in (None, CONTRASTIVE_WEIGHT)
    return (
        type(model).__name__ == setting.architecture
        and trained_alike
        and all(model.config.get(key) == value for key, value in setting.arguments.items())
        and all(model.config.get(key, value) == value for key, value in PAPERS_ATTENTION.items())
    )
