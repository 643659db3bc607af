# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_vip) does with the host: read, plan, probe, write, wait for IPv6, announce."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from . import _arp, _networkd, _vip
from ._errors import Findings, IpvsError, KernelRefused
from ._files import read
from ._management import management_end
from ._module import Task
from ._rtnl import Address, Link, Rtnl
from ._values import show_address
from ._vip import Live, Plan, Request, Step, address_line, address_params

PROC_NET = "/proc/sys/net"
#: Linux 5.18 was the first to keep IFA_PROTO.
FIRST_WITH_MARKS = (5, 18)
#: Duplicate address detection takes up to 1 s of random delay and 1 s of listening by default (RFC 4862).
DAD_TIMEOUT = 10.0
DAD_INTERVAL = 0.1

# what the tests put fakes in the place of
open_kernel: Callable[[], Any] = Rtnl
open_packets: Callable[[], Any] = _arp.PacketSocket


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, an address that another host holds, or a step that the kernel refused; nothing is
        removed after a failure.
    """
    findings = Findings()
    request = _vip.parse_request(task.params, findings)
    task.conclude(findings)
    with open_kernel() as kernel:
        findings = Findings()
        live = read_live(kernel, task.params["netns"])._replace(prepared=task.prepared)
        plan = _vip.make_plan(request, live, findings)
        task.conclude(findings)
        before = [address_line(address) for address in plan.before]
        after = [address_line(address) for address in plan.after]
        result: dict[str, Any] = {
            "changed": bool(plan.steps),
            "diff": {"before": _text(before), "after": _text(after)},
            "vips": [address_params(wish.target) for wish in request.wishes],
            "kept": [address_params(address) for address in plan.kept],
            "unlisted": [address_params(address) for address in plan.unlisted],
            "operations": [str(step) for step in plan.steps],
        }
        if plan.steps and not task.check_mode:
            carry_out(plan, request, live, kernel, task)
    return result


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def read_live(kernel: Any, netns: object) -> Live:
    """What the host has that bears on addresses."""
    links: dict[str, Link] = kernel.links()
    addresses: list[Address] = kernel.addresses()
    end = management_end(netns)
    return Live(
        links=links,
        addresses=addresses,
        marks=any(address.protocol for address in addresses) or _release() >= FIRST_WITH_MARKS,
        promotes=frozenset(name for name in links if _effective(name, "promote_secondaries")),
        answering=frozenset(
            name for name, link in links.items() if link.on_segment and link.up and not _effective(name, "arp_ignore")
        ),
        without_ipv6=frozenset(name for name in links if _setting("ipv6", name, "disable_ipv6") != 0),
        management=end[0] if end else b"",
        dropping={} if netns else _dropping(links),
    )


def _dropping(links: Mapping[str, Link]) -> dict[str, str]:
    files = {name: _networkd.file_that_drops_addresses(link.number) for name, link in links.items()}
    return {name: file for name, file in files.items() if file}


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())


def _setting(family: str, interface: str, key: str) -> int:
    """A sysctl of an interface; -1 where the kernel has none."""
    try:
        return int(read(os.path.join(PROC_NET, family, "conf", interface, key)))
    except OSError:
        return -1


def _effective(interface: str, key: str) -> bool:
    """Whether the IPv4 sysctl is set for the interface or for all (inetdevice.h: IN_DEV_ORCONF, IN_DEV_MAXCONF)."""
    return max(_setting("ipv4", "all", key), _setting("ipv4", interface, key)) > 0


def carry_out(plan: Plan, request: Request, live: Live, kernel: Any, task: Task) -> None:
    """Take the steps of the plan.

    :raises IpvsError: see :func:`body`; the details say what was applied, what failed and what was not attempted.
    """
    added = [step.address for step in plan.steps if step.verb == "add"]
    claims = [_arp.Claim(live.links[address.interface], address.address) for address in added]
    claims = [claim for claim in claims if claim.link.on_segment and claim.link.up]
    if request.probe:
        _probe([claim for claim in claims if len(claim.address) == 4], live, plan)
    applied: list[Step] = []
    removals = [step for step in plan.steps if step.verb == "remove"]
    for step in plan.steps:
        if step.verb != "remove":
            _take(step, kernel, applied, plan)
    waiting = [address for address in added if len(address.address) == 16 and not address.nodad]
    running = [address for address in waiting if live.links[address.interface].running]
    _await_detection(running, kernel, applied, plan)
    for address in waiting:
        if address not in running:
            task.warn(f"{address_line(address)}: whether another host has it is known when the link has a carrier")
    if request.announce and claims:
        with open_packets() as packets:
            _arp.announce(claims, packets)
    for step in removals:
        _take(step, kernel, applied, plan)


def _probe(claims: Sequence[_arp.Claim], live: Live, plan: Plan) -> None:
    if not claims:
        return
    with open_packets() as packets:
        contested = _arp.probe(claims, [link.mac for link in live.links.values()], packets)
    if contested:
        told = [
            f"{show_address(claim.address)} on {claim.link.name} is in use by the host with MAC {mac.hex(':')}"
            for claim, mac in contested.items()
        ]
        raise IpvsError("; ".join(told), conflicts=told, **_outcome([], [], plan))


def _take(step: Step, kernel: Any, applied: list[Step], plan: Plan) -> None:
    try:
        getattr(kernel, step.verb)(step.address)
    except KernelRefused as error:
        if step.verb == "remove" and error.errno == errno.EADDRNOTAVAIL:
            # it went with its primary, or by another hand
            return
        failed = [{"operation": str(step), "reason": str(error)}]
        raise IpvsError(f"the kernel refused to {step}: {error}", **_outcome(applied, failed, plan)) from None
    applied.append(step)


def _await_detection(waiting: Sequence[Address], kernel: Any, applied: list[Step], plan: Plan) -> None:
    """Wait until the kernel has asked whether another host has these IPv6 addresses, and take back those that one has.

    :raises IpvsError: another host has one, or the kernel has not decided in :data:`DAD_TIMEOUT` seconds.
    """
    deadline = time.monotonic() + DAD_TIMEOUT
    wanted = {(address.address, address.interface) for address in waiting}
    while wanted:
        found = [a for a in kernel.addresses() if (a.address, a.interface) in wanted]
        duplicates = [address for address in found if address.duplicate]
        undecided = [address for address in found if address.tentative]
        if duplicates and not undecided:
            for address in duplicates:
                kernel.remove(address)
            failed = [
                {"operation": f"add {address_line(address)}", "reason": "another host has it"} for address in duplicates
            ]
            names = {entry["operation"] for entry in failed}
            told = "; ".join(
                f"{show_address(a.address)} on {a.interface} is in use by another host" for a in duplicates
            )
            done = [step for step in applied if str(step) not in names]
            raise IpvsError(f"{told}; it has been removed again", **_outcome(done, failed, plan))
        if not undecided:
            return
        if time.monotonic() >= deadline:
            told = ", ".join(address_line(address) for address in undecided)
            raise IpvsError(
                f"after {DAD_TIMEOUT:.0f} s the kernel has not decided whether another host has {told}",
                **_outcome(applied, [], plan),
            )
        time.sleep(DAD_INTERVAL)


def _outcome(applied: Sequence[Step], failed: Sequence[dict[str, str]], plan: Plan) -> dict[str, Any]:
    done = {str(step) for step in applied} | {entry["operation"] for entry in failed}
    return {
        "changed": bool(applied),
        "outcome": {
            "applied": [str(step) for step in applied],
            "failed": list(failed),
            "not_attempted": [str(step) for step in plan.steps if str(step) not in done],
        },
    }
