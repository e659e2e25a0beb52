"""`cclnn publish`: what is checked, what is shown, and that a dry run asks nobody. Uploads: tests/hub/test_hub.py."""

import hashlib

import pytest
from click.testing import CliRunner

import cclnn
from cclnn.cli.commands import cli


@pytest.fixture
def folder(tmp_path):
    cclnn.EDSR(2, channels=8, n_resblocks=1).save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def run(*arguments):
    return CliRunner().invoke(cli, ["publish", *map(str, arguments)])


def test_a_dry_run_lists_what_would_be_uploaded_and_asks_nobody(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.__init__", lambda *args, **kwargs: pytest.fail("the Hub was asked"))
    (folder / "secret.txt").write_text("not for others")
    done = run(folder, "me/mine", "--private", "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    for name, line in zip(["README.md", "config.json", "model.safetensors"], lines, strict=False):
        data = (folder / name).read_bytes()
        assert line == f"{name}  {len(data):,} bytes  sha256 {hashlib.sha256(data).hexdigest()}"
    assert lines[3:] == ["would upload 3 files to me/mine (private)"]


def test_uploads_with_the_options_given_and_says_how_to_load(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "cclnn.pretrained.publishing.publish",
        lambda *args, **kwargs: asked.append((args, kwargs)) or "hf-hub:me/mine@abc",
    )
    done = run(folder, "me/mine", "--private", "--message", "First")
    assert done.exit_code == 0, done.output
    assert asked == [((folder, "me/mine"), {"private": True, "message": "First"})]
    assert done.output.endswith("uploaded; load it with cclnn.load('hf-hub:me/mine@abc')\n")


def test_mistakes_are_one_line(folder, tmp_path):
    def message(*arguments):
        done = run(*arguments, "--dry-run")
        assert done.exit_code == 1
        assert done.output.count("\n") == 1
        return done.output

    assert message(folder, "mine") == "Error: `repo_id`='mine' must be 'org/repo'.\n"
    assert "has no README.md; write it with model.save_pretrained." in message(tmp_path, "me/mine")
    (folder / "model.safetensors").write_bytes(b"broken")
    assert "is not a readable safetensors file" in message(folder, "me/mine")
