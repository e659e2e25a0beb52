"""The real client against the Hub's protocol, spoken by tests/hub/server.py on this machine."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import huggingface_hub
import pytest
from hub.client import Failure, fingerprint
from hub.server import TOKEN, git_sha1, sha256

import cclnn

CURRENT = hasattr(huggingface_hub, "resolve_revision")
resolves = pytest.mark.skipif(not CURRENT, reason="this client resolves a branch by asking for config.json")
REPO = "ours/tiny"
SOURCE = f"hf-hub:{REPO}"


def files_of(model, folder):
    """What `save_pretrained` writes, by name."""
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def models():
    return [cclnn.EDSR(2, channels=8, n_resblocks=1), cclnn.EDSR(3, channels=8, n_resblocks=1)]


@pytest.fixture(scope="module")
def versions(models, tmp_path_factory):
    """Two models' files, and their fingerprints."""
    return [(files_of(model, tmp_path_factory.mktemp("v")), fingerprint(model)) for model in models]


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


@pytest.fixture
def repo(hub, versions):
    return hub.repo(REPO, versions[0][0])


def kinds(failure):
    assert isinstance(failure, Failure), failure
    return failure.kinds


def blobs(cache):
    return sorted(path.name for path in Path(cache).glob("models--*/blobs/*") if path.suffix != ".incomplete")


def weights_in(cache):
    (path,) = Path(cache).glob("models--*/blobs/" + "[0-9a-f]" * 64)
    return path


# --- what is downloaded, and what it costs


def test_a_commit_is_fetched_once_and_then_costs_no_request(hub, client, offline, repo, versions, cache):
    commit, expected = repo.refs["main"], versions[0][1]
    assert client.load(f"{SOURCE}@{commit}", cache_dir=cache) == expected
    digest = sha256(versions[0][0]["model.safetensors"])
    assert hub.requests() == [
        f"HEAD /{REPO}/resolve/{commit}/config.json",
        f"GET /{REPO}/resolve/{commit}/config.json",
        f"HEAD /{REPO}/resolve/{commit}/model.safetensors",
        f"GET /cdn/{digest}",
    ]
    for warm in (client, offline):
        assert warm.load(f"{SOURCE}@{commit}", cache_dir=cache) == expected
        assert warm.load(SOURCE, revision=commit, cache_dir=cache) == expected
    assert client.load(f"{SOURCE}@{commit}", cache_dir=cache, local_files_only=True) == expected
    assert hub.requests() == []


@resolves
def test_a_branch_is_resolved_once_a_load(hub, client, repo, versions, cache):
    assert client.load(SOURCE, cache_dir=cache) == versions[0][1]
    asked = hub.requests()
    assert asked[0] == f"GET /api/models/{REPO}"
    assert not any("/resolve/main/" in request for request in asked)
    assert client.load(SOURCE, cache_dir=cache) == versions[0][1]
    assert hub.requests() == [f"GET /api/models/{REPO}"]
    assert client.load(SOURCE, cache_dir=cache, local_files_only=True) == versions[0][1]
    assert hub.requests() == []


def test_offline_a_branch_comes_from_the_cache_and_an_empty_cache_says_so(
    hub, client, offline, repo, versions, cache, tmp_path
):
    client.load(SOURCE, cache_dir=cache)
    hub.requests()
    assert offline.load(SOURCE, cache_dir=cache) == versions[0][1]
    for source in (SOURCE, f"{SOURCE}@{repo.refs['main']}"):
        failure = offline.load(source, cache_dir=str(tmp_path / "empty"))
        assert "FileNotFoundError" in kinds(failure)
        assert SOURCE in failure
        assert "is not in the cache, and the Hub cannot be reached (OfflineModeIsEnabled: " in failure
    for source in (SOURCE, f"{SOURCE}@{repo.refs['main']}"):
        failure = client.load(source, cache_dir=str(tmp_path / "empty"), local_files_only=True)
        assert "FileNotFoundError" in kinds(failure)
        assert failure.endswith("is not in the cache, and `local_files_only` is True.")
    assert hub.requests() == []


def test_a_moved_branch_gives_the_new_model_and_a_commit_the_old_one(hub, client, repo, versions, cache):
    old = repo.refs["main"]
    assert client.load(SOURCE, cache_dir=cache) == versions[0][1]
    repo.commit(versions[1][0])
    assert client.load(SOURCE, cache_dir=cache) == versions[1][1]
    assert client.load(f"{SOURCE}@{old}", cache_dir=cache) == versions[0][1]


@resolves
def test_a_branch_that_moves_between_config_and_weights_does_not_mix_them(hub, client, repo, versions, cache):
    """The branch moves when the configuration has been asked for: the weights still come from the same commit."""
    resolve, moved = hub.server.RequestHandlerClass.resolve, []

    def move(handler, name, revision, path):
        resolve(handler, name, revision, path)
        if path == "config.json" and not moved:
            moved.append(repo.commit(versions[1][0]))

    hub.server.RequestHandlerClass.resolve = move
    try:
        assert client.load(SOURCE, cache_dir=cache) == versions[0][1]
    finally:
        hub.server.RequestHandlerClass.resolve = resolve
    assert len(moved) == 1
    assert client.load(SOURCE, cache_dir=cache) == versions[1][1]


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/3"])
def test_tags_pull_requests_and_subfolders(hub, client, versions, cache, revision):
    repo = hub.repo(REPO, {"README.md": b"nothing here"})
    repo.commit({f"x2/small/{name}": data for name, data in versions[0][0].items()}, revision)
    assert client.load(f"{SOURCE}@{revision}/x2/small", cache_dir=cache) == versions[0][1]
    failure = client.load(f"{SOURCE}@{revision}", cache_dir=cache)
    assert "FileNotFoundError" in kinds(failure)
    assert f" of hf-hub:ours/tiny@{revision}: there is no such file at this revision" in failure


def test_options_reach_the_model(client, repo, cache):
    code = """
import torch
model = cclnn.EDSR.from_pretrained(source, cache_dir=cache, dtype=torch.bfloat16, device="cpu")
result = [type(model).__name__, model.training, sorted({str(p.dtype) for p in model.parameters()})]
"""
    assert client.run(code, source=SOURCE, cache=cache) == ["EDSR", False, ["torch.bfloat16"]]
    failure = client.run("cclnn.NLSN.from_pretrained(source, cache_dir=cache)", source=SOURCE, cache=cache)
    assert "holds a model of class EDSR, not NLSN" in failure


# --- damage


def test_a_cut_connection_is_resumed(hub, client, cache, tmp_path):
    """Where it was cut, in the client's steps of 10 MiB; older clients do so in the next call."""
    model = cclnn.EDSR(2, channels=96, n_resblocks=16)
    repo = hub.repo(REPO, files_of(model, tmp_path / "large"))
    assert len(repo.commits[repo.refs["main"]]["model.safetensors"]) > 12_000_000
    hub.fault("/cdn/", "cut", 11_000_000)
    loaded = client.load(SOURCE, cache_dir=cache)
    if not CURRENT:
        assert "OSError" in kinds(loaded)
        loaded = client.load(SOURCE, cache_dir=cache)
    assert loaded == fingerprint(model)
    assert hub.ranges == [None, f"bytes={10 * 2**20}-"]


def test_a_truncated_body_is_an_error_and_leaves_nothing(hub, client, repo, versions, cache):
    hub.fault("/cdn/", "short", 1000)
    failure = client.load(SOURCE, cache_dir=cache)
    assert "OSError" in kinds(failure)
    assert "model.safetensors of hf-hub:ours/tiny" in failure
    assert "should be of size" in failure
    assert blobs(cache) == [git_sha1(versions[0][0]["config.json"])]
    assert client.load(SOURCE, cache_dir=cache) == versions[0][1]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_flipped_bit_is_found_before_use_and_the_file_removed(hub, client, repo, versions, cache, name):
    """The client itself checks the size only."""
    data = versions[0][0][name]
    at = len(data) - 7  # in the last number; in the last lines of the configuration
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    hub.fault("/cdn/" if name == "model.safetensors" else name, "flip", at)
    failure = client.load(SOURCE, cache_dir=cache)
    digest = sha256 if name == "model.safetensors" else git_sha1
    assert "ValueError" in kinds(failure)
    assert f"{name} of hf-hub:ours/tiny" in failure
    assert f"{digest(damaged)}, the Hub says {digest(data)}. It was removed from the cache" in failure
    assert digest(data) not in blobs(cache)
    assert client.load(SOURCE, cache_dir=cache) == versions[0][1]


def test_a_cache_that_rots_is_found_on_a_warm_load(hub, client, offline, repo, versions, cache):
    pinned = f"{SOURCE}@{repo.refs['main']}"
    client.load(pinned, cache_dir=cache)
    hub.requests()
    blob = weights_in(cache)
    data = bytearray(blob.read_bytes())
    data[-3] ^= 16
    blob.write_bytes(data)
    failure = offline.load(pinned, cache_dir=cache)
    assert f"it has sha256 {sha256(bytes(data))}, the Hub says {blob.name}" in failure
    assert not blob.exists()
    assert hub.requests() == []
    assert client.load(pinned, cache_dir=cache) == versions[0][1]


def test_a_server_error_is_told(hub, client, repo, cache):
    hub.fault("/cdn/", "status", 403)
    failure = client.load(SOURCE, cache_dir=cache)
    assert "OSError" in kinds(failure)
    assert "model.safetensors of hf-hub:ours/tiny: the Hub's client failed: HfHubHTTPError" in failure


def test_config_and_header_must_agree(hub, client, versions, cache):
    hub.repo(REPO, {**versions[0][0], "config.json": versions[1][0]["config.json"]})
    failure = client.load(SOURCE, cache_dir=cache)
    assert "its header and the config.json beside it differ: scale is 2 and 3" in failure


# --- published names


def publish(client, repo, versions, cache, **changes):
    """Load "tiny", which a manifest pins to the repository's commit, in the client's process."""
    data, _ = versions[0]
    entry = {
        "sha256": sha256(data["model.safetensors"]),
        "model": "edsr",
        "architecture": "EDSR",
        "config": cclnn.EDSR(2, channels=8, n_resblocks=1).config,
        "hub": {"repo": REPO, "revision": repo.refs["main"]},
        **changes,
    }
    code = """
from cclnn import weights
real, weights.manifest = weights.manifest, lambda: {"tiny": entry}
try:
    result = fingerprint(cclnn.load("tiny", cache_dir=cache))
finally:
    weights.manifest = real
"""
    return client.run(code, entry=entry, cache=cache)


def test_a_published_name_is_pinned_to_commit_and_sha256(hub, client, offline, repo, versions, cache):
    assert publish(client, repo, versions, cache) == versions[0][1]
    assert len(hub.requests()) == 2
    assert publish(client, repo, versions, cache) == versions[0][1]
    assert publish(offline, repo, versions, cache) == versions[0][1]
    assert hub.requests() == []


def test_a_published_name_may_lie_in_a_folder_of_its_repository(client, hub, versions, cache):
    repo = hub.repo(REPO, {f"x2/{name}": data for name, data in versions[0][0].items()})
    place = {"repo": REPO, "revision": repo.refs["main"], "subfolder": "x2"}
    assert publish(client, repo, versions, cache, hub=place) == versions[0][1]


def test_who_controls_the_repository_cannot_swap_a_published_model(hub, client, repo, versions, cache):
    """Even with the very commit rewritten, and hashes that the Hub states to match."""
    pinned = repo.refs["main"]
    swapped = bytearray(versions[0][0]["model.safetensors"])
    swapped[-1] ^= 2
    repo.commits[pinned]["model.safetensors"] = bytes(swapped)
    failure = publish(client, repo, versions, cache)
    assert "ValueError" in kinds(failure)
    assert f"it has sha256 {sha256(bytes(swapped))}, the manifest says" in failure
    assert sha256(versions[0][0]["model.safetensors"]) in failure
    assert blobs(cache) == []


def test_the_manifest_also_fixes_the_configuration(client, repo, versions, cache):
    config = {**cclnn.EDSR(2, channels=8, n_resblocks=1).config, "res_scale": 0.7}
    failure = publish(client, repo, versions, cache, config=config)
    assert "differ: res_scale is 0.1 and 0.7" in failure


def test_a_bundled_file_comes_first_and_a_missing_one_falls_back_to_the_hub(hub, client, repo, versions, cache):
    assert publish(client, repo, versions, cache, file="not-in-this-wheel.safetensors") == versions[0][1]
    assert hub.requests()
    failure = publish(client, repo, versions, cache, file="cclnn-s-x2.safetensors")
    assert "the weights of 'tiny' are damaged: " in failure  # bundled, and not what this manifest names
    assert hub.requests() == []


# --- who may read


def test_missing_repositories_revisions_and_files(hub, client, repo, cache):
    failure = client.load("hf-hub:ours/none", cache_dir=cache)
    assert "FileNotFoundError" in kinds(failure)
    assert "hf-hub:ours/none: there is no such repository, or it is private." in failure
    failure = client.load(f"{SOURCE}@v9", cache_dir=cache)
    assert "FileNotFoundError" in kinds(failure)
    assert failure.endswith("hf-hub:ours/tiny@v9: the repository has no such revision.")
    failure = client.load(f"{SOURCE}@{'0' * 40}", cache_dir=cache)
    assert failure.endswith(f"hf-hub:ours/tiny@{'0' * 40}: the repository has no such revision.")
    hub.repo("ours/pickles", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    failure = client.load("hf-hub:ours/pickles", cache_dir=cache)
    assert "FileNotFoundError" in kinds(failure)
    assert "goes through `cclnn convert`" in failure


def test_gated_repositories_need_a_token_that_the_store_never_sees(hub, client, repo, versions, cache):
    repo.gated = True
    for token in (False, "hf_bad"):
        failure = client.load(SOURCE, cache_dir=cache, token=token)
        assert "PermissionError" in kinds(failure)
        assert "the repository is gated. Accept its terms on its page, then `hf auth login` or pass `token`." in failure
    assert client.load(SOURCE, cache_dir=cache, token=TOKEN) == versions[0][1]
    assert hub.tokens_at_cdn == [None]


def test_private_repositories_look_missing_without_a_token(client, repo, versions, cache):
    repo.private = True
    assert "there is no such repository, or it is private" in client.load(SOURCE, cache_dir=cache)
    assert client.load(SOURCE, cache_dir=cache, token=TOKEN) == versions[0][1]


@resolves
def test_a_hub_that_names_commits_by_paths_is_refused(hub, client, repo, cache):
    repo.commits["../../up"] = repo.commits[repo.refs["main"]]
    repo.refs["main"] = "../../up"
    failure = client.load(SOURCE, cache_dir=cache)
    assert "the Hub names a commit by 40 hexadecimal digits, got '../../up'" in failure
    assert hub.requests() == [f"GET /api/models/{REPO}"]


# --- caches


def test_two_processes_at_once(client, second, repo, versions, cache):
    code = "result = fingerprint(cclnn.load(source, cache_dir=cache))"
    for process in (client, second):
        process.send(code, source=SOURCE, cache=cache)
    assert [process.receive() for process in (client, second)] == [versions[0][1]] * 2
    assert len(blobs(cache)) == 2


READ_ONLY = """
import os
outsider = 65534 if os.geteuid() == 0 else None  # nothing is read-only for root
if outsider:
    os.seteuid(outsider)
try:
    result = fingerprint(cclnn.load(source, cache_dir=cache, token=False))
finally:
    if outsider:
        os.seteuid(0)
"""


@pytest.fixture
def frozen(client, repo):
    """A filled cache which the client may read but not change."""
    folder = Path(tempfile.mkdtemp())  # not under tmp_path, which other users cannot enter
    folder.chmod(0o755)
    client.load(SOURCE, cache_dir=str(folder))
    folders = [Path(path) for path, _, _ in os.walk(folder)]
    for path in folders:
        path.chmod(0o555)
    yield folder
    for path in folders:
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_cache_serves(hub, client, repo, versions, frozen):
    for source in (SOURCE, f"{SOURCE}@{repo.refs['main']}"):
        assert client.run(READ_ONLY, source=source, cache=str(frozen)) == versions[0][1]


def test_a_bad_file_in_a_read_only_cache_is_refused_and_named(client, repo, frozen):
    blob = weights_in(frozen)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    failure = client.run(READ_ONLY, source=SOURCE, cache=str(frozen))
    assert re.search(r"Delete .*/model\.safetensors: it could not be removed from .* \(Permission denied\)", failure)
    assert blob.exists()


def test_a_cache_of_copies_asks_the_hub_for_the_hashes(hub, client, offline, repo, versions, cache):
    """Where links cannot be made, no file tells by its name what the Hub stated."""
    pinned = f"{SOURCE}@{repo.refs['main']}"
    client.load(pinned, cache_dir=cache)
    for path in Path(cache).glob("models--*/snapshots/*/*"):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    shutil.rmtree(next(Path(cache).glob("models--*/blobs")))
    hub.requests()
    assert client.load(pinned, cache_dir=cache) == versions[0][1]
    assert hub.requests() == [f"POST /api/models/{REPO}/paths-info/{repo.refs['main']}"] * 2
    failure = client.load(pinned, cache_dir=cache, local_files_only=True)
    assert "config.json of hf-hub:ours/tiny@" in failure
    assert "cannot be verified offline: this cache holds copies instead of links" in failure
    assert "the Hub's client failed: OfflineModeIsEnabled" in offline.load(pinned, cache_dir=cache)
    path = next(Path(cache).glob("models--*/snapshots/*/model.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "the Hub says" in client.load(pinned, cache_dir=cache)
    assert not path.exists()


# --- uploads


UPLOAD = """
model = cclnn.EDSR(2, channels=8, n_resblocks=1)
source = model.push_to_hub("me/mine", token=token, private=True, message="First", card={"license": "mit"})
result = [source, fingerprint(model), fingerprint(cclnn.load(source, token=token, cache_dir=cache))]
"""


def test_push_makes_the_repository_and_one_commit_that_loads(hub, client, cache):
    source, made, loaded = client.run(UPLOAD, token=TOKEN, cache=cache)
    repo = hub.repos["me/mine"]
    assert source == f"hf-hub:me/mine@{repo.refs['main']}"
    assert loaded == made
    assert repo.private
    assert len(repo.commits) == 2  # the empty one and ours
    files = repo.commits[repo.refs["main"]]
    assert sorted(files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    assert b'cclnn.load("hf-hub:me/mine")' in files["README.md"]
    assert b"\nlicense: mit\n" in files["README.md"]
    asked = " ".join(hub.requests())
    for step in ("repos/create", "validate-yaml", "preupload", "objects/batch", "PUT /upload", "/verify", "/commit/"):
        assert step in asked


def test_publish_uploads_the_three_files_and_nothing_else(hub, client, versions, tmp_path):
    for name, data in versions[0][0].items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "secret.txt").write_text("not for others")
    code = "from cclnn.pretrained import publish; result = publish(folder, 'me/mine', token=token)"
    hub.repo("me/mine", {"notes.md": b"kept"})
    source = client.run(code, folder=str(tmp_path), token=TOKEN)
    repo = hub.repos["me/mine"]
    assert source == f"hf-hub:me/mine@{repo.refs['main']}"
    assert repo.commits[repo.refs["main"]] == {**versions[0][0], "notes.md": b"kept"}


def test_publishing_without_the_right_is_told(hub, client, versions, tmp_path):
    for name, data in versions[0][0].items():
        (tmp_path / name).write_bytes(data)
    code = "from cclnn.pretrained import publish; result = publish(folder, 'me/mine', token='hf_bad')"
    failure = client.run(code, folder=str(tmp_path))
    assert "OSError" in kinds(failure)
    assert "the upload of hf-hub:me/mine: the Hub's client failed: HfHubHTTPError" in failure
    assert hub.repos == {}
