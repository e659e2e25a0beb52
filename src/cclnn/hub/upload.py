"""A folder -> a commit on the Hub, through the real client."""

import os
from dataclasses import dataclass
from pathlib import Path

from cclnn.hub.container import CARD, CONFIG, WEIGHTS
from cclnn.hub.download import explained, sha256_of
from cclnn.hub.source import REPOSITORY, SCHEME, Repository

FILES = (CARD, CONFIG, WEIGHTS)


@dataclass(frozen=True)
class Upload:
    """A file that will be uploaded."""

    path: Path
    size: int
    sha256: str


def check_repo_id(repo_id: str) -> Repository:
    """Raise ValueError unless `repo_id` is "org/repo"."""
    if not REPOSITORY.fullmatch(repo_id):
        raise ValueError(f"`repo_id`={repo_id!r} must be 'org/repo'.")
    return Repository(repo_id)


def planned(folder: str | os.PathLike[str]) -> list[Upload]:
    """The files of `folder` to upload: README.md, config.json, model.safetensors, and nothing else that lies there.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"`folder`={str(folder)!r} has no {name}; write it with model.save_pretrained.")
    return [Upload(folder / name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in FILES]


def upload_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Upload the three files of a folder in one commit; the repository is made if need be.

    Returns:
        "hf-hub:org/repo@commit", which `cclnn.load` takes.
    """
    repository = check_repo_id(repo_id)
    uploads = planned(folder)
    from huggingface_hub import CommitOperationAdd, HfApi

    with explained(repository, "the upload"):
        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(upload.path.name, upload.path) for upload in uploads]
        commit = api.create_commit(repo_id, operations, commit_message=message or "Upload with cclnn")
    return f"{SCHEME}{repo_id}@{commit.oid}"
