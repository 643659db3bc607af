# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles work out from the hosts of a batch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("role", ["director", "backend"])
def test_a_host_that_did_not_run_the_role_counts_as_not_present(tmp_path: Path, role: str) -> None:
    """The first host of the batch is not of the role's group, or has left the role to a later play."""
    fact, found = f"__ipvs_{role}_is_present", f"__ipvs_{role}_any_present"

    def tasks(present: bool) -> list[dict[str, object]]:
        return [
            {"ansible.builtin.set_fact": {fact: present}, "when": "inventory_hostname == 'second'"},
            {"ansible.builtin.assert": {"that": f"{found} is {str(present).lower()}"}, "run_once": True},
        ]

    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROOT / "roles" / f"ipvs_{role}" / "vars" / "main.yml")],
        "tasks": [*tasks(True), *tasks(False)],
    }
    (tmp_path / "play.json").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "first,second", "play.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ["director", "backend"])
def test_no_result_hides_a_variable_of_the_role(role: str) -> None:
    """A registered name stays for the rest of the run, and wins over the role's variable in a second one."""
    home = ROOT / "roles" / f"ipvs_{role}"
    variables = {*yaml.safe_load((home / "vars" / "main.yml").read_text())}
    tasks = "".join(path.read_text() for path in (home / "tasks").glob("*.yml"))
    assert variables & {*re.findall(r"^ +register: (\w+)$", tasks, re.MULTILINE)} == set()
