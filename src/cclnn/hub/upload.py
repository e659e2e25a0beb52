"""A model or its folder -> a commit on the Hub, through the real client."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from cclnn.hub.checkpoint import CARD, CONFIG, WEIGHTS, read_folder, save_pretrained
from cclnn.hub.download import explained, sha256_of
from cclnn.hub.source import REPOSITORY, SCHEME, Repository
from cclnn.models._base import SRModel

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


def plan(folder: str | os.PathLike[str]) -> list[Upload]:
    """The files of `folder` to upload: README.md, config.json, model.safetensors, and nothing else that lies there.

    Raises:
        ValueError: the folder does not load as a model. FileNotFoundError: a file is missing.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"`folder`={str(folder)!r} has no {name}; write it with model.save_pretrained.")
    read_folder(folder)
    return [Upload(folder / name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in FILES]


def publish(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Upload a folder written by `save_pretrained` to the Hub, in one commit.

    Args:
        folder: checked by loading it first.
        repo_id: "org/repo"; made if need be.
        private: of a repository that is made now; one that exists stays as it is.
        token: of the Hub; None uses the one that `hf auth login` stored.
        message: of the commit.

    Returns:
        "hf-hub:org/repo@commit", which `cclnn.load` takes.
    """
    repository = check_repo_id(repo_id)
    uploads = plan(folder)
    from huggingface_hub import CommitOperationAdd, HfApi

    with explained(repository, "the upload"):
        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(upload.path.name, upload.path) for upload in uploads]
        commit = api.create_commit(repo_id, operations, commit_message=message or "Upload with cclnn")
    return f"{SCHEME}{repo_id}@{commit.oid}"


def push(
    model: SRModel,
    repo_id: str,
    *,
    private: bool,
    token: str | bool | None,
    message: str | None,
    dtype: torch.dtype,
    card: Mapping[str, Any] | None,
) -> str:
    """`publish` what `save_pretrained` writes for `model`; see `SRModel.push_to_hub`."""
    with TemporaryDirectory() as folder:
        save_pretrained(model, folder, dtype=dtype, card={"source": f"{SCHEME}{repo_id}", **(card or {})})
        return publish(folder, repo_id, private=private, token=token, message=message)
