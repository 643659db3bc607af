# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the modules that keep tables of their own in nftables do with the host: read the tables, compare, replace those
that differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, TypeVar

from . import _draft, _kernel, _nft, _values
from ._draft import Draft, Elements, Reading
from ._errors import Findings, IpvsError
from ._module import Task
from ._nft import LiveTable, TableName

#: Stands in a diff for what of a table is not known to be ours.
CHANGED = "changed by another hand"

PURGE: dict[str, Any] = {"purge": {"type": "str", "choices": ["none", "owned", "only"], "default": "none"}}

T = TypeVar("T")


def overlaid(live: Elements, wanted: Elements) -> Elements:
    """The wanted elements, and those of the live ones that have another key."""
    return {**live, **wanted}


def common(live: Elements, wanted: Elements) -> Elements:
    """The live elements whose key is wanted."""
    return {key: value for key, value in live.items() if key in wanted}


class Purpose(NamedTuple):
    """What a module keeps tables for: their names by family, how elements become a table and are read from one, how
    they are shown, and what those that are there already and those that are wanted come to together and have in common.
    """

    tables: Mapping[int, TableName]
    draft: Callable[[int, Elements], Draft]
    read: Callable[[int, LiveTable], Reading]
    lines: Callable[[Elements], list[str]]
    merge: Callable[[Elements, Elements], Elements] = overlaid
    common: Callable[[Elements, Elements], Elements] = common

    def live(self, family: int, table: LiveTable) -> Reading:
        """The elements of a live table; none if it is not, but for elements, as the module made it."""
        return self.read(family, table) if _draft.is_own(table) else Reading({}, complete=False)

    def is_as_drafted(self, family: int, table: LiveTable, wanted: Draft) -> bool:
        """Whether the live table is what the draft would make."""
        return _draft.has_form(table, wanted) and self.read(family, table) == Reading(wanted.elements, complete=True)


def argument_spec(option: str) -> dict[str, Any]:
    """The options that every such module has. ``option`` is the name of its list."""
    return {
        option: {"type": "list", "elements": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        **PURGE,
    }


def listed(task: Task, option: str, parse: Callable[[object, str, Findings], list[T]], findings: Findings) -> list[T]:
    """What the list of the task holds; it is required with state present, and means nothing with absent."""
    given = task.params[option]
    _values.refuse_with_absent(task.params, PURGE, findings)
    if task.params["state"] == "absent":
        if given is not None:
            findings.problem(option, "means nothing with state absent, which removes every one")
        return []
    if given is None:
        findings.problem(option, "is required with state present")
        return []
    return parse(given, option, findings)


def converge(task: Task, purpose: Purpose, wanted: Mapping[int, Elements]) -> dict[str, Any]:
    """Make the tables hold the elements wanted of each family -> ``changed``, ``diff``, ``replaced``, the names of the
    tables that were not so, and ``unlisted``, how many other elements there were.

    :raises IpvsError: a host that lacks something, or nft refused; nothing has changed then.
    """
    live = _read(task, purpose)
    there = {family: purpose.live(family, live[family]).elements if family in live else {} for family in wanted}
    kept = {family: purpose.merge(there[family], content) for family, content in wanted.items()}
    if task.params["state"] == "absent" or task.params["purge"] == "owned":
        elements = wanted
    elif task.params["purge"] == "only":
        elements = {family: purpose.common(there[family], content) for family, content in wanted.items()}
    else:
        elements = kept
    drafts = {family: purpose.draft(family, content) for family, content in elements.items()}
    replaced: dict[TableName, str] = {}
    before: list[str] = []
    after: list[str] = []
    for family, name in purpose.tables.items():
        draft = drafts[family]
        lines, same = _compare(purpose, family, live[family], draft) if family in live else ([], not draft.elements)
        before += [f"{name}: {line}" for line in lines]
        after += [f"{name}: {line}" for line in purpose.lines(draft.elements)]
        if not same:
            replaced[name] = _nft.replaced(name, draft.body)
    if replaced and not task.check_mode:
        _nft.apply(task, list(replaced.values()))
        _read_back(task, purpose, drafts)
    return {
        "changed": bool(replaced),
        "diff": {"before": _text(before), "after": _text(after)},
        "replaced": [" ".join(name) for name in replaced],
        "unlisted": sum(len(kept[family].keys() - wanted[family].keys()) for family in kept),
    }


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _read(task: Task, purpose: Purpose) -> dict[int, LiveTable]:
    """The tables that are there, by family. Asking nft would load nf_tables, which check mode must not."""
    if task.check_mode and not _kernel.module_loaded("nf_tables"):
        return {}
    present = _nft.tables(task)
    return {family: _nft.read(task, name) for family, name in purpose.tables.items() if name in present}


def _compare(purpose: Purpose, family: int, table: LiveTable, draft: Draft) -> tuple[list[str], bool]:
    """The lines of the live table, and whether it is what the draft would make."""
    if draft.elements and purpose.is_as_drafted(family, table, draft):
        return purpose.lines(draft.elements), True
    elements, complete = purpose.live(family, table)
    unexplained = not complete or (elements == draft.elements and draft.elements)
    return [*purpose.lines(elements), *([CHANGED] if unexplained else [])], False


def _read_back(task: Task, purpose: Purpose, drafts: Mapping[int, Draft]) -> None:
    """Hold what the kernel now has against the drafts.

    :raises IpvsError: a table differs.
    """
    live = _read(task, purpose)
    for family, name in purpose.tables.items():
        draft = drafts[family]
        same = purpose.is_as_drafted(family, live[family], draft) if family in live else not draft.elements
        if not same or (family in live) != bool(draft.elements):
            raise IpvsError(f"nft accepted {name}, but the kernel does not hold it as written", changed=True)
