"""Draw the CCLN block, CCLNN and the stages of the sparse attention.

python benchmarks/diagrams.py              # writes docs/figures/{block,network,attention-stages}.svg

The numbers of blocks come from the network itself.
"""

from itertools import groupby
from pathlib import Path

from drawing import Box, Link, draw, write

import cclnn

FIGURES = Path(__file__).parents[1] / "docs" / "figures"


def block() -> str:
    """CCLNBlock: Eq. 2 and the loss of Eq. 3-4."""
    boxes = [
        Box(("x",), 0, 0.5, kind="note"),
        Box(("x * sigmoid(conv 1x1)",), 1, 0, "PixelAttention", "nonlocal"),
        Box(("x + res_scale attention(x)",), 2, 0, "NonLocalSparseAttention", "nonlocal"),
        Box(("x * weights, one a channel",), 1, 1, "ChannelContrastiveAttention", "local"),
        Box(("x + res_scale conv(relu(conv))",), 2, 1, "ResBlock", "local"),
        Box(("+",), 3, 0.5),
        Box(("y",), 4, 0.5, kind="note"),
        Box(("of the channel weights",), 2, 2, "contrastive loss", "loss"),
        Box(("loss",), 4, 2, kind="note"),
    ]
    links = [
        *(Link(a, b) for a, b in ((0, 1), (0, 3), (1, 2), (3, 4), (2, 5), (4, 5), (5, 6), (7, 8))),
        Link(3, 7, below=True),
    ]
    return draw(boxes, links, title="CCLNBlock: y = NLSA(PA(x)) + Res(CCA(x)), and the loss of CCA's channel weights")


def network() -> str:
    """CCLNN: EDSR with CCLN blocks (Sec. 3.3), the loss of Eq. 6."""
    body = cclnn.create_model("cclnn", channels=16).get_submodule("body").children()
    runs = [(kind, len(list(run))) for kind, run in groupby(type(module).__name__ for module in body)]
    # One stretch of residual blocks follows each CCLN block but the last; the convolution ends the body.
    (_, one), (_, stretch) = runs[:2]
    repeats = len(runs) // 2 - 1
    if runs != [("CCLNBlock", one), ("ResBlock", stretch)] * repeats + [("CCLNBlock", one), ("Conv2d", 1)]:
        raise RuntimeError(f"the body of CCLNN is not what this picture shows: {runs}")
    boxes = [
        Box(("image",), 0, kind="note"),
        Box(("- mean", "conv 3x3"), 1, title="head"),
        Box(("CCLNBlock", f"{stretch} x ResBlock"), 2, title=f"{repeats} times", kind="local"),
        Box(("CCLNBlock", "conv 3x3"), 3, title="once", kind="local"),
        Box(("+",), 4),
        Box(("conv, pixel shuffle", "conv 3x3, + mean"), 5, title="tail"),
        Box(("larger image",), 6, kind="note"),
        Box(("of the losses of", f"{repeats + 1} CCLN blocks"), 5, 1.1, "mean", "loss"),
        Box(("loss",), 6, 1.1, kind="note"),
    ]
    links = [
        *(Link(i, i + 1) for i in range(6)),
        Link(1, 4, via=-0.75),
        *(Link(i, 7, below=True) for i in (2, 3)),
        Link(7, 8),
    ]
    return draw(boxes, links, title="CCLNN: EDSR's head, body and tail, with CCLN blocks among the residual blocks")


def attention_stages() -> str:
    """NonLocalSparseAttention: two convolutions, stage 1 (decide), stage 2 (attend)."""
    boxes = [
        Box(("x",), 0, 1, kind="note"),
        Box(("3x3, gives q",), 1, 0, "conv_match"),
        Box(("1x1, gives v",), 1, 1, "conv_assembly"),
        Box(("nearest random axis", "in each of r rounds"), 2, 0, "hash_codes", "nonlocal"),
        Box(("stable sort by code,", "chunks of m tokens"), 3, 0, "make_plan", "nonlocal"),
        Box(("to own, previous and", "next chunk, all rounds"), 4, 1, "lsh_attention", "local"),
        Box(("+",), 5, 1),
        Box(("y",), 6, 1, kind="note"),
        Box(("stage 1: decide (integers)",), 2, -0.65, kind="note"),
        Box(("stage 2: attend (gradients)",), 4, 0.3, kind="note"),
    ]
    links = [
        *(Link(a, b) for a, b in ((0, 1), (0, 2), (1, 3), (3, 4), (4, 5), (2, 5), (5, 6), (6, 7))),
        Link(1, 5, via=0.5),
        Link(0, 6, via=1.75),
    ]
    return draw(boxes, links, title="The sparse attention: queries are hashed, sorted and cut into chunks, then attend")


DIAGRAMS = {"block": block, "network": network, "attention-stages": attention_stages}


def main() -> None:
    """Write all."""
    for name, make in DIAGRAMS.items():
        write(FIGURES / f"{name}.svg", make())


if __name__ == "__main__":
    main()
