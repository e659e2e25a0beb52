"""What a run tells, and when it says that something is wrong."""

import json
import time

import pytest
from cclnn_training.loop import OVERFLOWS, SETTLED, Watch
from cclnn_training.report import Report


def test_a_resumed_log_loses_half_lines_and_later_steps(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2, "loss": 0.5}\n{"step": 4, "loss": 0.4}\n{"step": 6, "lo')
    report = Report(tmp_path, step=3, steps=9, silent=False)
    report.scalars(5, loss=0.3)
    report.close()
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"step": 2, "loss": 0.5},
        {"step": 5, "loss": 0.3},
    ]


def test_means_are_those_since_the_last_line(tmp_path):
    report = Report(tmp_path, step=0, steps=4, silent=False)
    for step, loss in enumerate((1.0, 3.0, 5.0, 9.0), 1):
        report.count(step, 16, {"loss": loss}, lr=0.1, now=step % 2 == 0)
    report.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"], line["lr"]) for line in lines] == [(2, 2.0, 0.1), (4, 7.0, 0.1)]
    assert all(line["images_per_second"] > 0 for line in lines)


def test_the_other_processes_write_nothing(tmp_path):
    report = Report(tmp_path, step=0, steps=4, silent=True)
    report.count(1, 16, {"loss": 1.0}, lr=0.1, now=True)
    report.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("loss", "norm", "may_overflow", "said"),
    [
        (0.19, 1.0, False, None),
        (0.21, 1.0, False, "the loss became 0.21, 10.5 times its running mean"),
        (float("nan"), 1.0, False, "the loss became nan"),
        (0.02, float("inf"), False, "the norm of the gradient became inf"),
        (0.02, float("inf"), True, None),
    ],
)
def test_trouble_after_a_settled_loss(loss, norm, may_overflow, said):
    watch = Watch(explosion=10)
    assert watch.trouble(5.0, 1.0, norms_may_overflow=False) is None  # before it settles, anything finite goes
    watch = Watch(explosion=10)
    for _ in range(SETTLED):
        assert watch.trouble(0.02, 1.0, norms_may_overflow=False) is None
    assert watch.trouble(loss, norm, norms_may_overflow=may_overflow) == said


def test_a_scaler_that_finds_no_scale_is_trouble():
    watch = Watch(explosion=10)
    found = [watch.trouble(0.02, float("nan"), norms_may_overflow=True) for _ in range(OVERFLOWS + 1)]
    assert found == [None] * OVERFLOWS + ["the norm of the gradient became nan"]
    watch = Watch(explosion=10)
    for norm in (float("inf"), 1.0) * OVERFLOWS:
        assert watch.trouble(0.02, norm, norms_may_overflow=True) is None


def test_validation_does_not_count_in_the_speed(tmp_path):
    report = Report(tmp_path, step=0, steps=4, silent=False)
    with report.aside():
        time.sleep(0.3)
    report.count(1, 100, {}, lr=0.1, now=True)
    report.close()
    assert json.loads((tmp_path / "log.jsonl").read_text())["images_per_second"] > 1000
