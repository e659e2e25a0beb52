"""What is measured: the shapes, in one place."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["inference", "training"]
Number = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Case:
    """One call of an attention layer or of a whole network.

    subject:    "nlsa", or a name of `cclnn.list_models()` (at x2)
    channels:   of the layer; a network has its own
    batch, height, width: of the input
    task:       "inference" is a forward pass without gradients, "training" forward and backward
    number:     "fp32", or "bf16" autocast with channels_last
    option:     of the layer, a name in OPTIONS
    """

    subject: str
    channels: int
    batch: int
    height: int
    width: int
    task: Task
    number: Number
    option: str = "default"

    @property
    def name(self) -> str:
        channels = f" {self.channels}ch" if self.subject == "nlsa" else ""
        option = "" if self.option == "default" else f" {self.option}"
        return f"{self.subject}{channels}{option} {self.batch}x{self.height}x{self.width} {self.task} {self.number}"

    @property
    def tokens(self) -> int:
        """Pixels in the batch."""
        return self.batch * self.height * self.width

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


NUMBERS: tuple[Number, ...] = ("fp32", "bf16")
OPTIONS: dict[str, dict[str, Any]] = {  # of `cclnn.NonLocalSparseAttention`
    "default": {},
    "centre": {"centre": True},
    "cosine": {"similarity": "cosine"},
    "cosine, centre": {"similarity": "cosine", "centre": True},
    "local round": {"local_round": True},
    "stride 2": {"stride": 2},
}

LAYERS = [
    *(Case("nlsa", c, 1, s, s, "inference", x) for c in (64, 128, 256) for s in (48, 96, 160) for x in NUMBERS),
    *(Case("nlsa", 64, 1, s, s, "inference", x) for s in (256, 512) for x in NUMBERS),
    *(Case("nlsa", c, 16, 48, 48, "inference", x) for c in (64, 128, 256) for x in NUMBERS),
    *(Case("nlsa", c, 1, 96, 96, "training", x) for c in (64, 128, 256) for x in NUMBERS),
    *(Case("nlsa", c, 16, 48, 48, "training", x) for c in (64, 128, 256) for x in NUMBERS),
]
NETWORKS = [
    *(Case("cclnn-t", 0, 1, 240, 320, "inference", x) for x in NUMBERS),
    *(Case("cclnn-t", 0, 16, 32, 32, "training", x) for x in NUMBERS),
    *(Case("cclnn-s", 0, 1, 240, 320, "inference", x) for x in NUMBERS),
    *(Case("cclnn-s", 0, 16, 32, 32, "training", x) for x in NUMBERS),
    *(Case("cclnn-l", 0, 1, 320, 480, "inference", x) for x in NUMBERS),
    *(Case("cclnn-l", 0, 4, 48, 48, "training", x) for x in NUMBERS),
]
GROWTH = [x for x in LAYERS if (x.channels, x.batch, x.task) == (64, 1, "inference") and x.height > 48]
CHOICES = [
    *(Case("nlsa", 64, 1, 160, 160, "inference", x, option) for x in NUMBERS for option in OPTIONS),
    *(Case("nlsa", 64, 16, 48, 48, "training", x, option) for x in NUMBERS for option in OPTIONS),
]
