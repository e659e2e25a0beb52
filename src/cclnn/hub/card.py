"""The README.md beside weights: a model card with the YAML header that the Hub reads."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from cclnn._version import __version__

FACTS = ("name", "source", "license", "datasets", "tags", "training", "measured")
UNITS = {"psnr": "PSNR (Y)", "ssim": "SSIM (Y)"}


@runtime_checkable
class Network(Protocol):
    """What a card states of a model."""

    scale: int
    config: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        """Name -> tensor."""


def model_card(model: Network, facts: Mapping[str, Any]) -> str:
    """A model card: YAML header, what it is, how to use it, how it was trained, what it reaches.

    Args:
        model: whose architecture, scale and size are stated.
        facts: what only its maker knows, all optional: `name`; `source`, what `cclnn.load` takes once it is published
            ("hf-hub:org/repo"; `push_to_hub` fills it in); `license` (an identifier of the Hub such as "mit";
            without one the card says "unknown"); `datasets` (ids on the Hub); `tags`; `training` (text, or a mapping
            of headings to text); `measured`: {"Set5": {"psnr": 37.48, "ssim": 0.9586}, ...}. The entries of
            `cclnn.pretrained.published_facts(name)` fit.
    """
    unknown = sorted(facts.keys() - set(FACTS))
    if unknown:
        raise ValueError(f"`card` must have keys out of {', '.join(FACTS)}, got {', '.join(map(repr, unknown))}.")
    kind, measured = type(model).__name__, facts.get("measured", {})
    name = facts.get("name", f"{kind} x{model.scale}")
    size = sum(tensor.numel() for tensor in model.state_dict().values())
    parts = [
        f"---\n{_header(model, name, facts)}---",
        f"# {name}",
        f"Image super-resolution by a factor of {model.scale}: {kind} of [cclnn](https://pypi.org/project/cclnn/) "
        f"{__version__}, {size:,} parameters. RGB in, RGB out, values in [0, 1].",
        "## Use",
        _usage(model.scale, facts.get("source", "hf-hub:ORG/REPO")),
    ]
    if training := facts.get("training"):
        lines = (
            [f"- {key}: {value}" for key, value in training.items()] if isinstance(training, Mapping) else [training]
        )
        parts += ["## Training", "\n".join(lines)]
    if measured:
        parts += ["## Measured", _table(measured)]
    arguments = "\n".join(f"- `{key}`: {value!r}" for key, value in model.config.items())
    parts += ["## Configuration", arguments]
    return "\n\n".join(parts) + "\n"


def _header(model: Network, name: str, facts: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    measured = facts.get("measured", {})
    results = [
        EvalResult(
            task_type="image-to-image",
            dataset_type=dataset.lower(),
            dataset_name=f"{dataset} x{model.scale}",
            metric_type=metric,
            metric_name=UNITS[metric],
            metric_value=value,
        )
        for dataset, values in measured.items()
        for metric, value in values.items()
        if metric in UNITS
    ]
    data = ModelCardData(
        library_name="cclnn",
        pipeline_tag="image-to-image",
        license=facts.get("license", "unknown"),
        datasets=list(facts["datasets"]) if "datasets" in facts else None,
        tags=["super-resolution", type(model).__name__.lower(), *facts.get("tags", ())],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text + "\n"


def _usage(scale: int, source: str) -> str:
    return (
        "```bash\npip install cclnn\n```\n\n"
        "```python\n"
        "import cclnn\nfrom PIL import Image\n\n"
        f'model = cclnn.load("{source}")  # or the path of this folder\n'
        f'large = cclnn.upscale(Image.open("photo.jpg"), model=model)  # {scale} times as wide and high\n'
        "```"
    )


def _table(measured: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(metric for values in measured.values() for metric in values))
    rows = [
        f"| {dataset} | " + " | ".join(str(values.get(c, "")) for c in columns) + " |"
        for dataset, values in measured.items()
    ]
    heads = [UNITS.get(column, column) for column in columns]
    return "\n".join([f"| data | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|", *rows])
