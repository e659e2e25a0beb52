"""One run of `cclnn upscale`: every job is tried, and other runs on the same files get their share."""

import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import click

from cclnn._claims import Taken, claimed, release_claims, remove_dead_claims
from cclnn._errors import reason
from cclnn.cli._jobs import Job, JobList, collisions
from cclnn.cli._report import Report, warnings_in_one_line
from cclnn.cli._worker import Worker

INTERRUPTED = 130  # the exit code of shells for Ctrl-C
PAUSE = 0.5  # seconds between two looks at what other runs are doing


class Run:
    """The jobs of a list, done by a worker and told by a report.

    In a batch a job whose target exists is skipped, as done before, unless `overwrite`. A job that another run works on
    is put off. At the end the run waits for these, and does what a run that ended did not finish.
    """

    def __init__(self, worker: Worker, report: Report, todo: JobList, *, overwrite: bool) -> None:
        self.worker, self.report, self.todo = worker, report, todo
        self.shared = todo.batch and not overwrite  # to overwrite is to do everything
        self.wrong = collisions(todo.jobs)
        self.failed: list[tuple[Path, str]] = []

    def run(self) -> list[tuple[Path, str]]:
        """Do all jobs; the sources of those that failed, with the reasons. Exits where the user interrupts."""
        left = list(enumerate(self.todo.jobs, start=1))
        try:
            with warnings_in_one_line(self.report):
                left = [entry for entry in left if not self._is_settled(*entry)]
                if left:
                    self.report.waiting(len(left))
                while left:
                    time.sleep(PAUSE)
                    left = [entry for entry in left if not self._is_settled(*entry)]
        except KeyboardInterrupt:
            release_claims()
            resume = " The same command resumes the run." if self.todo.batch else ""
            click.echo(f"Interrupted.{resume}", err=True)
            sys.exit(INTERRUPTED)
        return self.failed

    def _is_settled(self, number: int, job: Job) -> bool:
        """Do a job, or find out that it is done or cannot be done; False where another run works on it."""
        self.report.begin(job, batch=self.todo.batch)
        try:
            if job in self.wrong:
                raise ValueError(self.wrong[job])
            if self.shared and job.target.exists():
                remove_dead_claims(job.target)
                raise FileExistsError
            if self.todo.batch:
                with suppress(FileExistsError):  # a file is in the way, which the worker tells
                    job.target.parent.mkdir(parents=True, exist_ok=True)
            with claimed(job.target) if self.shared else nullcontext():
                if self.shared and job.target.exists():
                    raise FileExistsError
                place = f"[{number}/{len(self.todo.jobs)}] " if self.todo.batch else ""
                self.report.done(job, self.worker.run(job, place, batch=self.todo.batch))
        except Taken:
            return False
        except FileExistsError:  # it was done before, or another run was faster
            self.report.skipped(job)
        except click.ClickException:
            raise  # every image would fail in the same way
        except Exception as error:  # noqa: BLE001  # whatever one file does, the others are done
            self.report.failed(job, reason(error), alone=not self.todo.batch)
            self.failed.append((job.source, reason(error)))
        return True
