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
from collections.abc import Iterable

from . import _module
from ._errors import IpvsError
from ._module import Task

PROC = "/proc"
KUBE_PROXY = "kube-ipvs0"
#: What a keepalived reads that is not told otherwise.
KEEPALIVED = "/etc/keepalived/keepalived.conf"
#: Files that include each other end here.
DEPTH = 10

#: Of keepalived(8), as /proc shows arguments: -f, alone or behind flags, or --use-file; then the file.
_USE_FILE = re.compile(r"\0(?:-[BCDGILPRVXadlmnx]*f\0?|--use-file[=\0])([^\0]+)")
# of keepalived.conf(5), where a line may be meant for one host: @name
_LINE = r"^[ \t]*(?:@\S+[ \t]+)?"
_VIRTUAL_SERVER = re.compile(rf"{_LINE}virtual_server(_group)?\b", re.M)
_INCLUDE = re.compile(rf"{_LINE}include[rmwba]?[ \t]+(\S+)", re.M)
_IPVS_NAMESPACE = re.compile(rf"{_LINE}net_namespace_ipvs\b[ \t]*([^\s#!]*)", re.M)
#: Alternatives, which glob(3) has and Python does not.
_BRACES = re.compile(r"\{.*\}")


def owners() -> list[str]:
    """Who they are in this network namespace: kube-proxy by its device, which it has wherever it uses IPVS; a
    keepalived that runs and has virtual servers.
    """
    found = []
    # not from /sys, which shows the devices of the network namespace it was mounted in
    if any(name == KUBE_PROXY for dummy, name in socket.if_nameindex()):
        found.append(f"kube-proxy (device {KUBE_PROXY})")
    files: set[str] = set()
    for process in glob.glob(os.path.join(PROC, "[0-9]*")):
        if content(os.path.join(process, "comm")).strip() == "keepalived":
            texts = _configuration(process)
            if _is_here(_namespace(process, texts.values())):
                files.update(path for path, text in texts.items() if _VIRTUAL_SERVER.search(text))
    return found + [f"keepalived (virtual_server in {path})" for path in sorted(files)]


def _configuration(process: str) -> dict[str, str]:
    """What a keepalived is told by: the file it was started with and those that it includes, with their texts."""
    root = os.path.join(process, "root")  # a container has files of its own
    told = _USE_FILE.findall(content(os.path.join(process, "cmdline"))) or [KEEPALIVED]
    patterns = {os.path.join(os.path.realpath(os.path.join(process, "cwd")), told[-1])}
    texts: dict[str, str] = {}
    for _depth in range(DEPTH):
        found = {path[len(root) :]: content(path) for pattern in patterns for path in glob.glob(root + pattern)}
        texts.update(found)
        patterns = {
            os.path.join(os.path.dirname(path), _BRACES.sub("*", one))
            for path, text in found.items()
            for one in _INCLUDE.findall(text)
        }
    return texts


def _namespace(process: str, texts: Iterable[str]) -> str:
    """The network namespace whose IPVS table a keepalived writes: its own, unless its configuration names another."""
    for text in texts:
        for name in _IPVS_NAMESPACE.findall(text):
            return os.path.join(_module.NETNS_DIR, name) if name else os.path.join(PROC, "1", "ns", "net")
    return os.path.join(process, "ns", "net")


def _is_here(namespace: str) -> bool:
    """Whether this process is in the network namespace; True where that cannot be told."""
    try:
        return os.path.samefile(namespace, os.path.join(PROC, "self", "ns", "net"))
    except OSError:
        return True


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
