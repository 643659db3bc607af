# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_snat) does with the host, besides its tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import _nft_task, _snat, _values
from ._errors import Findings, IpvsError
from ._files import read
from ._module import ASSUME_PREPARED, Task
from ._snat import Flow
from ._values import show_address

FORGET: dict[str, Any] = {"forget_untranslated": {"type": "bool", "default": False}}
ARGUMENT_SPEC = {**_nft_task.argument_spec("flows"), **FORGET, **ASSUME_PREPARED}
CONNTRACK = "/proc/sys/net/ipv4/vs/conntrack"
CONNTRACK_KEY = "net.ipv4.vs.conntrack"
NEEDS_CONNTRACK = f"SNAT of IPVS traffic needs {CONNTRACK_KEY}=1"
PURPOSE = _nft_task.Purpose(_snat.TABLES, _snat.draft, _snat.read, _snat.lines)


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, a host that lacks something, or nft refused; nothing has changed then. What
        conntrack refuses comes after the tables, and tells whether they changed.
    """
    findings = Findings()
    flows = _nft_task.listed(task, "flows", _snat.parse_flows, findings)
    _values.refuse_with_absent(task.params, FORGET, findings)
    task.conclude(findings)
    if flows:
        findings = Findings()
        _check_conntrack(task, findings)
        _check_sources(task, flows, findings)
        task.conclude(findings)
    forget = task.params["forget_untranslated"]
    if forget:
        from . import _conntrack  # few runs need it

        _conntrack.check_installed(task)
    result = _nft_task.converge(task, PURPOSE, _snat.elements_by_family(flows))
    forgotten = 0
    if forget:
        try:
            forgotten = _conntrack.forget_untranslated(task, {flow.service for flow in flows})
        except IpvsError as error:
            error.details.update(changed=result["changed"])
            raise
    return {
        **result,
        "changed": result["changed"] or forgotten > 0,
        "forgotten": forgotten,
        "flows": [_snat.flow_params(flow) for flow in flows],
    }


def _check_conntrack(task: Task, findings: Findings) -> None:
    try:
        value = read(CONNTRACK).strip()
    except OSError:
        value = "missing: IPVS is not loaded"
    if (value == "0" or value.startswith("missing")) and CONNTRACK_KEY not in task.prepared:
        # in check mode the task that sets it has changed nothing either
        report = findings.warning if task.check_mode else findings.problem
        report(CONNTRACK_KEY, NEEDS_CONNTRACK, value)


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
