"""Upscale a folder or a bucket of images on the machines of a Ray cluster; the same command resumes.

    python integrations/ray/upscale.py photos/ large/ --workers 2
    python integrations/ray/upscale.py s3://bucket/photos s3://bucket/large --workers 16 --gpus 1 --scale 2

Each result has its image's name in OUTPUT, in the same subfolder, and its metadata, as from `cclnn upscale`. Images
whose results exist are skipped. What fails is tried again if the reason may pass, and is listed in
OUTPUT/failures.jsonl with the reason.
"""

import argparse
import json
import posixpath
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from pyarrow.fs import FileSelector, FileSystem, FileType

from cclnn.image import FORMATS, ImageFileError
from cclnn.upscaler import FileUpscaler

SUFFIXES = {suffix for known in FORMATS.values() for suffix in known.suffixes}
RETRIES, PAUSE = 3, 1.0  # of a file or of a worker that is lost; seconds before the first, doubled each time
BLOCK = 50  # files that a worker takes at a time: what is done of them when it dies is not done again
Rows = list[dict[str, Any]]


class Upscale:
    """A worker: holds the model, and gives a row for each file, with the reason where it failed."""

    def __init__(self, options: dict[str, Any], place: "Place", threads: int) -> None:
        torch.set_num_threads(threads)
        self.run, self.place = FileUpscaler(**options), place

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        files = zip(batch["path"], batch["bytes"], strict=True)
        errors = [self.upscale(str(path), bytes(content)) for path, content in files]
        return {"path": list(batch["path"]), "error": errors}

    def upscale(self, path: str, content: bytes) -> str:
        storage, target = self.place.storage, self.place.target(path)
        for attempt in range(RETRIES + 1):
            try:
                if storage.get_file_info(target).type == FileType.NotFound:  # or a worker wrote it and died
                    write(storage, target, self.run(content, name=repr(path)).content, self.place.part)
                return ""
            except Exception as error:  # noqa: BLE001  # whatever one file does, the others are done
                if isinstance(error, (ImageFileError, ValueError)) or attempt == RETRIES:  # no repetition helps
                    return (str(error).splitlines() or [type(error).__name__])[0]
                time.sleep(PAUSE * 2**attempt)
        raise AssertionError


@dataclass(frozen=True)
class Place:
    """Where results lie: `source`/a/b.jpg has its result at `root`/a/b`suffix` in `storage`.

    part: end of the names of files that this run has not written to the end
    """

    storage: FileSystem
    root: str
    source: str
    suffix: str
    part: str

    def target(self, path: str) -> str:
        return f"{self.root}/{posixpath.splitext(posixpath.relpath(path, self.source))[0]}{self.suffix}"


def write(storage: FileSystem, target: str, content: bytes, ending: str) -> None:
    """All of the file under its name, or nothing."""
    folder, name = posixpath.split(target)
    storage.create_dir(folder, recursive=True)
    part = f"{folder}/.{name}-{ending}"
    try:
        with storage.open_output_stream(part) as stream:
            stream.write(content)
        storage.move(part, target)
    finally:
        if storage.get_file_info(part).type != FileType.NotFound:
            storage.delete_file(part)


def opened(place: str) -> tuple[FileSystem, str]:
    """The storage and the path in it of a folder or of a URI such as s3://bucket/folder."""
    return FileSystem.from_uri(place if "://" in place else Path(place).resolve().as_posix())


def listed(storage: FileSystem, root: str) -> list[str]:
    """The files below a folder, sorted."""
    found = storage.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    return sorted(file.path for file in found if file.type == FileType.File)


def is_image(path: str) -> bool:
    name = posixpath.basename(path)
    return posixpath.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def upscale(source: str, output: str, *, workers: int = 1, cpus: int = 1, gpus: float = 0, **options: Any) -> Rows:
    """Upscale what is not done yet. A row for each image: path, and error, "" if it is done.

    Args:
        source, output: folders, or URIs that pyarrow opens.
        workers: processes that hold the model, on any machines of the cluster.
        cpus, gpus: of each.
        options: of `cclnn.upscaler.FileUpscaler`, but "same" as `format`.
    """
    (inputs, top), (outputs, results) = opened(source), opened(output)
    FileUpscaler(**options)  # an option out of range ends the run before it begins
    suffix = FORMATS[options.get("format", "png")].suffixes[0]
    place = Place(outputs, results, top, suffix, part=f"{uuid.uuid4().hex}.part")
    finished, owners, rows = set(listed(outputs, results)), {}, []
    for path in listed(inputs, top):
        target = place.target(path)
        if not is_image(path) or path in finished:
            continue
        if owners.setdefault(target, path) != path:
            rows.append({"path": path, "error": f"its result would replace that of {owners[target]!r}"})
    todo = {path for target, path in owners.items() if target not in finished}
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # the run goes on without the files of a block that failed ...
    for block in (BLOCK, 1):  # ... which are then tried one by one
        if left := sorted(todo - {row["path"] for row in rows}):
            blocks = max(workers, -(-len(left) // block))
            images = ray.data.read_binary_files(
                left, filesystem=inputs, include_paths=True, override_num_blocks=blocks, num_cpus=0
            )
            done = images.map_batches(
                Upscale,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=workers),
                fn_constructor_args=(options, place, cpus),
                num_cpus=cpus,
                num_gpus=gpus,
                ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
            )
            rows += done.take_all()
    lost = sorted(todo - {row["path"] for row in rows})
    rows += [{"path": path, "error": "it cannot be read, or ends its worker"} for path in lost]
    failures = "".join(json.dumps(row) + "\n" for row in rows if row["error"])
    for path in listed(outputs, results):
        if path.endswith(place.part):  # of a worker that was lost
            outputs.delete_file(path)
    write(outputs, f"{results}/failures.jsonl", failures.encode(), place.part)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=1, help="cores of each worker")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each worker; 0.5 for two workers on one")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--format", default="png", choices=list(FORMATS))
    parser.add_argument("--quality", type=int)
    given = vars(parser.parse_args())
    rows = upscale(given.pop("input"), given.pop("output"), **given)
    failed = sum(bool(row["error"]) for row in rows)
    print(f"{len(rows) - failed} done, {failed} failed; those whose results existed are not counted.")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
