"""Files in a folder by pyarrow: names, whole writes, and what a dead process left."""

import importlib.util
import pickle

import pytest

if importlib.util.find_spec("pyarrow") is None:
    pytest.skip("pyarrow is not installed", allow_module_level=True)

from cclnn.integrations.storage import Storage


@pytest.mark.parametrize("as_uri", [False, True])
def test_files_have_relative_names(tmp_path, as_uri):
    place = tmp_path / "large"
    storage = Storage(place.as_uri() if as_uri else str(place))
    assert storage.names() == []
    storage.write("sub/b.png", b"two")
    storage.write("a.png", b"one")
    assert storage.names() == ["a.png", "sub/b.png"]
    assert (place / "sub" / "b.png").read_bytes() == storage.read("sub/b.png") == b"two"
    assert "a.png" in storage
    assert "sub" not in storage
    assert "c.png" not in storage
    assert storage.name(storage.path("sub/b.png")) == "sub/b.png"


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write("a.png", b"old")
    with pytest.raises(TypeError):
        storage.write("a.png", "no bytes")
    assert storage.read("a.png") == b"old"
    assert storage.names() == ["a.png"]


def test_parts_of_its_own_copies_alone_are_removed(tmp_path):
    """A process that is killed in the middle of a write leaves a part; other runs' parts may still be written."""
    storage, other = Storage(str(tmp_path)), Storage(str(tmp_path))
    copy = pickle.loads(pickle.dumps(storage))
    (tmp_path / f".a.png{copy._ending}").write_bytes(b"hal")
    (tmp_path / f".a.png{other._ending}").write_bytes(b"ha")
    storage.remove_parts()
    assert [path.name for path in tmp_path.iterdir()] == [f".a.png{other._ending}"]


def test_an_unknown_kind_of_place_is_refused():
    with pytest.raises(ValueError, match="nowhere"):
        Storage("nowhere://bucket/photos")
