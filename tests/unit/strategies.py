# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypothesis strategies of services, servers and tables: everything that the model can hold and a user can write."""

from __future__ import annotations

import socket

from hypothesis import strategies as st

from plugins.module_utils._model import (
    AF_INET,
    AF_INET6,
    MAX_INT,
    MAX_PERSISTENCE,
    SCHEDULERS,
    Entry,
    Server,
    ServerKey,
    Service,
    ServiceKey,
    Table,
)

TCP, UDP, SCTP = 6, 17, 132
NAT, TUN, DR = 0, 2, 3

families = st.sampled_from([AF_INET, AF_INET6])
ports = st.integers(0, 65535)


def addresses(family: int) -> st.SearchStrategy[bytes]:
    """192.0.2.0/24 and 2001:db8::/32: few enough of the former to meet again."""
    if family == AF_INET:
        return st.binary(min_size=1, max_size=1).map(lambda last: bytes((192, 0, 2)) + last)
    return st.binary(min_size=12, max_size=12).map(lambda rest: bytes((0x20, 0x01, 0x0D, 0xB8)) + rest)


@st.composite
def service_keys(draw: st.DrawFn) -> ServiceKey:
    family = draw(families)
    if draw(st.booleans()):
        return ServiceKey(draw(st.integers(1, 2**32 - 1)), family, 0, b"", 0)
    return ServiceKey(0, family, draw(st.sampled_from([TCP, UDP, SCTP])), draw(addresses(family)), draw(ports))


@st.composite
def services(draw: st.DrawFn) -> Service:
    key = draw(service_keys())
    udp = bool(key.fwmark) or key.protocol == UDP
    persistent = draw(st.booleans()) or (not key.fwmark and not key.port)
    full = 0xFFFFFFFF if key.family == AF_INET else 128
    netmasks = st.integers(0, full) if key.family == AF_INET else st.integers(1, full)
    flags = draw(st.integers(0, 7)) << 3 | persistent | (udp and draw(st.booleans())) << 2
    return Service(
        key,
        draw(st.sampled_from(SCHEDULERS)),
        flags,
        draw(st.integers(1, MAX_PERSISTENCE)) if persistent else 0,
        draw(netmasks) if persistent else full,
        "sip" if udp and persistent and draw(st.booleans()) else "",
    )


@st.composite
def servers(draw: st.DrawFn, key: ServiceKey) -> Server:
    forward = draw(st.sampled_from([NAT, TUN, DR]))
    family = draw(families) if forward == TUN else key.family
    port = draw(ports) if forward == NAT or key.fwmark else key.port
    address = draw(addresses(family).filter(lambda packed: packed != key.address))
    kind = draw(st.integers(0, 2)) if forward == TUN else 0
    upper = draw(st.integers(0, MAX_INT))
    return Server(
        ServerKey(family, address, port),
        forward,
        draw(st.one_of(st.integers(0, 3), st.integers(0, MAX_INT))),
        upper,
        draw(st.integers(0, upper)),
        kind,
        draw(st.integers(1, 65535)) if kind == 1 else 0,
        draw(st.integers(0, kind and 3 - kind)),
    )


@st.composite
def held_services(draw: st.DrawFn) -> Service:
    """What a kernel can hold, whoever made it, and not what we accept: it looks at neither addresses, protocols nor
    flags, and takes any scheduler and engine that some module has (ip_vs_ctl.c: ip_vs_genl_parse_service).
    """
    key = draw(service_keys())
    if not key.fwmark and draw(st.booleans()):
        odd = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1"]
        if key.family == AF_INET6:
            odd = ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"]
        key = key._replace(
            address=socket.inet_pton(key.family, draw(st.sampled_from(odd))), protocol=draw(st.integers(0, 65535))
        )
    persistent = draw(st.booleans())
    full = 0xFFFFFFFF if key.family == AF_INET else 128
    return Service(
        key,
        draw(st.sampled_from([*SCHEDULERS, "none", "maglev_2"])),
        draw(st.integers(0, 2**32 - 1)) & ~3 | persistent,
        draw(st.sampled_from([0, 1, MAX_PERSISTENCE, MAX_PERSISTENCE + 1, 2**24 - 1])) if persistent else 0,
        draw(st.integers(key.family == AF_INET6, full)) if persistent else full,
        draw(st.sampled_from(["", "sip", "other"])),
    )


@st.composite
def held_servers(draw: st.DrawFn, key: ServiceKey) -> Server:
    """The same for servers (ip_vs_genl_parse_dest, ip_vs_add_dest)."""
    forward = draw(st.integers(0, 7))
    family = draw(families) if forward == TUN else key.family
    odd = [bytes((127, 0, 0, 1)), bytes((240, 0, 0, 1))]
    if family == AF_INET6:
        odd = [bytes(15) + b"\1", b"\xfe\x80" + bytes(13) + b"\1"]
    odd += [key.address] if family == key.family and any(key.address) else []
    upper = draw(st.integers(0, 2**32 - 1))
    kind, port, flags = 0, 0, 0
    if forward == TUN:
        kind, flags = draw(st.integers(0, 255) | st.integers(0, 2)), draw(st.integers(0, 65535) | st.integers(0, 2))
        port = draw(st.integers(kind == 1, 65535))
    return Server(
        ServerKey(family, draw(addresses(family) | st.sampled_from(odd)), draw(ports | st.just(key.port))),
        forward,
        draw(st.integers(0, 3) | st.integers(0, MAX_INT)),
        upper,
        draw(st.integers(0, upper)),
        kind,
        port,
        flags,
    )


@st.composite
def held_tables(draw: st.DrawFn) -> Table:
    table: Table = {}
    for service in draw(st.lists(held_services(), min_size=1, max_size=3)):
        found = draw(st.lists(held_servers(service.key), max_size=3))
        table[service.key] = Entry(service, {server.key: server for server in found})
    return table


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    service = draw(services())
    found = draw(st.lists(servers(service.key), max_size=4))
    return Entry(service, {server.key: server for server in found})


@st.composite
def tables(draw: st.DrawFn) -> Table:
    return {entry.service.key: entry for entry in draw(st.lists(entries(), max_size=4))}


@st.composite
def related_tables(draw: st.DrawFn) -> tuple[Table, Table]:
    """Two tables that share services and servers, some of them changed."""
    before = draw(tables())
    after = draw(tables())
    for key, entry in before.items():
        if not draw(st.booleans()):
            continue
        service = draw(st.sampled_from([entry.service, entry.service._replace(scheduler="rr")]))
        kept = [server for server in entry.servers.values() if draw(st.booleans())]
        changed = [
            server._replace(weight=draw(st.integers(0, 2))) if draw(st.booleans()) else server for server in kept
        ]
        fresh = draw(st.lists(servers(key), max_size=2))
        after[key] = Entry(service, {server.key: server for server in [*changed, *fresh]})
    return before, after
