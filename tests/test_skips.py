"""The option --skips: which skipped tests fail a run."""

import re
from pathlib import Path

import pytest
import skips
from golden.reader import SHARED
from skips import ALLOWED, Allowed, is_allowed

pytest_plugins = "pytester"

TESTS = """
    import pytest

    def test_passes():
        pass

    @pytest.mark.skipif(True, reason="the moon is full")
    def test_at_new_moon():
        pass

    @pytest.mark.xfail(reason="known", strict=True)
    def test_known_failure():
        assert False
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run TESTS in a session of its own: `run("listed", "reason")`."""

    def run(accepted, *reasons, tests=TESTS):
        monkeypatch.setattr(skips, "ALLOWED", tuple(Allowed(reason, "test") for reason in reasons))
        pytester.makeconftest("""
            import skips
            from skips import pytest_addoption

            def pytest_configure(config):
                config.pluginmanager.register(skips.SkipCheck(config, skips.ALLOWED))
        """)
        pytester.makepyfile(tests)
        return pytester.runpytest_inprocess(f"--skips={accepted}", "-p", "no:cacheprovider")

    return run


@pytest.mark.parametrize(("accepted", "reasons"), [("any", []), ("listed", ["the moon is .*"])])
def test_an_accepted_skip_passes(run, accepted, reasons):
    result = run(accepted, *reasons)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, skipped=1, xfailed=1)


@pytest.mark.parametrize(("accepted", "reasons"), [("listed", []), ("listed", ["the moon"]), ("none", [".*"])])
def test_any_other_skip_fails_the_run_and_is_named(run, accepted, reasons):
    result = run(accepted, *reasons)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"*skipped, which --skips={accepted} does not accept*", "*::test_at_new_moon: the moon is full"]
    )
    result.stdout.no_fnmatch_line("*test_known_failure: *")


def test_a_skipped_module_fails_the_run(run):
    result = run("none", tests='import pytest\npytest.skip("no moon", allow_module_level=True)')
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*: no moon"])


def test_a_skipped_module_fails_a_run_with_workers(pytester, monkeypatch):
    pytest.importorskip("xdist", reason="pytest-xdist runs tests in several processes")
    monkeypatch.setenv("PYTHONPATH", str(Path(skips.__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # some import torch, for seconds
    pytester.makeconftest("""
        from skips import SkipCheck, pytest_addoption

        def pytest_configure(config):
            config.pluginmanager.register(SkipCheck(config))
    """)
    pytester.makepyfile(test_one='import pytest\npytest.skip("no moon", allow_module_level=True)', test_two=TESTS)
    result = pytester.runpytest_subprocess("--skips=listed", "-p", "xdist", "-n1", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*does not accept*", "*: no moon", "*::test_at_new_moon: the moon is full"])


def test_absent_shared_files_are_a_reason_only_where_they_are_absent(monkeypatch, tmp_path):
    reason = f"nlsa_fwd06_48x48.f32 is over 200 KB and kept in {SHARED}, which is absent"
    monkeypatch.setattr(skips, "SHARED", tmp_path / "golden")
    assert not is_allowed(reason, ALLOWED)
    monkeypatch.setattr(skips, "SHARED", tmp_path / "none" / "golden")
    assert is_allowed(reason, ALLOWED)


@pytest.mark.parametrize("reason", ["Triton is not installed", "and there is no g++", "no GPU", ""])
def test_what_is_not_listed_is_not_allowed(reason):
    assert not is_allowed(reason, ALLOWED)


def test_the_list_is_short_and_each_entry_says_why():
    assert len(ALLOWED) <= 5
    for entry in ALLOWED:
        assert entry.why
        assert re.compile(entry.reason).groups == 0
