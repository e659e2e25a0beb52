"""What a user calls a model -> where it is: one grammar for names, paths and repositories."""

import difflib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

SCHEME = "hf-hub:"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
REVISION = re.compile(r"refs/pr/\d+|(?!.*\.\.)[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*", re.ASCII)
REFERENCE = re.compile(r"(?P<repo>[^@]*?/[^@/]*)(@(?P<revision>refs/pr/\d+|[^/]*))?(/(?P<subfolder>.*))?")
FOLDER = re.compile(r"[A-Za-z0-9_][\w.+-]*", re.ASCII)


@dataclass(frozen=True)
class Published:
    """A name of `list_pretrained()`."""

    name: str


@dataclass(frozen=True)
class Local:
    """A folder written by `save_pretrained`, or a .safetensors file."""

    path: Path


@dataclass(frozen=True)
class Repository:
    """A folder of a Hub repository at a branch, tag or commit; None is the default branch."""

    repo: str
    revision: str | None = None
    subfolder: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repo}{revision}{'/' + self.subfolder if self.subfolder else ''}"


def find(
    source: str | os.PathLike[str], published: Collection[str], *, revision: str | None = None
) -> Published | Local | Repository:
    """Where `source` is: a published name comes first, then "hf-hub:", then what exists on this machine.

    Raises:
        ValueError: nothing of that name, a file that is no safetensors, a malformed reference, a revision of something
            that has none.
    """
    text = os.fspath(source)
    if text.startswith(SCHEME):
        return parse_repository(text, revision=revision)
    if revision is not None:
        raise ValueError(
            f"`revision`={revision!r} applies to a source 'hf-hub:org/repo', got {text!r}: "
            "published names are pinned in the manifest, local files have no revisions."
        )
    if text in published:
        return Published(text)
    path = Path(text)
    if text and path.is_dir():
        return Local(path)
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"`source`={text!r} is a pickle, which can run code when read: cclnn loads .safetensors only. "
            f"Convert it once: cclnn convert {text} -o FOLDER"
        )
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(f"`source`={text!r} must be a folder or a file named *.safetensors.")
        return Local(path)
    beside = path.with_name(path.name + ".safetensors") if path.name else path
    if beside.is_file():
        return Local(beside)
    raise ValueError(_unknown(text, published))


def parse_repository(text: str, *, revision: str | None = None) -> Repository:
    """Read "hf-hub:org/repo[@revision][/subfolder]"; a revision with slashes (but refs/pr/N) is given as `revision`."""
    match = REFERENCE.fullmatch(text.removeprefix(SCHEME))
    if match is None or not REPOSITORY.fullmatch(match["repo"]):
        raise ValueError(f"`source`={text!r} must be 'hf-hub:org/repo[@revision][/subfolder]'.")
    if revision is not None and match["revision"] is not None:
        raise ValueError(f"`revision`={revision!r} is given twice: `source`={text!r} names one as well.")
    revision = match["revision"] if revision is None else revision
    if revision is not None and not REVISION.fullmatch(revision):
        raise ValueError(f"`revision`={revision!r} of {text!r} is not the name of a branch, tag or commit.")
    subfolder = match["subfolder"] or ""
    if not all(FOLDER.fullmatch(part) for part in subfolder.split("/") if subfolder):
        raise ValueError(f"the subfolder {subfolder!r} of `source`={text!r} must be plain names joined by '/'.")
    return Repository(match["repo"], revision, subfolder)


def _unknown(text: str, published: Collection[str]) -> str:
    close = difflib.get_close_matches(text, published, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if REPOSITORY.fullmatch(text):
        hint += f" For the repository of that name on the Hub write 'hf-hub:{text}'."
    return (
        f"`source`={text!r} is neither a published name ({', '.join(sorted(published))}) nor an existing folder or "
        f".safetensors file, nor 'hf-hub:org/repo[@revision][/subfolder]'.{hint}"
    )
