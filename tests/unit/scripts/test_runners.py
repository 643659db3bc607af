# SPDX-License-Identifier: GPL-3.0-or-later
"""The runners of tests: a failure, a skip or a fault that escapes is never lost in the counting."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes"/>
<testcase classname="a" name="fails"><failure message="no"/></testcase>
<testcase classname="a" name="breaks"><error message="no"/></testcase>
<testcase classname="a" name="rests"><skipped message="no applicable file"/></testcase>
</testsuite></testsuites>"""

WRITE_REPORT = "import os, pathlib, sys; pathlib.Path(os.environ['JUNIT_XML']).write_text({!r}); sys.exit({})"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = load("test", monkeypatch)
    for name in ("ROOT", "LOGS", "RESULTS"):
        monkeypatch.setattr(module, name, tmp_path)
    (tmp_path / "tests").mkdir()
    return module


@pytest.fixture
def planter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = load("plant", monkeypatch)
    monkeypatch.setattr(module, "COPY", tmp_path)
    return module


def run_code(suite: ModuleType, code: str, *arguments: str, reports: str = "") -> tuple[int, int, int]:
    outcome = suite.run(suite.Part("part", (sys.executable, "-c", code, *arguments), reports=reports))
    return outcome.passed, len(outcome.failed), len(outcome.skipped)


def test_each_test_of_a_report_counts(suite: ModuleType) -> None:
    assert run_code(suite, WRITE_REPORT.format(REPORT, 1)) == (1, 2, 1)


def test_a_part_without_report_counts_as_one(suite: ModuleType) -> None:
    assert run_code(suite, "") == (1, 0, 0)
    assert run_code(suite, "raise SystemExit(3)") == (0, 1, 0)


def test_a_failed_command_fails_in_spite_of_a_clean_report(suite: ModuleType) -> None:
    clean = '<testsuites><testsuite><testcase classname="a" name="passes"/></testsuite></testsuites>'
    assert run_code(suite, WRITE_REPORT.format(clean, 2)) == (1, 1, 0)


def test_a_report_that_is_missing_or_empty_fails(suite: ModuleType) -> None:
    assert run_code(suite, "", "{junit}") == (0, 1, 0)
    assert run_code(suite, "", reports="*.junit") == (0, 1, 0)
    assert run_code(suite, WRITE_REPORT.format("<testsuites/>", 0), "{junit}") == (0, 1, 0)


def test_a_report_of_an_earlier_run_does_not_count(suite: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text(REPORT)
    assert run_code(suite, "", "{junit}") == (0, 1, 0)


def test_parts_with_machines_run_one_by_one_and_beside_the_others(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first parts of both lanes wait for each other, so that a third lane would have to take another lab."""
    parts = [suite.Part(f"{'lab' if lab else 'desk'} {n}", (), lab=lab) for lab in (True, False) for n in range(3)]
    meeting = threading.Barrier(2)
    workers: dict[bool, set[int]] = {True: set(), False: set()}

    def run(part: Any) -> Any:
        workers[part.lab].add(threading.get_ident())
        if part.name.endswith("0"):
            meeting.wait(timeout=20)
        return suite.Outcome(part, passed=1)

    monkeypatch.setattr(suite, "run", run)
    outcomes = suite.run_all(parts)
    assert [(outcome.part.name, outcome.passed) for outcome in outcomes] == [(part.name, 1) for part in parts]
    assert [len(workers[lab]) for lab in (True, False)] == [1, 1]
    assert workers[True].isdisjoint(workers[False])


@pytest.mark.parametrize(
    ("entry", "unexpected"),
    [
        ("{part: part, test: 'a::re*', reason: nothing to look at}", 0),
        ("{part: part, test: 'a::re*', reason: ''}", 1),
        ("{part: other, test: 'a::re*', reason: nothing to look at}", 1),
        ("{part: part, test: 'b::*', reason: nothing to look at}", 1),
    ],
)
def test_a_skip_needs_its_reason(suite: ModuleType, tmp_path: Path, entry: str, unexpected: int) -> None:
    (tmp_path / "tests" / "skips.yml").write_text(f"skips: [{entry}]")
    outcome = suite.Outcome(suite.Part("part", ()), skipped=[("a::rests", "no applicable file")])
    assert len(suite.unexpected_skips([outcome])) == unexpected


@pytest.mark.parametrize(
    ("old", "code", "verdict"),
    [
        ("good", "raise SystemExit('bad' in open('file').read())", ""),
        ("good", "", "the test passed"),
        ("good", "raise SystemExit(2)", "the test ended with status 2, not 1"),
        ("good", "import time; time.sleep(60)", "the test gave no answer in 1 s"),
        ("gone", "raise SystemExit(1)", "its old text occurs 0 times in file, not once"),
        ("o", "raise SystemExit(1)", "its old text occurs 2 times in file, not once"),
    ],
)
def test_only_the_expected_failure_catches_a_fault(
    planter: ModuleType, tmp_path: Path, old: str, code: str, verdict: str
) -> None:
    (tmp_path / "file").write_text("good\n")
    test = (sys.executable, "-c", code)
    fault = planter.Fault("fault", "file", old=old, new="bad", test=test, timeout=1.0)
    assert planter.plant(fault, tmp_path / "log") == verdict
    assert (tmp_path / "file").read_text() == "good\n"
