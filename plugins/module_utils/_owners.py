# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Other programs that hold the IPVS table of this host to a plan of their own."""

from __future__ import annotations

import glob
import os
import re
import socket

from ._errors import IpvsError
from ._module import Task

PROC = "/proc"
KEEPALIVED = "/etc/keepalived"
KUBE_PROXY = "kube-ipvs0"

_VIRTUAL_SERVER = re.compile(r"^\s*virtual_server(_group)?\b", re.M)


def owners() -> list[str]:
    """Who they are: kube-proxy by its device, which it has wherever it uses IPVS; a keepalived that runs and has
    virtual servers.
    """
    found = []
    # not from /sys, which shows the devices of the network namespace it was mounted in
    if any(name == KUBE_PROXY for dummy, name in socket.if_nameindex()):
        found.append(f"kube-proxy (device {KUBE_PROXY})")
    if any(content(path).strip() == "keepalived" for path in glob.glob(os.path.join(PROC, "[0-9]*", "comm"))):
        files = sorted(glob.glob(os.path.join(KEEPALIVED, "**", "*.conf"), recursive=True))
        found += [f"keepalived (virtual_server in {path})" for path in files if _VIRTUAL_SERVER.search(content(path))]
    return found


def refuse_others() -> None:
    """:raises IpvsError: another program is at work, which would put back what a purge takes away, and the reverse."""
    found = _at_work()
    if found:
        raise IpvsError(f"a purge is refused: {found}")


def warn_of_others(task: Task) -> None:
    """Tell of another program at work, which may take back what the task changes."""
    found = _at_work()
    if found:
        task.warn(f"{found}, and may take back what this task changes")


def _at_work() -> str:
    found = owners()
    return f"{' and '.join(found)} is at work on the IPVS table of this host" if found else ""


def content(path: str) -> str:
    """The text of a file, "" where it cannot be read: processes end while they are looked at."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
