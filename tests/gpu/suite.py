"""The tests that are marked `gpu`, each test's outcome as a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, Verdict, check

NOT_JUDGED = "not judged"  # how the reason begins with which a test is skipped in a dry run, once it has run


class Outcomes:
    """A plugin of pytest that tells the outcome of each test."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self._tell(verdict_on(report))


def verdict_on(report: pytest.TestReport) -> Verdict:
    name = report.nodeid.partition("::")[2].removeprefix("test_").replace("_", " ")
    if report.outcome == "skipped":
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        judged = not reason.startswith(NOT_JUDGED)
        return Verdict(name, "skipped" if judged else "not judged", reason.removeprefix(f"{NOT_JUDGED}: "))
    return check(
        name, report.outcome == "passed", f"{report.duration:.1f} s", "", report.longreprtext.splitlines()[-25:]
    )


def tests(setup: Setup, tell: Tell) -> None:
    with setup.scratch() as folder:
        options = ["-m", "gpu", "-p", "no:cacheprovider", "-q", f"--basetemp={folder / 'pytest'}"]
        status = pytest.main([*options, str(Path(__file__).parent)], plugins=[Outcomes(tell)])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        tell(check("pytest -m gpu", False, f"pytest ended with {status!r}"))
