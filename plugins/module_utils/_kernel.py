# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What this host's kernel has: loaded and loadable modules."""

from __future__ import annotations

import os
from typing import Protocol

from ._errors import Unavailable

SYS_MODULE = "/sys/module"
PROC_IPVS = "/proc/net/ip_vs"
LIB_MODULES = "/lib/modules"


class Runner(Protocol):
    """The part of :class:`_module.Task` that loading a module needs."""

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run a command -> (exit status, standard output, standard error)."""


def ipvs_loaded() -> bool:
    """Whether IPVS is in the running kernel; asking does not load it, as asking netlink would."""
    return os.path.exists(PROC_IPVS)


def module_loaded(name: str) -> bool:
    """Whether the kernel has the module at work, loaded or built in."""
    if os.path.isdir(os.path.join(SYS_MODULE, name)):
        return True
    try:
        with open(os.path.join(LIB_MODULES, os.uname().release, "modules.builtin"), encoding="utf-8") as lines:
            return any(line.strip().endswith(f"/{name}.ko") for line in lines)
    except OSError:
        return False


def module_known(name: str) -> bool:
    """Whether the kernel has the module, loaded or not, as modprobe(8) finds it. True where that cannot be told."""
    if os.path.isdir(os.path.join(SYS_MODULE, name)):
        return True
    directory = os.path.join(LIB_MODULES, os.uname().release)
    endings = (f"/{name}.ko", f"/{name}.ko.xz", f"/{name}.ko.zst", f"/{name}.ko.gz")
    told = False
    for index in ("modules.dep", "modules.builtin"):
        try:
            with open(os.path.join(directory, index), encoding="utf-8") as lines:
                told = True
                if any(line.split(":", 1)[0].strip().endswith(endings) for line in lines):
                    return True
        except OSError:
            continue
    return not told


def load_ipvs(runner: Runner) -> None:
    """Load ip_vs. A kernel before 5.12 does not do so by itself when netlink asks for it.

    :raises Unavailable: it is not there, or may not be loaded.
    """
    status, _dummy, error = runner.run(["modprobe", "ip_vs"])
    if status:
        why = error.strip() or f"modprobe ended with {status}"
        raise Unavailable(
            f"the kernel module ip_vs is not loaded and cannot be loaded ({why}): install the kernel's modules, "
            "or load it on the host if this is a container"
        )
