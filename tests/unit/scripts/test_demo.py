# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo says PASS only where the playbook's report says who answered, however Ansible prints what it does. It has a
lab of its own for each checkout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[3] / "scripts" / "demo.sh"
LINE = "PASS -t 198.51.100.100:443 mh mh-port (by source port): 120 of 120 answered: 198.51.100.201:8443 120"
PLAYBOOK = """#!/bin/sh
for word; do
    case $word in
        ipvs_verify_report=*) [ ! -e report ] || cp report "${word#*=}" ;;
    esac
done
"""


def demo(checkout: Path, *words: str, report: object = None) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A run of the demo in a checkout with stubs for what it starts -> that, and the commands of the lab."""
    programs = {"tests/lab/lab": '#!/bin/sh\necho "$@" >>asked\n', "bin/ansible-playbook": PLAYBOOK}
    for name, program in programs.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(program)
        (checkout / name).chmod(0o755)
    (checkout / "scripts").mkdir(exist_ok=True)
    shutil.copy(DEMO, checkout / "scripts")
    if report is not None:
        (checkout / "report").write_text(json.dumps(report))
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    run = subprocess.run(
        [checkout / "scripts" / "demo.sh", *words],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return run, (checkout / "asked").read_text().splitlines()


@pytest.mark.parametrize(("report", "passed"), [([{"line": LINE, "passed": True}], True), ([], False), (None, False)])
def test_it_passes_only_with_a_distribution(tmp_path: Path, report: object, passed: bool) -> None:
    run, dummy = demo(tmp_path, report=report)
    assert (run.returncode == 0) is passed
    assert ("\nPASS\n" in run.stdout) is passed
    assert (f"  {LINE}\n" in run.stdout) is passed


def test_the_report_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    assert demo(tmp_path, report=[{"line": LINE}])[0].returncode == 0
    (tmp_path / "report").unlink()
    assert demo(tmp_path)[0].returncode != 0


def test_each_checkout_has_a_lab_of_its_own(tmp_path: Path) -> None:
    names = set()
    for checkout in (tmp_path / "one", tmp_path / "two"):
        checkout.mkdir()
        asked = demo(checkout, report=[{"line": LINE}])[1]
        [name] = {re.search(r" --name (\S+)", line)[1] for line in asked}  # type: ignore[index]
        assert re.fullmatch(r"demo-\d{1,10}", name)
        names.add(name)
        assert demo(checkout, "down")[1][-1] == f"down --name {name}"
        assert demo(checkout, "ssh", "director1", "ipvsadm")[1][-1] == f"ssh --name {name} director1 ipvsadm"
    assert len(names) == 2
