# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a real kernel: what node.py plays on a node."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.director import NODE, PLACE, ROOT, Lab

HERE = Path(__file__).resolve().parent
NAMES = re.findall(r"^def (test_\w+)", (HERE / "node.py").read_text(), re.M)


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
def node(lab: Lab) -> Lab:
    """The lab, node.py on its director."""
    lab.ssh(f"cat > {PLACE}.zip", data=payload())
    lab.ssh(f"python3 -m zipfile -e {PLACE}.zip {PLACE}")
    return lab


@pytest.mark.parametrize("name", NAMES)
def test_on_a_real_kernel(node: Lab, name: str, record_property: Callable[[str, object], None]) -> None:
    done = node.run("ssh", NODE, f"python3 {PLACE}/node.py {name}")
    told = done.stdout.decode()
    record_property("told", told)
    assert done.returncode == 0, told
