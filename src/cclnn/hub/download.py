"""A repository of the Hub -> local files of one commit, each checked against the hash that was promised for it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cclnn.hub.container import CONFIG, WEIGHTS
from cclnn.hub.source import Repository

if TYPE_CHECKING:
    from typing_extensions import Self

COMMIT = re.compile(r"[0-9a-f]{40}")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Access:
    """How to reach the Hub: the options of its client."""

    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False


@dataclass(frozen=True)
class Digest:
    """A hash of a file's content: SHA-256, or for small files outside LFS git's SHA-1 of "blob <size>\\0<content>"."""

    kind: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Self | None":
        """The hash that `text` spells, told by its length; None if it is none."""
        for kind, digits in (("sha256", 64), ("git-sha1", 40)):
            if re.fullmatch(f"[0-9a-f]{{{digits}}}", text):
                return cls(kind, text)
        return None

    def of(self, path: Path) -> "Digest":
        """The hash of the same kind of a file."""
        if self.kind == "sha256":
            return replace(self, value=sha256_of(path))
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)  # git's own name of a file
        return replace(self, value=_read_into(state, path))

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return _read_into(hashlib.sha256(), path)


def _read_into(state: Any, path: Path) -> str:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            state.update(chunk)
    digest: str = state.hexdigest()
    return digest


def fetch(repository: Repository, access: Access) -> tuple[Path, Path]:
    """config.json and model.safetensors of one commit, in the client's cache, verified.

    A branch or tag is resolved once (one request, or the cache's last answer when offline); a commit already in the
    cache makes no request at all.
    """
    commit = resolve(repository, access)
    config, weights = (download(repository, commit, name, access) for name in (CONFIG, WEIGHTS))
    return config, weights


def resolve(repository: Repository, access: Access) -> str:
    """The commit that the repository's revision names now."""
    import huggingface_hub

    if repository.revision and COMMIT.fullmatch(repository.revision):
        return repository.revision
    with explained(repository, f"revision {repository.revision or 'main'!r}"):
        if hasattr(huggingface_hub, "resolve_revision"):
            commit: str = huggingface_hub.resolve_revision(
                repository.repo,
                revision=repository.revision,
                cache_dir=access.cache_dir,
                token=access.token,
                local_files_only=access.local_files_only,
            ).resolved
        else:  # older clients: the folder into which the cache puts a file is named after its commit
            path = _download(repository, repository.revision, CONFIG, access)
            commit = path.parents[len(Path(repository.subfolder).parts)].name
    if not COMMIT.fullmatch(commit):
        raise ValueError(f"{repository}: the Hub names a commit by 40 hexadecimal digits, got {commit!r}.")
    return commit


def download(repository: Repository, commit: str, name: str, access: Access, *, pinned: Digest | None = None) -> Path:
    """A file of a commit, verified against `pinned` or else against the hash that the Hub stated for it."""
    with explained(repository, name):
        path = _download(repository, commit, name, access)
        promised = pinned or _stated(path) or _ask(repository, commit, name, access)
    verify(path, promised, f"{name} of {repository}", "the manifest" if pinned else "the Hub")
    return path


def verify(path: Path, promised: Digest, what: str, authority: str) -> None:
    """Raise ValueError and remove the file from the cache unless it has the promised hash."""
    found = promised.of(path)
    if found == promised:
        return
    try:
        _remove(path)
        outcome = "It was removed from the cache: load again to download it anew."
    except OSError as error:
        outcome = f"Delete {path}: it could not be removed from the cache ({error.strerror})."
    raise ValueError(f"{what} is damaged or was replaced: it has {found}, {authority} says {promised.value}. {outcome}")


def _remove(path: Path) -> None:
    """The file, what it links to, and where that links to: the snapshot's link, the blob, a store shared by blobs."""
    chain = [path]
    while chain[-1].is_symlink():
        chain.append(chain[-1].parent / chain[-1].readlink())
    for link in chain:
        link.unlink(missing_ok=True)


def _download(repository: Repository, revision: str | None, name: str, access: Access) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(
            repository.repo,
            name,
            subfolder=repository.subfolder or None,
            revision=revision,
            cache_dir=access.cache_dir,
            token=access.token,
            local_files_only=access.local_files_only,
            library_name="cclnn",
        )
    )


def _stated(path: Path) -> Digest | None:
    """The hash that the Hub stated at download: the client links a snapshot's file to a blob named by its ETag."""
    return Digest.parse(path.readlink().name) if path.is_symlink() else None


def _ask(repository: Repository, commit: str, name: str, access: Access) -> Digest:
    """The hash that the Hub states now: for caches that hold copies instead of links (Windows, some network drives)."""
    from huggingface_hub import HfApi

    if access.local_files_only:
        raise ValueError(
            f"{name} of {repository} cannot be verified offline: this cache holds copies instead of links, so the "
            "hash that the Hub stated is not known. Load it online, or copy the files to a folder that you trust."
        )
    inside = f"{repository.subfolder}/{name}" if repository.subfolder else name
    (info,) = HfApi(token=access.token).get_paths_info(repository.repo, [inside], revision=commit)
    lfs = getattr(info, "lfs", None)
    promised = Digest.parse(lfs.sha256 if lfs else getattr(info, "blob_id", ""))
    if promised is None:
        raise ValueError(f"{name} of {repository}: the Hub states no hash for it.")
    return promised


@contextmanager
def explained(repository: Repository, what: str) -> Iterator[None]:
    """Turn the client's errors into ours: what was asked for, what is wrong, what to do."""
    from huggingface_hub import errors

    where = f"{what} of {repository}"
    unresolved = getattr(errors, "RevisionResolutionError", errors.LocalEntryNotFoundError)  # older clients have none
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{where}: the repository is gated. Accept its terms on its page, then `hf auth login` or pass `token`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{where}: there is no such repository, or it is private. If it is yours, `hf auth login` or pass `token`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{where}: the repository has no such revision.") from error
    except (errors.LocalEntryNotFoundError, unresolved) as error:
        raise FileNotFoundError(f"{where} is not in the cache, and {_why_not(error)}.") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{where}: there is no such file at this revision. cclnn loads folders with {CONFIG} and {WEIGHTS}; a "
            "checkpoint in another format is downloaded by hand and goes through `cclnn convert`."
        ) from error
    except ValueError:  # ours, and the client's checks of names
        raise
    except Exception as error:
        raise OSError(f"{where}: the Hub's client failed: {type(error).__name__}: {error}") from error


def _why_not(error: BaseException) -> str:
    reason = error.__cause__
    return f"the Hub cannot be reached ({type(reason).__name__}: {reason})" if reason else "`local_files_only` is True"


def pins(entry: Mapping[str, Any]) -> tuple[Repository, str, Digest]:
    """Repository, commit and hash of the weights in a manifest entry with "hub"."""
    place = entry["hub"]
    repository = Repository(place["repo"], place["revision"], place.get("subfolder", ""))
    return repository, place["revision"], Digest("sha256", entry["sha256"])
