#!/usr/bin/env python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plants the faults of a list one by one in a scratch copy of the checkout and expects the named test to fail.

Each test is run without any fault first: it has to pass, or its failing later would prove nothing. The run fails when
a fault is not caught, when the text it replaces is not found exactly once, or when a test fails in another way than
expected.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from checkout import ROOT, copy_checkout

COPY = ROOT / "build" / "plant" / "checkout"
LINK = COPY / "build" / "collections" / "ansible_collections" / "l4lb" / "ipvs"
LOGS = ROOT / "build" / "plant" / "logs"


@dataclass(frozen=True)
class Fault:
    """One fault of the list.

    :param name: What the fault is, in words.
    :param file: The file to change, relative to the repository's root.
    :param old: The text to replace; it occurs in the file exactly once.
    :param new: What stands there instead.
    :param test: The argument list of the test that has to fail, run from the repository's root.
    :param status: The exit status of that failure; 1 is pytest's word for "tests ran and some failed".
    :param timeout: Seconds after which the test is stopped and the fault counts as not caught.
    """

    name: str
    file: str
    old: str
    new: str
    test: tuple[str, ...]
    status: int = 1
    timeout: float = 900.0


def load(path: Path) -> list[Fault]:
    entries = yaml.safe_load(path.read_text())["faults"]
    return [Fault(**{**entry, "test": tuple(entry["test"])}) for entry in entries]


def run(test: tuple[str, ...], timeout: float, log: Path) -> int | None:
    """The exit status of *test* in the copy; None if it had to be stopped."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("w") as output:
        try:
            return subprocess.run(
                test, cwd=COPY, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=timeout, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def plant(fault: Fault, log: Path) -> str:
    """Plant one fault, run its test, take the fault out again -> what went wrong; an empty string if it was caught."""
    path = COPY / fault.file
    text = path.read_text() if path.exists() else ""
    if text.count(fault.old) != 1:
        return f"its old text occurs {text.count(fault.old)} times in {fault.file}, not once"
    path.write_text(text.replace(fault.old, fault.new))
    try:
        status = run(fault.test, fault.timeout, log)
    finally:
        path.write_text(text)
    if status == fault.status:
        return ""
    if status is None:
        return f"the test gave no answer in {fault.timeout:.0f} s"
    return "the test passed" if status == 0 else f"the test ended with status {status}, not {fault.status}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Plant known faults; a named test must catch each.")
    parser.add_argument("--faults", type=Path, default=ROOT / "tests" / "plant" / "faults.yml", help="the list")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only faults whose name contains one of these words")
    arguments = parser.parse_args()
    faults = [
        fault
        for fault in load(arguments.faults)
        if not arguments.words or any(word in fault.name for word in arguments.words)
    ]

    copy_checkout(COPY)
    LINK.parent.mkdir(parents=True)
    LINK.symlink_to(COPY, target_is_directory=True)
    LOGS.mkdir(parents=True, exist_ok=True)

    unsound = {}
    for number, test in enumerate(dict.fromkeys(fault.test for fault in faults), 1):
        log = LOGS / f"clean-{number}.log"
        print(f"clean   {' '.join(test)}", flush=True)
        if run(test, max(fault.timeout for fault in faults if fault.test == test), log) != 0:
            unsound[test] = f"its test fails without any fault, see {log.relative_to(ROOT)}"

    escaped = 0
    for number, fault in enumerate(faults, 1):
        start = time.monotonic()
        log = LOGS / f"fault-{number}.log"
        problem = unsound.get(fault.test) or plant(fault, log)
        escaped += bool(problem)
        verdict = f"NOT CAUGHT: {problem}" if problem else "caught"
        print(f"{number:3}/{len(faults)} {fault.name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(faults) - escaped} of {len(faults)} faults caught")
    return 1 if escaped or not faults else 0


if __name__ == "__main__":
    sys.exit(main())
