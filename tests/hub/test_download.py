"""Hashes as others define them, and what is removed when one is wrong. The rest: tests/hub/test_hub.py."""

import pytest

from cclnn.hub.download import Digest, verify

EMPTY = {  # `sha256sum` and `git hash-object` of an empty file
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "git-sha1": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
}
HELLO = {  # of "hello\n"
    "sha256": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "git-sha1": "ce013625030ba8dba906f756967f9e9ca394464a",
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize(("content", "hashes"), [(b"", EMPTY), (b"hello\n", HELLO)], ids=["empty", "hello"])
def test_hashes_are_those_of_other_programs(tmp_path, kind, content, hashes):
    path = tmp_path / "file"
    path.write_bytes(content)
    promised = Digest.parse(hashes[kind])
    assert promised == Digest(kind, hashes[kind])
    assert promised.of(path) == promised
    path.write_bytes(content + b"!")
    assert promised.of(path) != promised


def test_a_file_of_many_blocks_is_hashed_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1_000_000 * 3)
    before = Digest("sha256", "").of(path)
    path.write_bytes(b"a" * 2_999_999 + b"b")
    assert Digest("sha256", "").of(path) != before


@pytest.mark.parametrize("text", ["", "main", "E3B0" * 16, "0" * 41, "0" * 63, "x" * 64, "0" * 64 + "\n"])
def test_other_names_are_no_hashes(text):
    assert Digest.parse(text) is None


def test_a_wrong_file_is_removed_with_all_it_links_to(tmp_path):
    """Snapshot -> blob -> a store that several caches share."""
    for folder in ("snapshot", "blobs", "store"):
        (tmp_path / folder).mkdir()
    (tmp_path / "store" / "real").write_bytes(b"hello\n")
    (tmp_path / "blobs" / EMPTY["sha256"]).symlink_to("../store/real")
    link = tmp_path / "snapshot" / "model.safetensors"
    link.symlink_to(f"../blobs/{EMPTY['sha256']}")
    verify(link, Digest("sha256", HELLO["sha256"]), "it", "the Hub")
    assert link.exists()
    with pytest.raises(ValueError, match=f"^it is damaged or was replaced: it has sha256 {HELLO['sha256']}, "):
        verify(link, Digest("sha256", EMPTY["sha256"]), "it", "the Hub")
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()]
