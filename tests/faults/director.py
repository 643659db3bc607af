# SPDX-License-Identifier: GPL-3.0-or-later
"""The director of a lab, as the tests on a real kernel reach it: by ssh and by Ansible."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
NODE = "director1"
PLACE = "/var/tmp/l4lb-faults"
#: A Python that leaves a line for each time it is started.
COUNTING = f"{PLACE}/counting-python"
STARTS = f"{PLACE}/starts"
PATIENCE = 300  # seconds for one command or playbook: what hangs is a failure too


class Lab:
    """A lab of its own, or the one named by L4LB_FAULTS_LAB, which stays up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, word: str, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = [str(LAB), word, "--name", self.name, *words]
        return subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False
        )

    def do(self, word: str, *words: str, data: bytes | None = None) -> str:
        done = self.run(word, *words, data=data)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    def ssh(self, command: str, data: bytes | None = None) -> str:
        return self.do("ssh", NODE, command, data=data)


@dataclass(frozen=True)
class Play:
    """What a playbook came to. ``starts`` is how often Ansible started the counting Python: once for each module."""

    status: int
    output: str
    seconds: float
    starts: int

    @property
    def changed(self) -> bool:
        return "changed=0 " not in self.output.rpartition("PLAY RECAP")[2]


class Director:
    """The node as a host of an inventory, and playbooks on it."""

    def __init__(self, lab: Lab, place: Path) -> None:
        self.lab = lab
        self._place = place
        lab.do("inventory", "--output", str(place / "lab.yml"))
        self._inventory: dict[str, Any] = yaml.safe_load((place / "lab.yml").read_text())
        script = f'#!/bin/sh\necho >> {STARTS}\nexec /usr/bin/python3 "$@"\n'
        lab.ssh(f"mkdir -p {PLACE}; cat > {COUNTING}; chmod +x {COUNTING}", data=script.encode())

    def play(self, *arguments: Any, **options: Any) -> Play:
        """Run a playbook, as :meth:`started` takes it, until it ends."""
        self.lab.ssh(f": > {STARTS}")
        begin = time.monotonic()
        with self.started(*arguments, **options) as process:
            try:
                output = process.communicate(timeout=PATIENCE)[0]
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        took = time.monotonic() - begin
        return Play(process.returncode, output, took, int(self.lab.ssh(f"wc -l < {STARTS}")))

    def started(
        self,
        playbook: str | Sequence[dict[str, Any]],
        variables: str = "{}",
        interpreter: str | None = COUNTING,
        groups: dict[str, dict[str, Any]] | None = None,
        check: bool = False,
    ) -> subprocess.Popen[str]:
        """A run of a playbook, given by its name or as its content, in a session of its own. ``variables`` are YAML;
        ``groups`` maps the names of more groups to their hosts with their variables; without ``interpreter`` Ansible
        looks for one; ``check`` is for check mode.
        """
        inventory = copy.deepcopy(self._inventory)
        host = inventory["all"]["hosts"][NODE]
        del host["ansible_python_interpreter"]
        if interpreter:
            host["ansible_python_interpreter"] = interpreter
        inventory["all"]["children"].update({name: {"hosts": hosts} for name, hosts in (groups or {}).items()})
        if not isinstance(playbook, str):
            (self._place / "playbook.yml").write_text(json.dumps(playbook))
            playbook = str(self._place / "playbook.yml")
        (self._place / "inventory.yml").write_text(json.dumps(inventory))
        (self._place / "variables.yml").write_text(variables)
        return subprocess.Popen(
            ["ansible-playbook", "-i", "inventory.yml", "-e", "@variables.yml", *(["--check"] * check), playbook],
            cwd=self._place,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def table(self) -> list[str]:
        """What ``ipvsadm -Sn`` prints."""
        return self.lab.ssh("ipvsadm -Sn").splitlines()
