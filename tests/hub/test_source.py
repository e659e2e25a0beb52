"""The grammar of sources: what means what, and what each mistake is told."""

from pathlib import Path

import pytest

from cclnn.hub.source import Local, Published, Repository, find

NAMES = {"cclnn-s-x2", "cclnn-s-x4"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "org" / "repo").mkdir(parents=True)
    (tmp_path / "weights").mkdir()
    for name in ("weights/cclnn-l-x2.safetensors", "cclnn-s-x2", "notes.txt", "old.pt"):
        (tmp_path / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("cclnn-s-x2", Published("cclnn-s-x2")),  # though a file of that name exists
        ("mine", Local(Path("mine"))),
        (Path("mine"), Local(Path("mine"))),
        ("org/repo", Local(Path("org/repo"))),
        ("weights/cclnn-l-x2.safetensors", Local(Path("weights/cclnn-l-x2.safetensors"))),
        ("weights/cclnn-l-x2", Local(Path("weights/cclnn-l-x2.safetensors"))),
        ("hf-hub:org/repo", Repository("org/repo")),
        ("hf-hub:org/repo@v1.0", Repository("org/repo", "v1.0")),
        ("hf-hub:org/repo@refs/pr/12", Repository("org/repo", "refs/pr/12")),
        ("hf-hub:org/repo@refs/pr/12/x2", Repository("org/repo", "refs/pr/12", "x2")),
        ("hf-hub:org/repo/x2/small", Repository("org/repo", None, "x2/small")),
        ("hf-hub:org/repo@main/x2", Repository("org/repo", "main", "x2")),
        ("hf-hub:org/repo/", Repository("org/repo")),
        ("hf-hub:o.r-g_1/re.po", Repository("o.r-g_1/re.po")),
    ],
)
def test_what_means_what(source, place):
    assert find(source, NAMES) == place


def test_a_revision_may_be_given_apart():
    assert find("hf-hub:org/repo", NAMES, revision="feature/x") == Repository("org/repo", "feature/x")
    assert find("hf-hub:org/repo/x2", NAMES, revision="0" * 40) == Repository("org/repo", "0" * 40, "x2")


@pytest.mark.parametrize("place", [Repository("org/repo"), Repository("org/repo", "refs/pr/2", "a/b")])
def test_a_repository_is_written_as_it_is_read(place):
    assert find(str(place), NAMES) == place


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "cclnn-s-x3",
            r"neither a published name \(cclnn-s-x2, cclnn-s-x4\) nor an existing .*Did you mean 'cclnn-s-x",
        ),
        ("you/model", "For the repository of that name on the Hub write 'hf-hub:you/model'"),
        ("no/such/folder", r"nor 'hf-hub:org/repo\[@revision\]\[/subfolder\]'\.$"),
        ("", "`source`='' is neither"),
        ("notes.txt", r"must be a folder or a file named \*\.safetensors"),
        ("old.pt", "is a pickle, which can run code when read: .* cclnn convert old.pt -o FOLDER"),
        ("absent.pth", "is a pickle"),
        ("hf-hub:", r"must be 'hf-hub:org/repo\[@revision\]\[/subfolder\]'"),
        ("hf-hub:gpt2", "must be 'hf-hub:org/repo"),
        ("hf-hub:../../etc", "must be 'hf-hub:org/repo"),
        ("hf-hub:org/..", "must be 'hf-hub:org/repo"),
        ("hf-hub:org/repo\n", "must be 'hf-hub:org/repo"),
        ("hf-hub:org/repo@", "`revision`='' of 'hf-hub:org/repo@' is not the name of a branch"),
        ("hf-hub:org/repo@..", "is not the name of a branch"),
        ("hf-hub:org/repo@a b", "is not the name of a branch"),
        ("hf-hub:org/repo@v1/../../x", r"the subfolder '\.\./\.\./x' of"),
        ("hf-hub:org/repo//x", "must be plain names joined by '/'"),
        ("hf-hub:org/repo/a\\b", "must be plain names joined by '/'"),
        ("hf-hub:org/repo/C:", "must be plain names joined by '/'"),
    ],
)
def test_mistakes(source, message):
    with pytest.raises(ValueError, match=message):
        find(source, NAMES)


def test_mistakes_of_revisions():
    with pytest.raises(ValueError, match="`revision`='v1' is given twice: `source`='hf-hub:org/repo@v2' names one"):
        find("hf-hub:org/repo@v2", NAMES, revision="v1")
    with pytest.raises(ValueError, match=r"`revision`='a/\.\./b' of .* is not the name"):
        find("hf-hub:org/repo", NAMES, revision="a/../b")
    for source in ("cclnn-s-x2", "mine"):
        with pytest.raises(ValueError, match="`revision`='v1' applies to a source 'hf-hub:org/repo', got '"):
            find(source, NAMES, revision="v1")
