# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the bench, each in the two forms its tools take: services for ipvs_table, lines for ipvsadm."""

from __future__ import annotations

from typing import Any

#: Services and servers of each. K is a tenth of L; W is for memory alone.
SIZES = {
    "S": (10, 4),
    "K": (1_000, 5),
    "M": (300, 100),
    "L": (10_000, 5),
    "XL": (44_000, 1),
    "W": (50_000, 5),
}
_VIPS = 250


def services(size: str) -> list[dict[str, Any]]:
    """The table as a user would write it: what differs from the defaults, and no more."""
    count, width = SIZES[size]
    return [
        {
            "address": f"192.0.2.{1 + i % _VIPS}",
            "port": 1000 + i // _VIPS,
            "protocol": "tcp",
            "scheduler": "wrr",
            "forward": "nat",
            "servers": [
                {"address": f"198.51.100.{1 + (i + j) % 250}", "port": 8000 + j, "weight": 1 + j % 3}
                for j in range(width)
            ],
        }
        for i in range(count)
    ]


def rules(size: str) -> list[str]:
    """The same table as ``ipvsadm -Sn`` prints it. Lines are sorted by service, as ipvsadm would save them."""
    lines = []
    for service in services(size):
        key = f"-t {service['address']}:{service['port']}"
        lines.append(f"-A {key} -s {service['scheduler']}")
        lines += [f"-a {key} -r {one['address']}:{one['port']} -m -w {one['weight']}" for one in service["servers"]]
    return lines
