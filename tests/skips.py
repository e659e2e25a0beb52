"""Which skipped tests a run accepts: the list of reasons, and the option `--skips` that applies it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from golden.reader import SHARED


def always() -> bool:
    return True


def shared_is_absent() -> bool:
    return not SHARED.parent.is_dir()


@dataclass(frozen=True)
class Allowed:
    """A reason that `--skips=listed` accepts where `holds()` is true: a pattern of the whole text, and why."""

    reason: str
    why: str
    holds: Callable[[], bool] = always


ALLOWED = (
    Allowed(
        rf".*{re.escape(str(SHARED.parent))}.*absent",
        "large golden files and image sets lie beside the repository, and a clone does not have them",
        shared_is_absent,
    ),
    Allowed(
        "this client resolves a branch by asking for config.json",
        "releases of huggingface_hub before resolve_revision, which the package supports",
    ),
    Allowed(
        r"torch.compile needs the C\+\+ compiler g\+\+",
        "torch.compile writes C++ for a CPU, and the system may have no compiler",
        lambda: shutil.which("g++") is None,
    ),
    Allowed(
        "(?:gradio|pyarrow|ray|torchao) is not installed|Chromium or playwright is absent|"
        "onnxruntime-web is absent: `make page` fetches it",
        "`make integrations` installs what Python's registry has and runs these tests; a browser and npm it has not",
    ),
    Allowed(
        "torch.compile cannot trace the checks of annotations into one graph|"
        "torch.export cannot trace the checks of annotations|annotations are checked in this process alone",
        "the annotated run checks shapes by Python code, in this process, that breaks graphs; the plain run has them",
    ),
)


def is_allowed(reason: str, allowed: tuple[Allowed, ...]) -> bool:
    return any(re.fullmatch(entry.reason, reason) and entry.holds() for entry in allowed)


def pytest_addoption(parser):
    parser.addoption(
        "--skips",
        choices=("any", "listed", "none"),
        default="any",
        help="the skipped tests that do not fail the run: any; those whose reason tests/skips.py lists; none",
    )


class SkipCheck:
    """Collects skipped tests and modules, and fails the run if it does not accept one of them."""

    def __init__(self, config: pytest.Config, allowed: tuple[Allowed, ...] = ALLOWED) -> None:
        self.accepted = config.getoption("skips")
        self.allowed = allowed
        self.refused: set[str] = set()
        self.to_main_process = getattr(config, "workeroutput", None)  # of a worker of pytest-xdist

    def _accepts(self, reason: str) -> bool:
        return self.accepted == "any" or (self.accepted == "listed" and is_allowed(reason, self.allowed))

    def _take(self, report) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not self._accepts(reason):
                self.refused.add(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report):
        self._take(report)

    def pytest_collectreport(self, report):
        self._take(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Take what a worker refused: pytest-xdist does not forward the reports of skipped modules."""
        self.refused |= set(getattr(node, "workeroutput", {}).get("refused", ()))

    def pytest_sessionfinish(self, session):
        if self.to_main_process is not None:
            self.to_main_process["refused"] = sorted(self.refused)
        elif self.refused and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.refused:
            terminalreporter.section(f"skipped, which --skips={self.accepted} does not accept", red=True)
            for line in sorted(self.refused):
                terminalreporter.line(line, red=True)
