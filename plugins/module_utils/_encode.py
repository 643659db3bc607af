# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Requests that write: services and servers to the bytes of generic netlink (see ``_wire``)."""

from __future__ import annotations

import struct
from typing import Any, Callable, Union

from ._model import AF_INET, Server, ServerKey, Service, ServiceKey
from ._wire import (
    CMD_DEST,
    CMD_SERVICE,
    DEL_DEST,
    DEL_SERVICE,
    DST_ADDR,
    DST_FAMILY,
    DST_FORWARD,
    DST_LOWER,
    DST_PORT,
    DST_TUNNEL_FLAGS,
    DST_TUNNEL_PORT,
    DST_TUNNEL_TYPE,
    DST_UPPER,
    DST_WEIGHT,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    SET_SERVICE,
    SVC_FLAGS,
    SVC_NETMASK,
    SVC_PE,
    SVC_SCHED,
    SVC_TIMEOUT,
    Request,
    attribute,
    encode_key,
    htons,
    text,
)

#: A whole server, by the size of its address.
_SERVERS = {size: struct.Struct(f"=HHHxx HH{size}s HHHxx HHI HHI HHI HHI") for size in (4, 16)}


def _u32(kind: int, number: int) -> bytes:
    return struct.pack("=HHI", 8, kind, number)


def _u16(kind: int, number: int) -> bytes:
    return struct.pack("=HHHxx", 6, kind, number)


def _be16(kind: int, number: int) -> bytes:
    return struct.pack("=HH", 6, kind) + struct.pack("!Hxx", number)


def encode_service(service: Service) -> bytes:
    """The attribute of a whole service. SET_SERVICE replaces everything but flags outside the mask, so the mask is full
    and nothing is left out.
    """
    family = service.key.family
    netmask = struct.pack("!I" if family == AF_INET else "=I", service.netmask)
    body = (
        encode_key(service.key)[4:]
        + text(SVC_SCHED, service.scheduler)
        + struct.pack("=HHII", 12, SVC_FLAGS, service.flags, 0xFFFFFFFF)
        + _u32(SVC_TIMEOUT, service.timeout)
        + attribute(SVC_NETMASK, netmask)
    )
    return attribute(CMD_SERVICE, body + text(SVC_PE, service.engine) if service.engine else body)


def encode_server_key(key: ServerKey) -> bytes:
    """The attributes that name a server. Without its family the kernel would read an IPv6 address as the service's
    IPv4.
    """
    return _u16(DST_FAMILY, key.family) + attribute(DST_ADDR, key.address) + _be16(DST_PORT, key.port)


def encode_server(server: Server) -> bytes:
    """A whole server. SET_DEST resets the tunnel attributes that are left out, which is what a server without a tunnel
    wants.
    """
    family, address, port = server.key
    size = len(address)
    body = _SERVERS[size].pack(
        6, DST_FAMILY, family, 4 + size, DST_ADDR, address, 6, DST_PORT, htons(port),
        8, DST_FORWARD, server.forward, 8, DST_WEIGHT, server.weight,
        8, DST_UPPER, server.upper, 8, DST_LOWER, server.lower,
    )  # fmt: skip
    if server[-3:] == (0, 0, 0):
        return body
    return (
        body
        + struct.pack("=HHBxxx", 5, DST_TUNNEL_TYPE, server.tunnel_type)
        + _be16(DST_TUNNEL_PORT, server.tunnel_port)
        + _u16(DST_TUNNEL_FLAGS, server.tunnel_flags)
    )


_REQUESTS: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "add_service": (NEW_SERVICE, encode_service),
    "edit_service": (SET_SERVICE, encode_service),
    "remove_service": (DEL_SERVICE, lambda service: encode_key(service.key)),
    "add_server": (NEW_DEST, encode_server),
    "edit_server": (SET_DEST, encode_server),
    "quiesce_server": (SET_DEST, encode_server),
    "remove_server": (DEL_DEST, lambda server: encode_server_key(server.key)),
}


def write_request(action: str, key: ServiceKey, subject: Union[Service, Server]) -> Request:
    """The request for one action of a plan on one service, or on one server of the service ``key``."""
    command, encode = _REQUESTS[action]
    if isinstance(subject, Service):
        return command, encode(subject)
    return command, encode_key(key) + attribute(CMD_DEST, encode(subject))
