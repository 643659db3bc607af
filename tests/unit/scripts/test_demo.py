# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo says PASS only where it has shown who answered."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[3] / "scripts" / "demo.sh"
SHOWN = """TASK [Show who answered] *******
ok: [director1] => {
    "msg": [
        "PASS -t 198.51.100.100:443 mh mh-port (by source port): 120 of 120 answered: 198.51.100.201:8443 120"
    ]
}

"""


@pytest.mark.parametrize(
    ("log", "passed"), [(SHOWN, True), ("TASK [Ask the services] ***\nok: [director1]\n\n", False)]
)
def test_it_passes_only_with_a_distribution(tmp_path: Path, log: str, passed: bool) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(DEMO, tmp_path / "scripts")
    commands = {"tests/lab/lab": "", "bin/ansible-playbook": 'case "$*" in *verify*) cat log ;; esac'}
    for name, command in commands.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)
    (tmp_path / "log").write_text(log)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    run = subprocess.run(
        [tmp_path / "scripts" / "demo.sh"],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (run.returncode == 0) is passed
    assert ("\nPASS\n" in run.stdout) is passed
    assert ("198.51.100.201:8443 120" in run.stdout) is passed
