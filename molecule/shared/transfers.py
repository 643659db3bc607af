# SPDX-License-Identifier: GPL-3.0-or-later
"""Large transfers between the client and a service, over TCP (l4lb-serve, ``GET /bytes/N`` and ``POST``)."""

from __future__ import annotations

import logging

import nodes

MEGABYTE = 1_000_000


def down(host: str, size: int, patience: int = nodes.PATIENCE) -> int:
    """Fetch ``size`` bytes -> how many have come when it was over, or after ``patience`` seconds."""
    command = f"curl -sS --max-time {patience} -o /dev/null -w '%{{size_download}}' http://{host}/bytes/{size}"
    return int(nodes.node(nodes.CLIENT).run(command).stdout or 0)


def up(host: str, size: int, patience: int = nodes.PATIENCE) -> bool:
    """Send ``size`` bytes -> whether the server has had them all within ``patience`` seconds and said so."""
    send = f"curl -sS --max-time {patience} --fail -H Expect: --data-binary @- http://{host}/"
    answer = nodes.node(nodes.CLIENT).run(f"head -c {size} /dev/zero | {send}")
    received = answer.rc == 0 and answer.stdout.startswith("backend")
    if not received:  # pytest shows it where a test fails
        logging.warning("curl ended with %s: %s%s", answer.rc, answer.stdout[:200], answer.stderr)
    return received
