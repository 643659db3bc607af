# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The kernel's UDP listeners for encapsulated packets, through ``ip fou`` of iproute2: pyroute2 has none of it."""

from __future__ import annotations

import json
from typing import Any

from ._errors import IpvsError
from ._kernel import module_loaded
from ._module import Task
from ._tunnel import LISTENER_MODULE, Listener

LENGTHS = {"inet": 4, "inet6": 16}


def listeners(task: Task) -> dict[Listener, bool]:
    """Every listener of the network namespace, and whether it takes GUE from everywhere. The kernel module is not
    loaded for asking.

    :raises IpvsError: they cannot be read.
    """
    if not module_loaded(LISTENER_MODULE):
        return {}
    output = _ip(task, "-j", "fou", "show")
    try:
        found: list[dict[str, Any]] = json.loads(output or "[]")
        return {Listener(LENGTHS[one["family"]], int(one["port"])): _plain(one) for one in found}
    except (ValueError, KeyError, TypeError):
        raise IpvsError(f"ip -j fou show: not understood: {output.strip()[:200]}") from None


def add(task: Task, listener: Listener) -> None:
    """:raises IpvsError: the port is in use, or the kernel has no such listener."""
    _ip(task, "fou", "add", "port", str(listener.port), "gue", *_family(listener))


def remove(task: Task, listener: Listener) -> None:
    """:raises IpvsError: it is not there."""
    _ip(task, "fou", "del", "port", str(listener.port), *_family(listener))


def _family(listener: Listener) -> list[str]:
    return ["-6"] if listener.length == 16 else []


def _plain(one: dict[str, Any]) -> bool:
    return set(one) == {"port", "family", "gue"}


def _ip(task: Task, *words: str) -> str:
    argv = ["ip", *words]
    status, output, error = task.run(argv)
    if status:
        raise IpvsError(f"{' '.join(argv)}: {error.strip() or f'ended with {status}'}")
    return output
