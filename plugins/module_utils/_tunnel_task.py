# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_tunnel) does with the host: read, plan, write."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Callable

from . import _fou, _kernel, _tunnel
from ._errors import Findings, IpvsError, KernelRefused
from ._module import Task
from ._rtnl import Address
from ._rtnl_tunnel import Device, TunnelKernel
from ._tunnel import Listener, Live, Plan, Step, device_line, tunnel_params
from ._values import show_address

# what the tests put a fake in the place of
open_kernel: Callable[[], Any] = TunnelKernel


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, or a step that failed; nothing is removed after a failure.
    """
    findings = Findings()
    request = _tunnel.parse_request(task.params, findings)
    task.conclude(findings)
    with open_kernel() as kernel:
        findings = Findings()
        plan = _tunnel.make_plan(request, read_live(kernel, task), _kernel.module_known, findings)
        task.conclude(findings)
        modules = {module for wish in request.wishes if not request.absent for module in wish.tunnel.modules}
        result: dict[str, Any] = {
            "changed": bool(plan.steps),
            "diff": {"before": _text(plan.before), "after": _text(plan.after)},
            "tunnels": [tunnel_params(wish.tunnel) for wish in request.wishes],
            "kept": [str(listener) for listener in plan.kept],
            "kernel_modules": sorted(modules),
            "operations": [str(step) for step in plan.steps],
        }
        if not task.check_mode:
            carry_out(plan, kernel, task)
    return result


def _text(devices: Sequence[Device]) -> str:
    return "".join(f"{device_line(device)}\n" for device in devices)


def read_live(kernel: Any, task: Task) -> Live:
    """What the host has that bears on tunnels."""
    kernel.links()
    devices = kernel.devices()
    addresses: list[Address] = kernel.addresses()
    # a kernel before 5.18 does not keep who added an address
    marks = any(address.protocol for address in addresses)
    foreign: dict[str, list[str]] = {}
    vips: dict[str, list[str]] = {}
    for address in addresses:
        device = devices.get(address.interface)
        # the kernel gives a sit device ::198.51.100.11/96 for its local address (addrconf.c, add_v4_addrs)
        automatic = address.scope == "link" or (device and address.address == b"\0" * 12 + device.local)
        if not automatic:
            owner = vips if address.ours or not marks else foreign
            owner.setdefault(address.interface, []).append(f"{show_address(address.address)}/{address.prefix}")
    return Live(
        devices=devices,
        held=frozenset(address.address for address in addresses),
        foreign=foreign,
        vips=vips,
        listeners=_fou.listeners(task),
    )


def carry_out(plan: Plan, kernel: Any, task: Task) -> None:
    """Take the steps of the plan.

    :raises IpvsError: see :func:`body`; the details say what was applied, what failed and what was not attempted.
    """
    applied: list[str] = []
    for step in plan.steps:
        try:
            _take(step, kernel, task)
        except IpvsError as error:
            if step.verb == "remove" and isinstance(error, KernelRefused) and error.errno == errno.ENODEV:
                continue  # gone by another hand
            told = [str(one) for one in plan.steps]
            outcome = {
                "applied": applied,
                "failed": [{"operation": str(step), "reason": str(error)}],
                "not_attempted": told[told.index(str(step)) + 1 :],
            }
            raise IpvsError(f"cannot {step}: {error}", changed=bool(applied), outcome=outcome) from None
        applied.append(str(step))


def _take(step: Step, kernel: Any, task: Task) -> None:
    if isinstance(step.subject, Listener):
        if step.verb == "add":
            # a kernel that is asked for a listener does not load what it takes
            _load(task)
        {"add": _fou.add, "remove": _fou.remove}[step.verb](task, step.subject)
    else:
        getattr(kernel, f"{step.verb}_device")(step.subject)


def _load(task: Task) -> None:
    module = _tunnel.LISTENER_MODULE
    if not _kernel.module_loaded(module):
        status, dummy, error = task.run(["modprobe", module])
        if status:
            raise IpvsError(f"the kernel module {module} cannot be loaded: {error.strip()}")
