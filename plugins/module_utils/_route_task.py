# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_policy_route) does with the host: read, plan, write."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, Callable, Optional

from . import _networkd, _route
from ._errors import Findings, IpvsError, KernelRefused
from ._files import read
from ._management import management_client, management_connection, packed_end
from ._module import Task
from ._route import Flow, Live, Plan, Request, Step, line, policy_params
from ._rtnl_route import RouteKernel, Rule

CONF = "/proc/sys/net/ipv4/conf"
#: What the kernel says of a rule and of a route that is not there.
GONE = (errno.ENOENT, errno.ESRCH)

# what the tests put a fake in the place of
open_kernel: Callable[[], Any] = RouteKernel


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, or a step that the kernel refused; nothing is removed after a failure.
    """
    findings = Findings()
    request = _route.parse_request(task.params, findings)
    task.conclude(findings)
    with open_kernel() as kernel:
        findings = Findings()
        plan = _route.make_plan(request, read_live(kernel, request, task.params["netns"]), findings)
        task.conclude(findings)
        result: dict[str, Any] = {
            "changed": bool(plan.steps),
            "diff": {"before": _text(plan.before), "after": _text(plan.after)},
            "policies": [policy_params(policy) for policy in request.policies],
            "kept": [line(subject) for subject in plan.kept],
            "operations": [str(step) for step in plan.steps],
        }
        if not task.check_mode:
            carry_out(plan, kernel)
    return result


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in lines)


def read_live(kernel: Any, request: Request, netns: object) -> Live:
    """What the host has that bears on rules and routes."""
    links = kernel.links()
    return Live(
        links=links,
        rules=kernel.rules(),
        routes=kernel.routes(),
        held=frozenset(address.address for address in kernel.addresses()),
        hops={
            (via, device): kernel.hop(via, device)
            for via, device in _route.gateways(request)
            if not device or device in links
        },
        strict=frozenset(name for name in links if max(_rp_filter("all"), _rp_filter(name)) == 1),
        # a connection belongs to the namespace it came in by
        management=None if netns else management_flow(),
        removers=() if netns else tuple(_networkd.options_to_switch_off()),
    )


def _rp_filter(interface: str) -> int:
    try:
        return int(read(os.path.join(CONF, interface, "rp_filter")))
    except OSError:
        return 0


def management_flow() -> Optional[Flow]:
    """The packets to the client that the task came from."""
    host, client = management_connection(), management_client()
    if host is None or client is None:
        return None
    source, destination = (packed_end(end["address"]) for end in (host, client))
    return Flow(source, host["port"], destination, client["port"])


def carry_out(plan: Plan, kernel: Any) -> None:
    """Take the steps of the plan.

    :raises IpvsError: see :func:`body`; the details say what was applied, what failed and what was not attempted.
    """
    applied: list[str] = []
    for position, step in enumerate(plan.steps):
        try:
            _take(step, kernel)
        except KernelRefused as error:
            if step.verb == "remove" and error.errno in GONE:
                continue  # by another hand, or with its interface
            outcome = {
                "applied": applied,
                "failed": [{"operation": str(step), "reason": str(error)}],
                "not_attempted": [str(other) for other in plan.steps[position + 1 :]],
            }
            raise IpvsError(f"the kernel refused to {step}: {error}", changed=bool(applied), outcome=outcome) from None
        applied.append(str(step))


def _take(step: Step, kernel: Any) -> None:
    what = "rule" if isinstance(step.subject, Rule) else "route"
    getattr(kernel, f"{step.verb}_{what}")(step.subject)
