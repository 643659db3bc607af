# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What a boot makes of kernel parameters: the files of sysctl.d(5), read as systemd-sysctl does.

A key has two forms: the path below ``/proc/sys`` (``net/ipv4/conf/eth0.100/rp_filter``), by which everything here is
keyed, and the name that sysctl.d(5) and users write (``net.ipv4.conf.eth0/100.rp_filter``).
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from typing import Optional

from ._errors import IpvsError
from ._files import NotRegular, read

#: What a boot writes: path or glob -> (value, file it comes from). No value: a "-key" line, which keeps globs off it.
BootOptions = dict[str, tuple[Optional[str], str]]

#: In falling precedence (sysctl.d(5)): a file masks those of the same name in the directories after its own.
SYSCTL_DIRS = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d")

_SEPARATORS = str.maketrans("./", "/.")

#: Two names of one variable of the kernel (devinet.c, nf_conntrack_standalone.c).
_ALIASES = (
    ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"),
    ("net/netfilter/nf_conntrack_max", "net/nf_conntrack_max"),
)


def proc_path(written: str) -> str:
    """A key as written -> its path. If its first separator is a dot, dots and slashes change places (sysctl.d(5))."""
    first = re.search(r"[./]", written)
    path = written.translate(_SEPARATORS) if first and first.group() == "." else written
    return "/".join(part for part in path.split("/") if part)


def dotted(path: str) -> str:
    """A path -> the name users write; the dots of an interface become slashes."""
    return path.translate(_SEPARATORS)


def aliases(path: str) -> tuple[str, ...]:
    """All names of the variable that has this path, the one that stands for it first."""
    return next((names for names in _ALIASES if path in names), (path,))


def assignment(line: str) -> Optional[tuple[str, Optional[str]]]:
    """A line of sysctl.d(5) -> (path or glob, value), read as systemd-sysctl does; ``None`` if it says nothing.

    The value is ``None`` in a line "-key" that takes the key out of all globs.
    """
    stripped = line.strip()
    if not stripped or stripped[0] in "#;":
        return None
    key, equals, value = stripped.partition("=")
    if not equals and not key.startswith("-"):
        return None
    return proc_path(key[key.startswith("-") :].strip()), value.strip() if equals else None


def content(root: str, path: str) -> Optional[str]:
    """What the file ``path`` below ``root`` holds; ``None`` if there is none: a link to /dev/null masks others.

    :raises IpvsError: it cannot be read.
    """
    try:
        return read(os.path.join(root, path), errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError, NotRegular):
        return None
    except OSError as error:
        raise IpvsError(f"/{path}: cannot be read: {error.strerror}") from None


def dropins(root: str) -> dict[str, str]:
    """Path -> content of each file that is not masked by one of a directory before its own."""
    chosen: dict[str, str] = {}
    for directory in SYSCTL_DIRS:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(os.path.join(root, directory)):
                if name.endswith(".conf") and not name.startswith("."):
                    chosen.setdefault(name, f"{directory}/{name}")
    contents = {path: content(root, path) for path in chosen.values()}
    return {path: held for path, held in contents.items() if held is not None}


def in_order(contents: Mapping[str, str]) -> list[tuple[str, str]]:
    """Files (path, content) in the order in which they are read: that of their names, whatever their directory."""
    return sorted(contents.items(), key=lambda item: os.path.basename(item[0]))


def boot_options(files: Iterable[tuple[str, str]]) -> BootOptions:
    """Files (path, content) in the order they are read -> what systemd-sysctl(8) will write, in its order.

    A key assigned again moves to the end, unless the value is the same (systemd, sysctl.c, parse_file).
    """
    options: BootOptions = {}
    for source, content in files:
        for path, value in filter(None, map(assignment, content.splitlines())):
            if path in options and options[path][0] == value:
                continue
            options.pop(path, None)
            options[path] = (value, source)
    return options


def boot_value(options: BootOptions, path: str) -> Optional[tuple[Optional[str], str]]:
    """The value that a boot gives a key, and its file; ``None`` if nothing sets it, no value for a "-key" line.

    A glob leaves out every key that has an assignment of its own, wherever that stands (sysctl.d(5)).
    """
    last: Optional[tuple[Optional[str], str]] = None
    for key, option in options.items():
        for name in aliases(path):
            if (key == name or (name not in options and _glob(key, name))) and (option[0] is not None or last is None):
                last = option
    return last


def _glob(pattern: str, path: str) -> bool:
    """As glob(7): a wildcard does not match a slash."""
    patterns, parts = pattern.split("/"), path.split("/")
    return len(patterns) == len(parts) and all(map(fnmatch.fnmatchcase, parts, patterns))
