"""A folder with a model -> the Hub, once it is known to load."""

import os

from cclnn.hub.upload import Upload, check_repo_id, planned, upload_folder
from cclnn.pretrained.loading import load_folder


def plan_upload(folder: str | os.PathLike[str], repo_id: str) -> list[Upload]:
    """The files that `publish` uploads: README.md, config.json, model.safetensors.

    Raises:
        ValueError: `repo_id` is not "org/repo", or the folder does not load as a model.
        FileNotFoundError: a file is missing.
    """
    check_repo_id(repo_id)
    uploads = planned(folder)
    load_folder(folder)
    return uploads


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
        private: whether a repository that is made now is private; one that exists stays as it is.
        token: access token; None uses the one that `hf auth login` stored.
        message: the commit's message.

    Returns:
        "hf-hub:org/repo@commit", which `cclnn.load` takes.
    """
    plan_upload(folder, repo_id)
    return upload_folder(folder, repo_id, private=private, token=token, message=message)
