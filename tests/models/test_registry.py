"""The table of models: names, parameter counts that are a contract, errors."""

import inspect

import pytest

from cclnn._arguments import defaults_of
from cclnn.evaluation.complexity import count_parameters
from cclnn.models import CCLNN, EDSR, NLSN, create_model, list_models
from cclnn.models.registry import ARCHITECTURES

COUNTED = [
    pytest.param(name, scale, count, id=f"{name}-x{scale}")
    for kind in ARCHITECTURES.values()
    for name, counts in kind.architecture.parameters.items()
    for scale, count in counts.items()
]


def weightless(name, **arguments):
    """The model on the meta device: all its shapes, none of its numbers."""
    return create_model(name, **arguments, device="meta")


def test_names_are_sorted_and_those_of_the_design():
    names = ["cclnn", "cclnn-l", "cclnn-s", "cclnn-t", "edsr", "edsr-baseline", "edsr-l", "nlsn", "nlsn-l"]
    assert [name for name in list_models() if name in names] == names
    assert list_models() == sorted(list_models())


@pytest.mark.parametrize(("name", "scale", "count"), COUNTED)
def test_parameter_count_is_the_contract(name, scale, count):
    """With the mean shifts' scalars, which the released code counts and some networks hold as buffers."""
    assert count_parameters(weightless(name, scale=scale)) == count


def test_the_design_fixes_these_counts():
    """Typed from the design once more, so that a record cannot drift with its network."""
    assert {name: tuple(EDSR.architecture.parameters[name].values()) for name in ("edsr", "edsr-baseline")} == {
        "edsr": (40_729_627, 43_680_027, 43_089_947),
        "edsr-baseline": (1_369_883, 1_554_523, 1_517_595),
    }
    assert tuple(NLSN.architecture.parameters["nlsn"].values()) == (41_796_187, 44_746_587, 44_156_507)
    assert tuple(CCLNN.architecture.parameters["cclnn"].values()) == (48_068_267, 51_018_667, 50_428_587)
    assert tuple(CCLNN.architecture.parameters["cclnn-l"].values()) == (6_569_491, 7_307_411, 7_159_827)


@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_record_is_complete(kind):
    record = kind.architecture
    assert set(record.parameters) <= set(record.variants)
    assert record.title
    assert str(record.year) in record.paper
    assert record.url.startswith("https://")
    assert len(record.summary) > 80
    assert set(record.scales) <= {2, 3, 4, 8}
    assert set(record.small) <= set(defaults_of(kind))
    assert kind.__doc__
    assert inspect.signature(kind).parameters.keys() >= {"device", "dtype"}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_light_models_differ_by_their_attentions(scale):
    """nlsn-l is edsr-l with three NLSA of 53,408 parameters; cclnn-l has a whole CCLN block in their place."""
    sizes = {
        name: sum(parameter.numel() for parameter in weightless(name, scale=scale).parameters())
        for name in ("edsr-l", "nlsn-l", "cclnn-l")
    }
    assert sizes["nlsn-l"] - sizes["edsr-l"] == 3 * 53_408
    pixel, channel, residual = 128 * 129, 128 * 8 + 8 + 8 * 128 + 128, 2 * (9 * 128 * 128 + 128)
    assert sizes["cclnn-l"] - sizes["nlsn-l"] == 3 * (pixel + channel + residual)


def test_tiny_cclnn_has_about_a_million_parameters():
    assert 0.9e6 < sum(parameter.numel() for parameter in weightless("cclnn-t").parameters()) < 1.1e6


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("cclnn", CCLNN, {"channels": 256, "n_resblocks": 32, "res_scale": 0.1, "chunk_size": 144, "n_hashes": 4}),
        ("cclnn-l", CCLNN, {"channels": 128, "n_resblocks": 16, "res_scale": 0.1, "reduction": 16}),
        ("edsr", EDSR, {"channels": 256, "n_resblocks": 32, "res_scale": 0.1, "rgb_range": 1.0}),
        ("edsr-l", EDSR, {"channels": 128, "n_resblocks": 16, "res_scale": 0.1}),
        ("edsr-baseline", EDSR, {"channels": 64, "n_resblocks": 16, "res_scale": 1.0}),
        ("nlsn", NLSN, {"channels": 256, "n_resblocks": 32, "res_scale": 0.1, "chunk_size": 144, "n_hashes": 4}),
        ("nlsn-l", NLSN, {"channels": 128, "n_resblocks": 16, "res_scale": 0.1}),
    ],
)
def test_defaults_are_those_of_the_papers(name, kind, expected):
    model = weightless(name, scale=3)
    assert type(model) is kind
    assert model.config.items() >= {**expected, "scale": 3}.items()


def test_keywords_override_the_table():
    model = create_model("cclnn-t", scale=4, channels=32, n_resblocks=1, chunk_size=17)
    assert model.config.items() >= {"channels": 32, "n_resblocks": 1, "chunk_size": 17, "n_hashes": 1}.items()


def test_default_scale_is_two():
    assert weightless("edsr-baseline").scale == 2


def test_messages(rejects):
    with rejects(r"unknown model 'nlsm'\. Did you mean 'nlsn'\? list_models\(\) shows all\."):
        create_model("nlsm")
    with rejects(r"unknown model 'zzzz'\. list_models\(\) shows all\."):
        create_model("zzzz")
    for scale in (0, 1, 5, 6, 16):
        with rejects(f"`scale` must be one of 2, 3, 4, 8, got {scale}"):
            create_model("edsr", scale=scale)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_heads'"):
        create_model("edsr", n_heads=4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'chunk_size'"):
        create_model("edsr", chunk_size=4)


@pytest.mark.parametrize("kind", [CCLNN, EDSR, NLSN])
def test_constructor_messages(kind, rejects):
    with rejects("`scale` must be 2, 3, 4, 8 or another power of two, got 5"):
        kind(5)
    with rejects("`channels` must be at least 1, got 0"):
        kind(2, channels=0)
    with rejects("`n_resblocks` must be at least 1, got 0"):
        kind(2, channels=8, n_resblocks=0)
    for white in (0.0, -1.0, float("nan")):
        with rejects(f"`rgb_range` must be positive, got {white}"):
            kind(2, channels=16, n_resblocks=1, rgb_range=white)
