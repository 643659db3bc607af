# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix: every supported ansible-core on the controller, every supported Python on the nodes.

Interpreters that are not installed are left out, and nox says which.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["core", "target"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

CORES = {
    "2.18": ("3.11", "3.12", "3.13"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13"),
    "2.21": ("3.12", "3.13"),
}
TARGETS = ("3.9", "3.10", "3.11", "3.12", "3.13")
TOOLS = ("pytest", "hypothesis", "pyroute2>=0.9.7", "PyYAML")


@nox.session
@nox.parametrize(
    "python,core",
    [nox.param(python, core, tags=[f"core-{core}"]) for core, pythons in CORES.items() for python in pythons],
)
def core(session: nox.Session, core: str) -> None:
    """All unit tests under one ansible-core."""
    session.install(f"ansible-core~={core}.0", *TOOLS)
    session.run("python", "-m", "pytest", "-q", "tests/unit", *session.posargs)


@nox.session(python=TARGETS, tags=["target"])
def target(session: nox.Session) -> None:
    """What runs on a node, under one Python: with the part of ansible-core that travels there, and no other."""
    session.install(*TOOLS)
    carrier = Path(session.create_tmp()).resolve() / "carrier"
    shutil.rmtree(carrier, ignore_errors=True)
    (carrier / "ansible").mkdir(parents=True)
    (carrier / "ansible" / "__init__.py").touch()
    (carrier / "ansible" / "module_utils").symlink_to(module_utils(session))
    session.run(
        *("python", "-m", "pytest", "-q", "tests/unit/plugins/module_utils", "tests/unit/plugins/modules"),
        *session.posargs,
        env={"PYTHONPATH": str(carrier)},
    )


@nox.session
@nox.parametrize("python,core", [(pythons[-1], core) for core, pythons in CORES.items()])
def sanity(session: nox.Session, core: str) -> None:
    """ansible-test sanity of one ansible-core."""
    session.install(f"ansible-core~={core}.0")
    session.run("python", "scripts/sanity.py", *session.posargs)


def module_utils(session: nox.Session) -> Path:
    """The ansible.module_utils of the development environment."""
    code = "import ansible.module_utils as m; print(*m.__path__)"
    found = session.run(".venv/bin/python", "-c", code, external=True, silent=True)
    return Path(str(found).strip())
