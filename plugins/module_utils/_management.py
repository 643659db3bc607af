# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The connection through which a task came, which no task may cut off without being told to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Optional

from ._errors import BadValue, Findings
from ._files import content
from ._model import PROTOCOLS, ServiceKey, key_text
from ._module import Task
from ._values import address as parse_address
from ._values import show_address

PROC = "/proc"
#: The rule that a task breaks which takes the packets of the connection.
CAPTURES = "has the address and port through which this task is connected; force accepts it"


def packed_end(address: str) -> bytes:
    """The packed address of an end of the connection.

    :raises BadValue: it is none.
    """
    return parse_address(address.partition("%")[0])  # a link-local address has its zone behind it


def management_connection() -> Optional[dict[str, Any]]:
    """The address and port of this host through which the task came. ``None`` where there is no SSH."""
    words = _ssh_connection()
    return {"address": words[2], "port": int(words[3])} if words else None


def management_client() -> Optional[dict[str, Any]]:
    """The address and port from which the task came. ``None`` where there is no SSH."""
    words = _ssh_connection()
    return {"address": words[0], "port": int(words[1])} if words else None


def management_end(netns: object) -> Optional[tuple[bytes, int]]:
    """The packed address and the port of :func:`management_connection`, which belongs to the namespace it came in by:
    ``None`` in another one.
    """
    connection = None if netns else management_connection()
    if connection is None:
        return None
    return packed_end(connection["address"]), connection["port"]


def refuse_capture(task: Task, added: Iterable[ServiceKey]) -> None:
    """Hold the services that a task adds against the connection that it came by; unless it has ``force``.

    :raises InvalidInput: one of them takes the port of the connection, or every port of its address.
    """
    end = None if task.params["force"] else management_end(task.params["netns"])
    if end is None:
        return
    address, port = end
    findings = Findings()
    for key in added:
        if key.protocol == PROTOCOLS["tcp"] and key.address == address and key.port in (port, 0):
            findings.problem(key_text(key), CAPTURES, f"{show_address(address)} port {port}")
    findings.raise_problems()


def _ssh_connection() -> list[str]:
    """The client's address and port and this host's, from the environment of the SSH session: this process's, or that
    of the nearest parent that has it (sudo(8) takes it away). Empty where there is no SSH, or one without addresses:
    over a pipe sshd(8) writes UNKNOWN in their place.
    """
    process = os.getpid()
    while process > 1:
        environment = content(os.path.join(PROC, str(process), "environ")).split("\0")
        for variable in environment:
            words = variable.partition("SSH_CONNECTION=")[2].split()
            if variable.startswith("SSH_CONNECTION=") and len(words) == 4:
                return words if all(map(_is_address, (words[0], words[2]))) else []
        status = re.search(r"^PPid:\s*(\d+)", content(os.path.join(PROC, str(process), "status")), re.M)
        process = int(status.group(1)) if status else 0
    return []


def _is_address(word: str) -> bool:
    try:
        packed_end(word)
    except BadValue:
        return False
    return True
