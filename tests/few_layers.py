"""Networks for tracers and compilers, which take time for each layer."""

import inspect

from torch import nn

# As few repetitions as the networks take.
FEWEST = {
    **{"n_resblocks": 1, "n_hashes": 1, "n_units": 1, "n_blocks": 1, "depth": 1, "n_steps": 2, "n_groups": 2},
    **{"n_layers": 3, "n_affine": 1, "n_convs": 2},
}


def few_layers(kind):
    """A small network of the class, at its first scale, with each of its layers as few times as possible.

    What begins at zero, as RNAN's attention does, is drawn at random: zero would hide the layers before it.
    """
    arguments = {name: n for name, n in FEWEST.items() if name in inspect.signature(kind).parameters}
    model = kind(kind.architecture.scales[0], **{**kind.architecture.small, **arguments}).eval()
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model
