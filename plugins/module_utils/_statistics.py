# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the kernel counts of services and servers, decoded along with them."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

from ._model import AF_INET, AF_INET6, Server, Service
from ._wire import (
    CMD_DEST,
    CMD_SERVICE,
    DST_ACTIVE,
    DST_INACTIVE,
    DST_PERSISTENT,
    DST_STATS64,
    SERVER_VALUES,
    SERVICE_VALUES,
    SVC_STATS64,
    Decoder,
    Row,
    attributes,
    server_of,
    service_of,
)

COUNTERS = ("connections", "packets_in", "packets_out", "bytes_in", "bytes_out")
RATES = (
    "connections_per_second",
    "packets_in_per_second",
    "packets_out_per_second",
    "bytes_in_per_second",
    "bytes_out_per_second",
)


def _statistics_of(stats: bytes) -> dict[str, dict[str, int]]:
    numbers = {
        kind: struct.unpack_from("=Q", stats, first)[0]
        for kind, first, last in attributes(stats, 0, len(stats))
        if last - first == 8
    }
    return {
        "counters": {name: numbers.get(i, 0) for i, name in enumerate(COUNTERS, 1)},
        "rates": {name: numbers.get(i, 0) for i, name in enumerate(RATES, len(COUNTERS) + 1)},
    }


def _counted_service(row: Row) -> tuple[Service, dict[str, dict[str, int]]]:
    return service_of(row[:-1]), _statistics_of(row[-1])


def _counted_server(family: int, row: Row) -> tuple[Server, dict[str, dict[str, int]]]:
    *told, active, inactive, persistent, stats = row
    connections = {"active": active, "inactive": inactive, "persistent": persistent}
    return server_of(family, tuple(told)), {**_statistics_of(stats), "connections": connections}


_SERVER_COUNTS: tuple[tuple[int, str, Any], ...] = (
    (DST_ACTIVE, "I", 0),
    (DST_INACTIVE, "I", 0),
    (DST_PERSISTENT, "I", 0),
    (DST_STATS64, "s", b""),
)

#: A pair of the service, or the server (by the family of its service), and its ``counters`` (64 bits) and ``rates``; of
#: a server ``connections``, too.
COUNTED_SERVICE = Decoder(CMD_SERVICE, (*SERVICE_VALUES, (SVC_STATS64, "s", b"")), _counted_service)
COUNTED_SERVERS = {
    one: Decoder(CMD_DEST, (*SERVER_VALUES, *_SERVER_COUNTS), partial(_counted_server, one))
    for one in (AF_INET, AF_INET6)
}
