# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Other programs that hold the IPVS table of this host to a plan of their own."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
import socket
from collections.abc import Iterable, Iterator

from . import _module
from ._errors import IpvsError
from ._files import content, read
from ._module import Task

PROC = "/proc"
KUBE_PROXY = "kube-ipvs0"
#: What a keepalived reads that is not told otherwise.
KEEPALIVED = "/etc/keepalived/keepalived.conf"
#: Files that include each other end here.
DEPTH = 10
#: What is read of all keepalived processes together: bytes of files, and names looked at for the patterns in them. In a
#: container, both are another's choice.
MOST_BYTES = 1 << 26
MOST_NAMES = 100_000
#: include/linux/limits.h
PATH_MAX = 4096

#: Of /proc/PID/status: the real and the effective user.
_USERS = re.compile(r"^Uid:\t(\d+)\t(\d+)\t", re.M)
#: Of keepalived(8), as /proc shows arguments: -f, alone or behind flags, or --use-file; then the file.
_USE_FILE = re.compile(r"\0(?:-[BCDGILPRVXadlmnx]*f\0?|--use-file[=\0])([^\0]+)")
# of keepalived.conf(5), where a line may be meant for one host: @name
_LINE = r"^[ \t]*(?:@\S+[ \t]+)?"
_VIRTUAL_SERVER = re.compile(rf"{_LINE}virtual_server(_group)?\b", re.M)
_INCLUDE = re.compile(rf"{_LINE}include[rmwba]?[ \t]+(\S+)", re.M)
_IPVS_NAMESPACE = re.compile(rf"{_LINE}net_namespace_ipvs\b[ \t]*([^\s#!]*)", re.M)
#: What keepalived does not see of a line, for a text of C ends there.
_AFTER_NUL = re.compile("\0.*")
#: Alternatives, which glob(3) has and Python does not.
_BRACES = re.compile(r"\{.*\}")


class _TooMuch(Exception):
    """More than is read of keepalived's files."""


def owners() -> list[str]:
    """Who they are in this network namespace: kube-proxy by its device, which it has wherever it uses IPVS; a
    keepalived that runs and has virtual servers.
    """
    found = []
    # not from /sys, which shows the devices of the network namespace it was mounted in
    if any(name == KUBE_PROXY for dummy, name in socket.if_nameindex()):
        found.append(f"kube-proxy (device {KUBE_PROXY})")
    files: set[str] = set()
    reader = _Reader()
    for process in filter(_is_keepalived, glob.glob(os.path.join(PROC, "[0-9]*"))):
        try:
            texts = reader.configuration(process)
        except _TooMuch:
            return [*found, "keepalived (with more configuration than is read)"]
        if _is_here(_namespace(process, texts.values())):
            files.update(path for path, text in texts.items() if _VIRTUAL_SERVER.search(text))
    return found + [f"keepalived (virtual_server in {path})" for path in sorted(files)]


def _is_keepalived(process: str) -> bool:
    """Whether root runs that program. A name and arguments are what any user may give to a process."""
    try:
        program = os.readlink(os.path.join(process, "exe"))
    except OSError:  # a thread of the kernel, or gone
        return False
    if os.path.basename(program.removesuffix(" (deleted)")) != "keepalived":  # deleted by an update
        return False
    users = _USERS.search(content(os.path.join(process, "status")))
    return users is not None and users.groups() == ("0", "0")


class _Reader:
    """Reads configurations of keepalived, and no more of them than the limits say."""

    def __init__(self) -> None:
        self._bytes, self._names = MOST_BYTES, MOST_NAMES

    def configuration(self, process: str) -> dict[str, str]:
        """What a keepalived is told by: the file it was started with and those that it includes, with their texts.

        :raises _TooMuch: they go on beyond the limits.
        """
        root = os.path.join(process, "root")  # a container has files of its own
        told = _USE_FILE.findall(content(os.path.join(process, "cmdline"))) or [KEEPALIVED]
        patterns = {os.path.join(os.path.realpath(os.path.join(process, "cwd")), told[-1])}
        texts: dict[str, str] = {}
        for _depth in range(DEPTH):
            paths = {path[len(root) :] for pattern in patterns for path in self._matching(root, pattern)}
            found = {path: self._text(root + path) for path in paths - texts.keys()}
            texts.update(found)
            patterns = {
                os.path.join(os.path.dirname(path), _BRACES.sub("*", one))
                for path, text in found.items()
                for one in _INCLUDE.findall(text)
                if len(one) < PATH_MAX
            }
        return texts

    def _text(self, path: str) -> str:
        try:
            # a file without a size is empty, or made by the kernel while it is read, which may have an effect
            text = read(path, self._bytes, errors="replace") if os.stat(path).st_size else ""
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise _TooMuch from None
            return ""
        self._bytes -= len(text)
        return _AFTER_NUL.sub("", text)

    def _matching(self, root: str, pattern: str) -> list[str]:
        """What glob.glob finds, whose search has no limit."""
        places = [root]
        for part in filter(None, pattern.split("/")):
            if glob.has_magic(part):
                places = [os.path.join(place, name) for place in places for name in self._named(place, part)]
            else:
                places = [os.path.join(place, part) for place in places]
            self._count(len(places))
        return [place for place in places if os.path.lexists(place)]

    def _named(self, directory: str, part: str) -> Iterator[str]:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._count(1)
                    if fnmatch.fnmatchcase(entry.name, part) and (part[0] == "." or entry.name[0] != "."):
                        yield entry.name
        except OSError:  # none, or no directory
            return

    def _count(self, names: int) -> None:
        self._names -= names
        if self._names < 0:
            raise _TooMuch


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
