# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a real kernel: what node.py plays on a node."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAB = ROOT / "tests" / "lab" / "lab"
NODE = "director1"
REMOTE = "/var/tmp/l4lb-faults"
NAMES = re.findall(r"^def (test_\w+)", (HERE / "node.py").read_text(), re.M)


class Lab:
    """A lab of its own, or the one named by L4LB_FAULTS_LAB, which stays up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, word: str, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = [str(LAB), word, "--name", self.name, *words]
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def do(self, word: str, *words: str, data: bytes | None = None) -> str:
        done = self.run(word, *words, data=data)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()


def payload() -> bytes:
    """What the integration targets send to a node, and node.py."""
    path = ROOT / "tests" / "integration" / "action_plugins" / "cases.py"
    spec = importlib.util.spec_from_file_location("cases_action", path)
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    target = io.BytesIO(cases.payload())
    with zipfile.ZipFile(target, "a") as archive:
        archive.write(HERE / "node.py", "node.py")
    return target.getvalue()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    held = os.environ.get("L4LB_FAULTS_LAB")
    one = Lab(held or f"faults-{os.getpid()}")
    if not held:
        one.do("up", "--topology", "modules")
    try:
        yield one
    finally:
        if not held:
            one.do("down")


@pytest.fixture(scope="session")
def node(lab: Lab) -> Lab:
    """The lab, node.py on its director."""
    lab.do("ssh", NODE, f"cat > {REMOTE}.zip", data=payload())
    lab.do("ssh", NODE, f"rm -rf {REMOTE}; python3 -m zipfile -e {REMOTE}.zip {REMOTE}")
    return lab


@pytest.mark.parametrize("name", NAMES)
def test_on_a_real_kernel(node: Lab, name: str) -> None:
    done = node.run("ssh", NODE, f"python3 {REMOTE}/node.py {name}")
    print(done.stdout.decode())
    assert done.returncode == 0
