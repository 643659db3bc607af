# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the modules that look traffic up, each for a use of its own, do with the host."""

from __future__ import annotations

import functools
import socket
from collections.abc import Sequence
from typing import Any, Callable

from . import _nft_task, _traffic, _values
from ._errors import Findings
from ._management import CAPTURES, management_end
from ._module import Task
from ._nft_task import Purpose
from ._traffic import Traffic, Use
from ._values import show_address

FORCE: dict[str, Any] = {"force": {"type": "bool", "default": False}}

# what the tests put a fake in the place of
interfaces: Callable[[], Sequence[tuple[int, str]]] = socket.if_nameindex


def argument_spec(use: Use) -> dict[str, Any]:
    """The options of the module that serves ``use``."""
    return {**_nft_task.argument_spec(use.option), **FORCE}


def purpose(use: Use) -> Purpose:
    """What the module that serves ``use`` keeps tables for."""
    return Purpose(
        use.tables,
        functools.partial(_traffic.draft, use),
        functools.partial(_traffic.read, use),
        _traffic.lines,
        _traffic.merge,
        _traffic.common,
    )


def body(use: Use, task: Task) -> dict[str, Any]:
    """The module that serves ``use``.

    :raises IpvsError: invalid input, a host that lacks something, or nft refused; nothing has changed then.
    """
    findings = Findings()
    listed = _nft_task.listed(task, use.option, functools.partial(_traffic.parse, use), findings)
    if not task.params["force"]:
        _check_management(task, use, listed, findings)
    _values.refuse_with_absent(task.params, FORCE, findings)
    _check_interfaces(use, listed, findings)
    task.conclude(findings)
    result = _nft_task.converge(task, purpose(use), _traffic.elements_by_family(use, listed))
    return {**result, use.option: [_traffic.params(use, traffic) for traffic in listed]}


def _check_interfaces(use: Use, listed: Sequence[Traffic], findings: Findings) -> None:
    """Warn of interfaces that are not there. nft takes their names as they come, for they may be made later."""
    known = sorted(name for dummy, name in interfaces())
    for i, traffic in enumerate(listed):
        for name in traffic.interfaces:
            if name not in known:
                rule = f"no such interface yet, so that nothing comes in by it; known: {', '.join(known)}"
                findings.warning(f"{use.option}[{i}].interfaces", rule, name)


def _check_management(task: Task, use: Use, listed: Sequence[Traffic], findings: Findings) -> None:
    """Refuse to touch the packets of the connection that the task came by."""
    end = management_end(task.params["netns"])
    if end is None:
        return
    address, port = end
    for i, traffic in enumerate(listed):
        if address in traffic.addresses and traffic.takes(port, "tcp"):
            findings.problem(f"{use.option}[{i}]", CAPTURES, f"{show_address(address)} port {port}")
