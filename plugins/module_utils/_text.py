# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The table as an operator reads it, in the notation of ``ipvsadm -Sn``, and as results tell it, in the words a user
writes. Apart from the values, for a run that changes nothing has nothing to tell.
"""

from __future__ import annotations

from typing import Any

from . import _values
from ._model import (
    AF_INET,
    AF_INET6,
    FAMILIES,
    FLAG_ONE_PACKET,
    FLAG_PERSISTENT,
    FLAG_WORDS,
    FORWARDS,
    PROTOCOLS,
    TUNNEL_CHECKSUMS,
    TUNNEL_TYPES,
    UNKNOWN_FLAGS,
    Entry,
    Server,
    ServerKey,
    Service,
    ServiceKey,
    Table,
    full_netmask,
    key_text,
    prefix_mask,
    server_text,
    word_of,
)

_FORWARD_OPTIONS = {0: "-m", 2: "-i", 3: "-g"}
_CHECKSUM_OPTIONS = {0: "--tun-nocsum", 1: "--tun-csum", 2: "--tun-remcsum"}


def flag_names(scheduler: str, flags: int) -> tuple[str, ...]:
    """The names of a service's scheduler flags, in ipvsadm's order."""
    own = {bit for bit, owner in FLAG_WORDS.values() if owner == scheduler}
    words = [
        word
        for word, (bit, owner) in FLAG_WORDS.items()
        if flags & bit and (owner == scheduler or (owner is None and bit not in own))
    ]
    return (*words, *(word for word, bit in UNKNOWN_FLAGS.items() if flags & bit))


def netmask_text(family: int, netmask: int) -> str:
    """A persistence netmask as ipvsadm shows it: dotted for IPv4, a prefix length for IPv6."""
    return _values.show_address(netmask.to_bytes(4, "big")) if family == AF_INET else str(netmask)


def service_options(service: Service) -> str:
    """The options of ``ipvsadm -A`` that make this service, in the order of ``ipvsadm -Sn``."""
    parts = [f"-s {service.scheduler}"]
    if service.flags & FLAG_PERSISTENT:
        parts.append(f"-p {service.timeout}")
        if service.netmask != full_netmask(service.key.family):
            parts.append(f"-M {netmask_text(service.key.family, service.netmask)}")
    if service.engine:
        parts.append(f"--pe {service.engine}")
    if service.flags & FLAG_ONE_PACKET:
        parts.append("-o")
    names = flag_names(service.scheduler, service.flags)
    if names:
        parts.append(f"-b {','.join(names)}")
    return " ".join(parts)


def server_options(server: Server) -> str:
    """The options of ``ipvsadm -a`` that make this server, in the order of ``ipvsadm -Sn``, which forgets the
    thresholds: they follow.
    """
    parts = [_FORWARD_OPTIONS.get(server.forward, f"--forward-{server.forward}"), f"-w {server.weight}"]
    if server.forward == FORWARDS["tun"]:
        kind = {number: word for word, number in TUNNEL_TYPES.items()}.get(server.tunnel_type, str(server.tunnel_type))
        parts.append(f"--tun-type {kind}")
        if kind == "gue" or server.tunnel_port:
            parts.append(f"--tun-port {server.tunnel_port}")
        if kind != "ipip" or server.tunnel_flags:
            parts.append(_CHECKSUM_OPTIONS.get(server.tunnel_flags, f"--tun-flags-{server.tunnel_flags}"))
    if server.upper or server.lower:
        parts.append(f"-x {server.upper} -y {server.lower}")
    return " ".join(parts)


def service_line(service: Service) -> str:
    """``-A -t 192.0.2.10:443 -s mh -b mh-port``"""
    return f"-A {key_text(service.key)} {service_options(service)}"


def server_line(key: ServiceKey, server: Server) -> str:
    """``-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1``"""
    return f"-a {key_text(key)} -r {server_text(server.key)} {server_options(server)}"


def entry_lines(entry: Entry) -> list[str]:
    """A service and its servers in canonical order, one line each."""
    return [service_line(entry.service)] + [
        server_line(entry.service.key, entry.servers[key]) for key in sorted(entry.servers)
    ]


def table_lines(table: Table) -> list[str]:
    """The whole table, as ``ipvsadm -Sn`` prints it."""
    return [line for key in sorted(table) for line in entry_lines(table[key])]


# words, for results


def key_params(key: ServiceKey) -> dict[str, Any]:
    """The input keys that name a service."""
    if key.fwmark:
        return {"fwmark": key.fwmark, "family": word_of(FAMILIES, key.family)}
    return {
        "address": _values.show_address(key.address),
        "port": key.port,
        "protocol": word_of(PROTOCOLS, key.protocol),
    }


def service_params(service: Service) -> dict[str, Any]:
    """A service in input keys, every value stated."""
    params = key_params(service.key)
    params["scheduler"] = service.scheduler
    params["scheduler_flags"] = list(flag_names(service.scheduler, service.flags))
    params["persistence_timeout"] = service.timeout
    if service.flags & FLAG_PERSISTENT:
        params["persistence_netmask"] = _netmask_param(service.key.family, service.netmask)
    params["persistence_engine"] = service.engine or "none"
    params["one_packet"] = bool(service.flags & FLAG_ONE_PACKET)
    return params


def server_key_params(key: ServerKey) -> dict[str, Any]:
    """The input keys that name a server within its service."""
    return {"address": _values.show_address(key.address), "port": key.port}


def server_params(server: Server) -> dict[str, Any]:
    """A server in input keys, every value stated that its forwarding method has."""
    params: dict[str, Any] = {
        **server_key_params(server.key),
        "forward": word_of(FORWARDS, server.forward),
        "weight": server.weight,
        "upper_threshold": server.upper,
        "lower_threshold": server.lower,
    }
    if server.forward == FORWARDS["tun"]:
        params["tunnel_type"] = word_of(TUNNEL_TYPES, server.tunnel_type)
        if params["tunnel_type"] == "gue" or server.tunnel_port:
            params["tunnel_port"] = server.tunnel_port
        if params["tunnel_type"] != "ipip" or server.tunnel_flags:
            params["tunnel_checksum"] = word_of(TUNNEL_CHECKSUMS, server.tunnel_flags)
    return params


def entry_params(entry: Entry) -> dict[str, Any]:
    """A service with its servers in input keys, servers in canonical order."""
    servers = [server_params(entry.servers[key]) for key in sorted(entry.servers)]
    return {**service_params(entry.service), "servers": servers}


def _netmask_param(family: int, netmask: int) -> object:
    if family == AF_INET6:
        return netmask
    length = bin(netmask).count("1")
    return length if netmask == prefix_mask(length) else netmask_text(family, netmask)
