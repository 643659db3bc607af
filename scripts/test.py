#!/usr/bin/env python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the test suite in two lanes and adds up what they report.

The parts that boot machines run one after the other, and beside them those that need none: a lab mostly waits for its
emulated machines, which leaves a core to the rest. A part that fails does not stop the next one. Each has its log under
build/logs; the end of a failing one is shown. The last line is ``N passed, N failed, N skipped``; the exit status is 1
after a failure, or after a skip whose reason does not stand in tests/skips.yml.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from checkout import ROOT

LOGS = ROOT / "build" / "logs"
RESULTS = ROOT / "build" / "results"
HEARTBEAT = 30  # seconds between signs of life of a long part
TAIL = 40  # lines of a failing log
REASON = 600  # characters of why a test failed
#: The pyroute2 of EPEL 9, the oldest that is supported, and the newest.
PYROUTE2 = ("0.5.14", "0.9.7")
#: Those between: of EPEL 10, Ubuntu 22.04 and 24.04, Debian 12 and 13.
SOAK_PYROUTE2 = ("0.6.4", "0.7.2", "0.7.7", "0.7.11", "0.7.12", "0.8.1")
#: Not part of `make test`, in which dr, nat and mixed (all three methods on one director) stand for them.
SOAK_SCENARIOS = (
    "dead_hosts",
    "dr_faults",
    "fwmark",
    "ipv6",
    "moves",
    "nat_one_armed",
    "nat_routed",
    "nat_rr",
    "nat_two_armed",
    "sctp",
    "tun",
    "two_directors",
    "two_pairs",
    "udp",
)


@dataclass(frozen=True)
class Part:
    """One command of the suite.

    :param name: What the part is called on the command line, in the log and in the summary.
    :param command: The argument list. ``{junit}`` becomes the path where the command is to write JUnit XML, which is
        then counted test by test. The same path is in the environment variable ``JUNIT_XML``.
    :param quick: Whether the part belongs to ``make check``.
    :param soak: Whether the part belongs to ``make soak`` instead of ``make test``.
    :param lab: Whether the part boots machines.
    :param reports: A glob of other JUnit files to count, relative to the repository's root.
    """

    name: str
    command: tuple[str, ...]
    quick: bool = False
    soak: bool = False
    lab: bool = False
    reports: str = ""

    @property
    def slug(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def junit(self) -> Path:
        return RESULTS / f"{self.slug}.xml"

    def expects_reports(self) -> bool:
        return bool(self.reports) or any("{junit}" in word for word in self.command)

    def report_files(self) -> list[Path]:
        files = sorted(ROOT.glob(self.reports)) if self.reports else []
        return [*files, self.junit] if self.junit.exists() else files


def pytest(*paths: str) -> tuple[str, ...]:
    return ("python", "-m", "pytest", "-q", "--junit-xml={junit}", *paths)


def integration_parts() -> list[Part]:
    command = "tests/integration/run"
    users = ("ipvs_policy_route", "ipvs_tunnel", "ipvs_vip")
    return [
        Part("integration", (command,), lab=True),
        Part("integration pyroute2", (command, *(f"--pyroute2={one}" for one in PYROUTE2), *users), lab=True),
        Part(
            "integration pyroute2 between",
            (command, *(f"--pyroute2={one}" for one in SOAK_PYROUTE2), *users),
            soak=True,
            lab=True,
        ),
        Part("mitogen", ("tests/integration/mitogen",), soak=True, lab=True),
    ]


def molecule_parts() -> list[Part]:
    scenarios = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return [
        Part(
            f"molecule {name}",
            ("molecule", "test", "-s", name),
            soak=name in SOAK_SCENARIOS,
            lab=True,
            reports=f"build/molecule/{name}/*.xml",
        )
        for name in scenarios
        if name != "default"  # it owns the lab and is part of every other
    ]


def all_parts() -> list[Part]:
    """The suite, in the order in which each lane runs: what answers soonest comes first."""
    return [
        Part("ruff check", ("ruff", "check", "."), quick=True),
        Part("ruff format", ("ruff", "format", "--check", "."), quick=True),
        Part("mypy", ("mypy",), quick=True),
        Part("licences", ("reuse", "lint"), quick=True),
        Part("unit", pytest("tests/unit", "-m", "not fuzz"), quick=True),
        Part("fuzz", pytest("tests/unit", "-m", "fuzz", "--hypothesis-profile=fuzz"), soak=True),
        Part("lab unit", pytest("tests/lab", "-m", "not lab"), quick=True),
        Part("ansible-lint", ("ansible-lint", "--offline", "--strict"), quick=True),
        Part("changelog", ("antsibull-changelog", "lint")),
        Part("docs", ("scripts/lint-docs.sh",)),
        Part("build", ("ansible-galaxy", "collection", "build", "--force", "--output-path", "build")),
        Part("sanity", ("scripts/sanity.py",), reports="build/sanity/**/tests/output/junit/*.xml"),
        Part("lab", pytest("tests/lab", "-m", "lab"), lab=True),
        *integration_parts(),
        Part("faults", pytest("tests/faults"), soak=True, lab=True),
        *molecule_parts(),
    ]


@dataclass
class Outcome:
    """What one part reported."""

    part: Part
    seconds: float = 0.0
    passed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def reason(element: ET.Element) -> str:
    """Why a test failed or was skipped: the message, which may be a set phrase, and what more is told."""
    return f"{element.get('message') or ''}\n{element.text or ''}".strip()


def count_report(path: Path, outcome: Outcome) -> None:
    """Add the test cases of one JUnit XML file to *outcome*."""
    for case in ET.parse(path).iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        skipped = case.find("skipped")
        failures = [*case.iter("failure"), *case.iter("error")]
        if failures:
            outcome.failed.append((name, "\n".join(map(reason, failures))[:REASON]))
        elif skipped is not None:
            outcome.skipped.append((name, reason(skipped)))
        else:
            outcome.passed += 1


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").rstrip().splitlines()
    return lines[-1][:100] if lines else ""


def run(part: Part) -> Outcome:
    """Run one part, showing a sign of life while it lasts, and count what it reports."""
    log = LOGS / f"{part.slug}.log"
    for stale in part.report_files():
        stale.unlink()
    command = [word.replace("{junit}", str(part.junit)) for word in part.command]
    environment = {**os.environ, "JUNIT_XML": str(part.junit), "PYTHONUNBUFFERED": "1"}
    outcome = Outcome(part)
    print(f"{part.name}: started", flush=True)
    start = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while True:
            try:
                status = process.wait(HEARTBEAT)
                break
            except subprocess.TimeoutExpired:
                print(f"{part.name}: {time.monotonic() - start:.0f} s: {last_line(log)}", flush=True)
    outcome.seconds = time.monotonic() - start

    reports = part.report_files()
    for report in reports:
        count_report(report, outcome)
    if status != 0 and not outcome.failed:
        outcome.failed.append((part.name, f"exit status {status}"))
    elif part.expects_reports() and not (outcome.passed or outcome.failed or outcome.skipped):
        outcome.failed.append((part.name, "reported no test at all"))
    elif not reports and status == 0:
        outcome.passed = 1

    lines = [f"{part.name}: ended after {outcome.seconds:.1f} s: {outcome.counts()}"]
    if outcome.failed:
        lines.append(f"{part.name}: the end of {log.relative_to(ROOT)}:")
        lines += [f"    | {line}" for line in log.read_text(errors="replace").splitlines()[-TAIL:]]
    print("\n".join(lines), flush=True)
    return outcome


def run_all(parts: list[Part]) -> list[Outcome]:
    """Run the two lanes at the same time. After an interrupt no other part is begun."""
    with ThreadPoolExecutor(1) as desk, ThreadPoolExecutor(1) as lab:
        futures = [(lab if part.lab else desk).submit(run, part) for part in parts]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def unexpected_skips(outcomes: list[Outcome]) -> list[str]:
    """The skips without a reason in tests/skips.yml."""
    allowed = yaml.safe_load((ROOT / "tests" / "skips.yml").read_text())["skips"]
    return [
        f"{outcome.part.name}: {name}: {message}"
        for outcome in outcomes
        for name, message in outcome.skipped
        if not any(
            entry["part"] == outcome.part.name and entry["reason"] and fnmatch.fnmatchcase(name, entry["test"])
            for entry in allowed
        )
    ]


def choose(parts: list[Part], names: list[str], quick: bool, soak: bool) -> list[Part]:
    unknown = set(names) - {part.name for part in parts}
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))} (--list names them)")
    if names:
        return [part for part in parts if part.name in names]
    return [part for part in parts if part.soak == soak and (part.quick or not quick)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the test suite, or the parts named.")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--quick", action="store_true", help="only what needs no machines and answers in minutes")
    parser.add_argument(
        "--soak", action="store_true", help="what takes too long to be run each time, instead of all else"
    )
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    arguments = parser.parse_args()
    parts = choose(all_parts(), arguments.parts, arguments.quick, arguments.soak)
    if arguments.list:
        print("\n".join(part.name for part in parts))
        return 0

    LOGS.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    outcomes = run_all(parts)
    seconds = time.monotonic() - start

    width = max(map(len, ("from start to end", *(part.name for part in parts))))
    print("\nTimes and counts")
    for outcome in outcomes:
        print(f"  {outcome.part.name:{width}}  {outcome.seconds:7.1f} s  {outcome.counts()}")
    print(f"  {'from start to end':{width}}  {seconds:7.1f} s")

    failed = [
        f"{outcome.part.name}: {name}\n{textwrap.indent(why, '    | ', lambda line: True)}"
        for outcome in outcomes
        for name, why in outcome.failed
    ]
    unexpected = unexpected_skips(outcomes)
    for title, names in (("Failed", failed), ("Skipped without a reason in tests/skips.yml", unexpected)):
        if names:
            print(f"\n{title}")
            print("\n".join(f"  {name}" for name in names))

    passed = sum(outcome.passed for outcome in outcomes)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"\n{passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
