# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of 127.0.0.1 for the nodes' ssh servers."""

from __future__ import annotations

import socket
from collections.abc import Collection

# below the ports that the kernel hands out by itself: a node keeps its port while it is switched off
FIRST, LAST = 22000, 29999


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free(count: int, taken: Collection[int] = ()) -> list[int]:
    """Return *count* ports that nobody listens on and that are not in *taken*."""
    found: list[int] = []
    for port in range(FIRST, LAST + 1):
        if len(found) == count:
            break
        if port not in taken and _is_free(port):
            found.append(port)
    return found
