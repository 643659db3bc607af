# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Tables of nftables that this collection owns whole: read as JSON, replaced in one transaction. Nothing here names any
other table, and nothing ever flushes a ruleset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from ._errors import Forbidden, IpvsError, Unavailable

#: Older ones do not take every expression that is used here.
MINIMUM = (1, 0, 0)
_VERSION = re.compile(r'\{"nftables": \[\{"metainfo": \{"version": "([^"]+)"')
_TABLE = re.compile(r"^table (\S+) (\S+)$", re.M)
_FIRST_ERROR = re.compile(r"Error: .*")


class Runner(Protocol):
    """The part of :class:`_module.Task` that runs commands."""

    def run(self, argv: list[str], data: Optional[str] = None) -> tuple[int, str, str]:
        """Run a command, ``data`` on its standard input -> (exit status, standard output, standard error)."""


class TableName(NamedTuple):
    """What names a table: ``family`` ip, ip6, inet, ... and ``name``."""

    family: str
    name: str

    def __str__(self) -> str:
        return f"table {self.family} {self.name}"


class ChainForm(NamedTuple):
    """What decides which packets pass through a base chain, and what becomes of those that no rule decides about.
    ``devices`` is what nft lists of them, ``None`` for every device.
    """

    name: Any
    kind: Any
    hook: Any
    priority: Any
    policy: Any = "accept"
    devices: Any = None


class LiveTable:
    """A table as ``nft -j list table`` lists it (libnftables-json(5)). Anybody may have put anything into it: an object
    of an unknown kind, or without a number, makes the table one that is not as it was made, and no more.
    """

    def __init__(self, objects: Sequence[dict[str, Any]]) -> None:
        known = [(kind, value) for entry in objects for kind, value in entry.items() if kind != "metainfo"]
        self.rules = [value for kind, value in known if kind == "rule"]
        self.sets = {str(value.get("name")): value for kind, value in known if kind in ("set", "map")}
        self.chains = [
            ChainForm(*(value.get(name) for name in ("name", "type", "hook", "prio", "policy", "dev")))
            for kind, value in known
            if kind == "chain"
        ]
        #: ``dormant`` takes the chains from their hooks. nft 1.0.6 prints another word for it, if not broken JSON.
        self.flagged = any("flags" in value for kind, value in known if kind == "table")
        self._handles = [value.get("handle") for kind, value in known if kind != "table"]

    @property
    def untouched(self) -> bool:
        """Whether the chains, sets and rules are those of the transaction that made the table. The kernel numbers the
        objects of a table from 1 and never gives a number twice (nf_tables_alloc_handle), so that whatever is added,
        deleted or replaced later leaves a gap. It says nothing of elements of sets, which have no number. What is added
        at the end leaves no gap: compare the count too.
        """
        return sorted(self._handles, key=repr) == sorted(range(1, len(self._handles) + 1), key=repr)

    @property
    def objects(self) -> int:
        """How many chains, sets and rules there are."""
        return len(self._handles)


def tables(runner: Runner) -> set[TableName]:
    """The names of all tables.

    :raises Unavailable: nft is missing, too old, or without JSON; the kernel has no nf_tables.
    :raises Forbidden: the process lacks CAP_NET_ADMIN.
    """
    version = _VERSION.match(_output(runner, ["-j", "list", "tables"]))
    if version is None:
        raise Unavailable("the output of nft is not JSON: this nft cannot be used")
    _check_version(version.group(1))
    # nft 1.0.6 prints broken JSON where any table has a flag: for its name it takes memory that it has freed
    return {TableName(*found) for found in _TABLE.findall(_output(runner, ["list", "tables"]))}


def read(runner: Runner, name: TableName) -> LiveTable:
    """The table, which must exist. Of one whose listing cannot be read nothing is known."""
    output = _output(runner, ["-j", "list", "table", name.family, name.name])
    try:
        listing = json.loads(output)["nftables"]
        readable = all(isinstance(value, dict) for entry in listing for value in entry.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        readable = False
    return LiveTable(listing if readable else [])


def replaced(name: TableName, body: str) -> str:
    """The commands that put the table in the place of what there is under its name, if anything, within one
    transaction; ``body`` is what stands between the braces, empty for no table at all.
    """
    commands = f"{name}\ndelete {name}\n"
    return commands + f"{name} {{\n{body}}}\n" if body else commands


def apply(runner: Runner, commands: Iterable[str]) -> None:
    """Carry out the commands as one transaction, all or nothing, after nft has checked them.

    :raises IpvsError: nft refused them; nothing has changed.
    """
    text = "".join(commands)
    for options in (["-c", "-f", "-"], ["-f", "-"]):
        status, dummy, error = runner.run(["nft", *options], text)
        if status:
            raise _failure("change the table", error)


def _output(runner: Runner, command: list[str]) -> str:
    status, output, error = runner.run(["nft", *command])
    if status:
        raise _failure(" ".join(word for word in command if word != "-j"), error)
    return output


def _failure(what: str, error: str) -> IpvsError:
    told = _FIRST_ERROR.search(error)
    reason = told.group(0) if told else error.strip() or "no reason given"
    if "Operation not permitted" in error:
        return Forbidden("nftables needs CAP_NET_ADMIN; run the task with become")
    if "JSON support" in error:
        return Unavailable("this nft is built without JSON support, which is needed to read the table")
    return IpvsError(f"nft could not {what}: {reason}")


def _check_version(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if numbers < MINIMUM:
        wanted = ".".join(str(part) for part in MINIMUM)
        raise Unavailable(f"nft {version} is too old: {wanted} or newer is needed")
