"""Upscale a folder or a bucket of images on the machines of a Ray cluster; the same command resumes.

    python integrations/ray/upscale.py photos/ large/ --workers 2
    python integrations/ray/upscale.py s3://bucket/photos s3://bucket/large --workers 16 --gpus 1 --scale 2

Each result has its image's name in OUTPUT, in the same subfolder, and its metadata, as from `cclnn upscale`. Images
whose results exist are skipped. What fails is tried again if the reason may pass, and is listed in
OUTPUT/failures.jsonl with the reason.
"""

import argparse
import json
import sys
from typing import Any

import ray
import torch

from cclnn.image import FORMATS, name_results, result_name
from cclnn.integrations.storage import Storage
from cclnn.precision import keep_freed_memory
from cclnn.upscaler import FileUpscaler, reason, retry

RETRIES = 3  # of a file, and of one whose worker is lost
FILES_PER_BLOCK = 50  # at most: what a worker has done of a block when it dies is not done again
BLOCKS_PER_WORKER = 4  # at least, where there are enough files: workers end at about the same time
Rows = list[dict[str, str]]


class Upscale:
    """A worker: holds the model, and gives a row for each file, with the reason where it failed."""

    def __init__(self, options: dict[str, Any], source: Storage, output: Storage, threads: int) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self.run, self.source, self.output = FileUpscaler(**options), source, output

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        names = [self.source.name(str(path)) for path in batch["path"]]
        errors = [self.upscale(name, bytes(content)) for name, content in zip(names, batch["bytes"], strict=True)]
        return {"path": names, "error": errors}

    def upscale(self, name: str, content: bytes) -> str:
        result = result_name(name, self.run.format)

        def once() -> None:
            if result not in self.output:  # or a worker wrote it and died
                self.output.write(result, self.run(content, name=repr(name)).content)

        try:
            retry(once, retries=RETRIES)
        except Exception as error:  # noqa: BLE001  # whatever one file does, the others are done
            return reason(error)
        return ""


def upscale(source: str, output: str, *, workers: int = 1, cpus: int = 1, gpus: float = 0, **options: Any) -> Rows:
    """Upscale what is not done yet. A row for each image: path in `source`, and error, "" if it is done.

    Args:
        source, output: folders, or URIs that pyarrow opens; `output` may lie in `source`.
        workers: processes that hold the model, on any machines of the cluster.
        cpus, gpus: of each.
        options: of `cclnn.upscaler.FileUpscaler`, but "same" as `format`.
    """
    inputs, results = Storage(source), Storage(output)
    FileUpscaler(**options)  # an option out of range ends the run before it begins
    existing = results.names()
    made = {results.path(name) for name in existing}
    images = [name for name in inputs.names() if inputs.path(name) not in made]
    names = name_results(images, existing, options.get("format", "png"))
    rows = [{"path": name, "error": error} for name, error in names.refused.items()]
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # the run goes on without the files of a block that failed ...
    for block in (FILES_PER_BLOCK, 1):  # ... which are then tried one by one
        if left := sorted(names.todo.keys() - {row["path"] for row in rows}):
            files = ray.data.read_binary_files(
                [inputs.path(name) for name in left],
                filesystem=inputs.filesystem,
                include_paths=True,
                override_num_blocks=max(min(BLOCKS_PER_WORKER * workers, len(left)), -(-len(left) // block)),
                num_cpus=0,
            )
            done = files.map_batches(
                Upscale,
                batch_size=1,
                # one block at a time: blocks that wait at a busy worker are lost to an idle one
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                fn_constructor_args=(options, inputs, results, cpus),
                num_cpus=cpus,
                num_gpus=gpus,
                ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
            )
            rows += done.take_all()
    lost = sorted(names.todo.keys() - {row["path"] for row in rows})
    rows += [{"path": name, "error": "it cannot be read, or ends its worker"} for name in lost]
    results.remove_parts()
    failures = "".join(json.dumps(row) + "\n" for row in rows if row["error"])
    results.write("failures.jsonl", failures.encode())
    return rows


def main() -> None:
    """Take the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="INPUT")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=1, help="cores of each worker")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each worker; 0.5 for two workers on one")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--format", default="png", choices=list(FORMATS))
    parser.add_argument("--quality", type=int)
    rows = upscale(**vars(parser.parse_args()))
    failed = sum(bool(row["error"]) for row in rows)
    print(f"{len(rows) - failed} done, {failed} failed; those whose results existed are not counted.")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
