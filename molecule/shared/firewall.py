# SPDX-License-Identifier: GPL-3.0-or-later
"""A firewall that drops what connection tracking takes for invalid, and counts it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from testinfra.host import Host

STRICT = """
table inet strict {
  chain input { type filter hook input priority filter; ct state invalid counter drop; }
  chain forward { type filter hook forward priority filter; ct state invalid counter drop; }
  chain output { type filter hook output priority filter; ct state invalid counter drop; }
}
"""


@contextlib.contextmanager
def strict(host: Host) -> Iterator[None]:
    """Drop what is invalid on this host."""
    host.check_output(f"echo '{STRICT}' | nft -f -")
    try:
        yield
    finally:
        host.check_output("nft delete table inet strict")


def dropped(host: Host) -> int:
    """How many packets were."""
    listing = json.loads(host.check_output("nft -j list table inet strict"))["nftables"]
    expressions = [expression for item in listing if "rule" in item for expression in item["rule"]["expr"]]
    return sum(expression["counter"]["packets"] for expression in expressions if "counter" in expression)
