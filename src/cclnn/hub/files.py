"""What a user calls a model -> the files that hold it, on this machine and verified."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cclnn import weights
from cclnn.hub import download
from cclnn.hub.container import CONFIG, WEIGHTS, read_config
from cclnn.hub.description import Description
from cclnn.hub.source import Local, Published, find


@dataclass(frozen=True)
class Files:
    """A weights file, and the text of the configuration that belongs to it where one lies beside it."""

    weights: Path
    config: str | None


@contextmanager
def open_source(
    source: str | os.PathLike[str], access: download.Access, *, revision: str | None = None
) -> Iterator[Files]:
    """The files of a published name, a folder, a file or a repository, as `cclnn.load` documents; valid inside `with`.

    Files are verified first: published names against the manifest's sha256, those of the Hub against the Hub's hash.
    """
    place = find(source, weights.manifest(), revision=revision)
    if isinstance(place, Published):
        with _published(place.name, access) as files:
            yield files
    elif isinstance(place, Local):
        yield files_in(place.path) if place.path.is_dir() else Files(place.path, None)
    else:
        config, path = download.fetch(place, access)
        yield Files(path, read_config(config))


def files_in(folder: Path) -> Files:
    """What `save_pretrained` wrote; config.json may be absent, as the weights' header holds the same."""
    config = folder / CONFIG
    return Files(folder / WEIGHTS, read_config(config) if config.is_file() else None)


@contextmanager
def _published(name: str, access: download.Access) -> Iterator[Files]:
    """From the wheel, else from its repository at the manifest's revision; either way the manifest's sha256."""
    entry = weights.manifest()[name]
    described = json.dumps(Description(entry["architecture"], entry["config"]).as_json())
    bundled = resources.files(weights).joinpath(entry["file"]) if "file" in entry else None
    if bundled is not None and bundled.is_file():
        with resources.as_file(bundled) as path:
            found = download.sha256_of(path)
            if found != entry["sha256"]:
                raise ValueError(
                    f"the weights of {name!r} are damaged: {path} has sha256 {found}, the manifest says "
                    f"{entry['sha256']}. Reinstall cclnn."
                )
            yield Files(path, described)
        return
    if "path" in entry:
        raise FileNotFoundError(
            f"the weights of {name!r} are too large for the package: in a checkout of cclnn, load {entry['path']!r}."
        )
    if "hub" not in entry:
        raise FileNotFoundError(f"the weights of {name!r} are not in this installation. Reinstall cclnn.")
    repository, commit, digest = download.pins(entry)
    yield Files(download.download(repository, commit, WEIGHTS, access, pinned=digest), described)
