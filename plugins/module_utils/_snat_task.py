# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_snat) does with the host: read our tables, compare, replace those that differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import _kernel, _nft, _snat
from ._errors import Findings, IpvsError
from ._module import Task
from ._nft import LiveTable
from ._snat import Draft, Flow
from ._values import show_address

CONNTRACK = "/proc/sys/net/ipv4/vs/conntrack"
NEEDS_CONNTRACK = "SNAT of IPVS traffic needs net.ipv4.vs.conntrack=1"
#: Stands in a diff for a table whose content is not known to be ours.
CHANGED = "changed by another hand"


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, a host that lacks something, or nft refused; nothing has changed then.
    """
    findings = Findings()
    flows = _parse(task, findings)
    task.conclude(findings)
    if flows:
        findings = Findings()
        _check_conntrack(task, findings)
        _check_sources(task, flows, findings)
        task.conclude(findings)
    live = _read(task)
    elements = _snat.elements_by_family(flows)
    held = {family: _snat.live_elements(table) or {} for family, table in live.items()}
    unlisted = sum(len(held[family].keys() - elements[family].keys()) for family in held)
    if task.params["state"] == "present" and task.params["purge"] == "none":
        for family, found in held.items():
            elements[family] = {**found, **elements[family]}
    wanted = {family: _snat.draft(family, content) for family, content in elements.items()}
    commands: list[str] = []
    before: list[str] = []
    after: list[str] = []
    for family, name in _snat.TABLES.items():
        draft = wanted[family]
        lines, same = _compare(live[family], draft) if family in live else ([], not draft.elements)
        before += [f"{name}: {line}" for line in lines]
        after += [f"{name}: {line}" for line in _snat.lines(draft.elements)]
        if not same:
            commands.append(_nft.replaced(name, draft.body))
    if commands and not task.check_mode:
        _nft.apply(task, commands)
        _read_back(task, wanted)
    return {
        "changed": bool(commands),
        "diff": {"before": _text(before), "after": _text(after)},
        "flows": [_snat.flow_params(flow) for flow in flows],
        "unlisted": unlisted,
    }


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _parse(task: Task, findings: Findings) -> list[Flow]:
    given = task.params["flows"]
    if task.params["state"] == "absent":
        if given is not None:
            findings.problem("flows", "means nothing with state absent, which removes every one")
        return []
    if given is None:
        findings.problem("flows", "is required with state present")
        return []
    return _snat.parse_flows(given, "flows", findings)


def _read(task: Task) -> dict[int, LiveTable]:
    """Our tables that are there, by family. Asking nft would load nf_tables, which check mode must not."""
    if task.check_mode and not _kernel.module_loaded("nf_tables"):
        return {}
    present = _nft.tables(task)
    return {family: _nft.read(task, name) for family, name in _snat.TABLES.items() if name in present}


def _compare(table: LiveTable, draft: Draft) -> tuple[list[str], bool]:
    """The lines of the live table, and whether it is what the draft would make."""
    elements = _snat.live_elements(table)
    if draft.elements and _snat.is_as_drafted(table, draft):
        return _snat.lines(draft.elements), True
    if elements is None or (elements == draft.elements and draft.elements):
        return [CHANGED], False
    return _snat.lines(elements), False


def _check_conntrack(task: Task, findings: Findings) -> None:
    try:
        with open(CONNTRACK, encoding="ascii") as file:
            value = file.read().strip()
    except OSError:
        value = "missing: IPVS is not loaded"
    if value == "0" or value.startswith("missing"):
        # in check mode the task that sets it has changed nothing either
        report = findings.warning if task.check_mode else findings.problem
        report("net.ipv4.vs.conntrack", NEEDS_CONNTRACK, value)


def _check_sources(task: Task, flows: Sequence[Flow], findings: Findings) -> None:
    """Refuse a source that replies would not come back to. The service's own address is one that a director may
    get later, with its VIP.
    """
    local: dict[bytes, bool] = {}
    for i, flow in enumerate(flows):
        if not flow.source or flow.source == flow.service.address:
            continue
        if flow.source not in local:
            local[flow.source] = _is_local(task, flow.source)
        if not local[flow.source]:
            findings.problem(f"flows[{i}].source", "is not an address of this host", show_address(flow.source))


def _is_local(task: Task, address: bytes) -> bool:
    status, output, dummy = task.run(["ip", "-j", "route", "get", show_address(address)])
    return not status and any(route.get("type") == "local" for route in json.loads(output))


def _read_back(task: Task, wanted: dict[int, Draft]) -> None:
    """Hold what the kernel now has against the drafts.

    :raises IpvsError: a table differs.
    """
    live = _read(task)
    for family, name in _snat.TABLES.items():
        draft = wanted[family]
        same = _snat.is_as_drafted(live[family], draft) if family in live else not draft.elements
        if not same or (family in live) != bool(draft.elements):
            raise IpvsError(f"nft accepted {name}, but the kernel does not hold it as written", changed=True)
