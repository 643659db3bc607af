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


class LiveTable:
    """A table as ``nft -j list table`` tells it (libnftables-json(5))."""

    def __init__(self, objects: Sequence[dict[str, Any]]) -> None:
        known = [(kind, value) for entry in objects for kind, value in entry.items() if kind != "metainfo"]
        self.rules = [value for kind, value in known if kind == "rule"]
        self.sets = {value["name"]: value for kind, value in known if kind in ("set", "map")}
        self._handles = [value["handle"] for kind, value in known if kind != "table"]

    @property
    def untouched(self) -> bool:
        """Whether the chains, sets and rules are those of the transaction that made the table. The kernel numbers the
        objects of a table from 1 and never gives a number twice (nf_tables_alloc_handle), so that whatever is added,
        deleted or replaced later leaves a gap. It says nothing of elements of sets, which have no number. What is added
        at the end leaves no gap: compare the count too.
        """
        return sorted(self._handles) == list(range(1, len(self._handles) + 1))

    @property
    def objects(self) -> int:
        """How many chains, sets and rules there are."""
        return len(self._handles)


def tables(runner: Runner) -> set[TableName]:
    """The names of all tables.

    :raises Unavailable: nft is missing, too old, or without JSON; the kernel has no nf_tables.
    :raises Forbidden: the process lacks CAP_NET_ADMIN.
    """
    listing = _json(runner, ["list", "tables"])
    for entry in listing:
        if "metainfo" in entry:
            _check_version(str(entry["metainfo"]["version"]))
    found = (entry["table"] for entry in listing if "table" in entry)
    return {TableName(table["family"], table["name"]) for table in found}


def read(runner: Runner, name: TableName) -> LiveTable:
    """The table, which must exist."""
    return LiveTable(_json(runner, ["list", "table", name.family, name.name]))


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


def _json(runner: Runner, command: list[str]) -> list[dict[str, Any]]:
    status, output, error = runner.run(["nft", "-j", *command])
    if status:
        raise _failure(" ".join(command), error)
    try:
        return list(json.loads(output)["nftables"])
    except (ValueError, KeyError):
        raise Unavailable("the output of nft is not JSON: this nft cannot be used") from None


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
