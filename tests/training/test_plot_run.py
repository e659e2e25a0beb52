"""Curves of runs."""

import json
import xml.etree.ElementTree as ET

import plot_run
import pytest


def log(folder, *lines):
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_draws_what_the_logs_hold(tmp_path, monkeypatch, capsys):
    one = log(tmp_path / "one", {"step": 5, "loss": 0.5, "lr": 1e-3}, {"step": 9, "loss": 0.2, "lr": 1e-4})
    two = log(tmp_path / "two", {"step": 5, "loss": 0.4}, {"step": 5, "psnr": 30.0}, {"step": 9, "psnr": 31.0})
    with (two / "log.jsonl").open("a") as file:
        file.write('{"step": 10, "lo')
    out = tmp_path / "curves.svg"
    monkeypatch.setattr("sys.argv", ["plot_run.py", str(one), str(two / "log.jsonl"), "-o", str(out)])
    plot_run.main()
    text = out.read_text()
    ET.fromstring(text)
    for words in ("loss", "learning rate", "validation PSNR, dB", "one", "two"):
        assert f"<!-- {words} -->" in text
    assert "log.jsonl, line 4 is not whole and is left out" in capsys.readouterr().err


def test_needs_something_to_draw(tmp_path, monkeypatch):
    for argument, message in (
        (tmp_path, "there is no log.jsonl"),
        (log(tmp_path / "a", {"step": 1}), "nothing to draw"),
    ):
        monkeypatch.setattr("sys.argv", ["plot_run.py", str(argument), "-o", str(tmp_path / "x.svg")])
        with pytest.raises(SystemExit, match=message):
            plot_run.main()
    assert not (tmp_path / "x.svg").exists()


def test_every_run_has_a_name_of_its_own(tmp_path):
    for folder in ("a/x", "b/x", "c"):
        (tmp_path / folder).mkdir(parents=True)
    stored = tmp_path / "c" / "t.jsonl"
    stored.touch()
    runs = [tmp_path / "a/x", tmp_path / "b/x" / "log.jsonl", tmp_path / "c", stored]
    assert plot_run.labels(runs) == {str(runs[0]): runs[0], str(runs[1]): runs[1], "c": runs[2], "t": stored}
