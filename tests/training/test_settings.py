"""Defaults, presets, command line: which wins, what is refused."""

import dataclasses

import pytest
from cclnn_training import settings as configuration
from cclnn_training.settings import Settings, parse, read_preset

NEEDED = ["--data", "photos", "--out", "run"]


def test_command_line_over_preset_over_defaults(tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text('steps = 7\nbatch = 4\nlr = 1\nvalidation-data = ["a", "b"]\n')
    settings = parse([*NEEDED, "--preset", str(preset), "--batch", "6", "--no-compile"])
    assert (settings.steps, settings.batch, settings.lr, settings.seed) == (7, 6, 1, 0)
    assert (settings.data, settings.validation_data) == (("photos",), ("a", "b"))


def test_what_is_saved_reads_back(tmp_path):
    settings = parse([*NEEDED, "--out", 'a "quoted" ü\\folder', "--arguments", "branch=local", "--lr", "3e-05"])
    saved = tmp_path / "settings.toml"
    saved.write_text(configuration.to_toml(settings))
    assert parse(["--preset", str(saved)]) == settings


def test_help_shows_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    text = capsys.readouterr().out
    for entry in dataclasses.fields(Settings):
        assert f"--{entry.name.replace('_', '-')}" in text
    assert "(paper: 15 % of them)" in " ".join(text.split())


def test_small_cpu_is_the_default():
    """What its file says and the defaults in the code agree."""
    for name, value in read_preset("small-cpu").items():
        assert getattr(Settings, name) == value


@pytest.mark.parametrize(
    ("name", "model", "epochs", "decay", "warmup"),
    [("paper", "cclnn", 1000, 200, 150), ("paper-l", "cclnn-l", 500, 150, 75)],
)
def test_presets_of_the_paper(name, model, epochs, decay, warmup):
    """DESIGN section 4, in epochs of 1000 steps."""
    settings = parse([*NEEDED, "--preset", name])
    assert (settings.model, settings.steps, settings.batch, settings.patch) == (model, epochs * 1000, 16, 48)
    assert (settings.optimizer, settings.lr, settings.beta2) == ("adam", 1e-4, 0.999)
    assert (settings.schedule, settings.decay_every, settings.warmup) == ("steps", decay * 1000, 0)
    assert (settings.contrastive_weight, settings.contrastive_after) == (4e-3, warmup * 1000)
    assert (settings.lr_from, settings.candidates, settings.clip, settings.ema) == ("patch", 1, 0, 0)
    assert (settings.shrink, settings.luma_weight) == (1, 0)


def test_every_preset_is_complete_but_for_data_and_folder():
    for name in configuration.preset_names():
        parse([*NEEDED, "--preset", name])


def test_model_arguments_keep_their_types():
    settings = parse([*NEEDED, "--arguments", "channels=32", "branch=local", "res_scale=0.5", "flag=true"])
    assert configuration.model_arguments(settings) == {
        "channels": 32,
        "branch": "local",
        "res_scale": 0.5,
        "flag": True,
    }


def test_only_what_cannot_change_the_weights_may_change():
    settings = parse(NEEDED)
    earlier = dataclasses.asdict(settings)
    assert configuration.differences(settings, earlier) == []
    assert configuration.differences(settings, earlier | {"steps": 3, "out": "x", "workers": 9}) == []
    assert configuration.differences(settings, earlier | {"seed": 3}) == ["seed 3 -> 0"]
    held_out = configuration.differences(settings, earlier | {"validation_data": ("x",)})
    assert held_out == ["validation-data ('x',) -> ()"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "large"],
            "--preset large: no such file, nor one of paper, paper-l, small-cpu",
        ),
        (["--batch", "3", "--accumulate", "2"], "--batch 3 does not divide into --accumulate 2 parts"),
        (["--shrink", "2", "--lr-from", "image"], "--shrink reduces the HR image: it takes --lr-from patch"),
        (["--shrink", "inf"], "--shrink must be finite, got inf"),
        (["--shrink", "0.5"], "--shrink must be at least 1, got 0.5"),
        (["--ema", "1"], "--ema must be below 1, got 1.0"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--lr", "nan"], "--lr must be at least 0, got nan"),
        (["--validation-crop", "15"], "--validation-crop must be 0 or at least 16, got 15"),
        (["--arguments", "channels"], "--arguments takes NAME=VALUE, got 'channels'"),
        (["--out", ""], "--out is needed, on the command line or in the preset"),
        (["--data"], "--data is needed, on the command line or in the preset"),
        (["--model", "unet"], "argument --model: invalid choice: 'unet'"),
    ],
)
def test_refuses_arguments(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        parse([*NEEDED, *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "there is no setting 'stepz'"),
        ('steps = "3"', "steps must be int, got '3'"),
        ("steps = true", "steps must be int, got True"),
        ('data = "photos"', "data must be list, got 'photos'"),
        ("arguments = [3]", "arguments must hold strings, got [3]"),
        ("scale = 5", "--scale must be one of 2, 3, 4, 8, got 5"),
        ("scale = ", "Invalid value"),
    ],
)
def test_refuses_presets(capsys, tmp_path, text, message):
    preset = tmp_path / "mine.toml"
    preset.write_text(text)
    with pytest.raises(SystemExit):
        parse([*NEEDED, "--preset", str(preset)])
    assert message in capsys.readouterr().err
