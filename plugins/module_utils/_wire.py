# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Generic netlink messages of the IPVS family, bytes to values and back; no socket.
Sources: ``include/uapi/linux/ip_vs.h`` (IPVS_CMD_*, IPVS_*_ATTR_*), ``net/netfilter/ipvs/ip_vs_ctl.c`` (ip_vs_genl_*),
RFC 3549. Numbers are in host order, but addresses, ports and the IPv4 netmask, which are in network order; the IPv6
"netmask" is a prefix length in host order.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Callable, NamedTuple, Optional, Union

from ._errors import IpvsError
from ._model import AF_INET, AF_INET6, Server, ServerKey, Service, ServiceKey, normal_server, normal_service

Buffer = Union[bytes, bytearray, memoryview]

VERSION = 1
NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = 5, 6, 7, 8
GET_INFO = 15

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x10, 0x300
NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_GETFAMILY = 3
_CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 1, 2

_SERVICE, _DEST = 1, 2
_SVC_AF, _SVC_PROTOCOL, _SVC_ADDR, _SVC_PORT, _SVC_FWMARK, _SVC_SCHED, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK = range(
    1, 10
)
_SVC_STATS, _SVC_PE, _SVC_STATS64 = 10, 11, 12
_DST_ADDR, _DST_PORT, _DST_FORWARD, _DST_WEIGHT, _DST_UPPER, _DST_LOWER = range(1, 7)
_DST_ACTIVE, _DST_INACTIVE, _DST_PERSISTENT, _DST_STATS, _DST_FAMILY, _DST_STATS64 = range(7, 13)
_DST_TUNNEL_TYPE, _DST_TUNNEL_PORT, _DST_TUNNEL_FLAGS = range(13, 16)
_INFO_VERSION, _INFO_TABLE_SIZE = 1, 2

_HEADER = struct.Struct("=IHHIIBBH")  # nlmsghdr and genlmsghdr
HEADER_SIZE = _HEADER.size
_NLMSG = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

FORWARD_MASK = 0x7
_htons = _ntohs = socket.htons  # the same exchange of bytes


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def _u32(kind: int, number: int) -> bytes:
    return struct.pack("=HHI", 8, kind, number)


def _u16(kind: int, number: int) -> bytes:
    return struct.pack("=HHHxx", 6, kind, number)


def _be16(kind: int, number: int) -> bytes:
    return struct.pack("=HH", 6, kind) + struct.pack("!Hxx", number)


def _text(kind: int, word: str) -> bytes:
    return _attribute(kind, word.encode("ascii") + b"\0")


#: The attributes that name a service, and a server, by the size of their addresses: every request has them.
_KEYS = {size: struct.Struct(f"=HHHxx HHHxx HH{size}s HHHxx") for size in (4, 16)}
_SERVERS = {size: struct.Struct(f"=HHHxx HH{size}s HHHxx HHI HHI HHI HHI") for size in (4, 16)}


def encode_key(key: ServiceKey) -> bytes:
    """The attributes that name a service. A fwmark of 0 is never sent: the kernel would take it for TCP 0.0.0.0:0."""
    if key.fwmark:
        return _u16(_SVC_AF, key.family) + _u32(_SVC_FWMARK, key.fwmark)
    size = len(key.address)
    return _KEYS[size].pack(
        6, _SVC_AF, key.family, 6, _SVC_PROTOCOL, key.protocol,
        4 + size, _SVC_ADDR, key.address, 6, _SVC_PORT, _htons(key.port),
    )  # fmt: skip


def encode_service(service: Service) -> bytes:
    """A whole service. SET_SERVICE replaces everything but flags outside the mask, so the mask is full and nothing is
    left out.
    """
    family = service.key.family
    netmask = struct.pack("!I" if family == AF_INET else "=I", service.netmask)
    body = (
        encode_key(service.key)
        + _text(_SVC_SCHED, service.scheduler)
        + struct.pack("=HHII", 12, _SVC_FLAGS, service.flags, 0xFFFFFFFF)
        + _u32(_SVC_TIMEOUT, service.timeout)
        + _attribute(_SVC_NETMASK, netmask)
    )
    return body + _text(_SVC_PE, service.engine) if service.engine else body


def encode_server_key(key: ServerKey) -> bytes:
    """The attributes that name a server. Without its family the kernel would read an IPv6 address as the service's
    IPv4.
    """
    return _u16(_DST_FAMILY, key.family) + _attribute(_DST_ADDR, key.address) + _be16(_DST_PORT, key.port)


def encode_server(server: Server) -> bytes:
    """A whole server. SET_DEST resets the tunnel attributes that are left out, which is what a server without a tunnel
    wants.
    """
    family, address, port = server.key
    size = len(address)
    body = _SERVERS[size].pack(
        6, _DST_FAMILY, family, 4 + size, _DST_ADDR, address, 6, _DST_PORT, _htons(port),
        8, _DST_FORWARD, server.forward, 8, _DST_WEIGHT, server.weight,
        8, _DST_UPPER, server.upper, 8, _DST_LOWER, server.lower,
    )  # fmt: skip
    if not server.tunnel_type and not server.tunnel_flags:
        return body
    return (
        body
        + struct.pack("=HHBxxx", 5, _DST_TUNNEL_TYPE, server.tunnel_type)
        + _be16(_DST_TUNNEL_PORT, server.tunnel_port)
        + _u16(_DST_TUNNEL_FLAGS, server.tunnel_flags)
    )


class Request(NamedTuple):
    """A command with its attributes; the socket adds family, flags and sequence number."""

    command: int
    attributes: bytes


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
        return Request(command, _attribute(_SERVICE, encode(subject)))
    return Request(command, _attribute(_SERVICE, encode_key(key)) + _attribute(_DEST, encode(subject)))


def read_request(command: int, key: Optional[ServiceKey] = None) -> Request:
    """GET_SERVICE of one service or (to dump) of all, GET_DEST (to dump) of a service's servers, GET_INFO."""
    return Request(command, b"" if key is None else _attribute(_SERVICE, encode_key(key)))


def message(request: Request, kind: int, flags: int, sequence: int) -> bytes:
    """The whole netlink message; ``kind`` is the family's number."""
    size = HEADER_SIZE + len(request.attributes)
    return (
        _HEADER.pack(size, kind, flags | NLM_F_REQUEST, sequence, 0, request.command, VERSION, 0) + request.attributes
    )


def family_request(name: str) -> Request:
    """Ask the controller for a family's number; since kernel 5.12 this loads its module."""
    return Request(CTRL_GETFAMILY, _text(_CTRL_FAMILY_NAME, name))


# replies


class Malformed(IpvsError):
    """Bytes that are no netlink message of the expected form."""

    def __init__(self, what: str) -> None:
        super().__init__(f"a reply of the kernel cannot be read: {what}")


class Reply(NamedTuple):
    """One message in a buffer: its type, flags and sequence number, its whole extent, and where the next one begins."""

    kind: int
    flags: int
    sequence: int
    start: int
    end: int
    following: int


def reply_at(buffer: Buffer, start: int, size: int) -> Reply:
    """The message that begins at ``start`` in the first ``size`` bytes of ``buffer``.

    :raises Malformed: a length does not fit.
    """
    if start + _NLMSG.size > size:
        raise Malformed("netlink header cut short")
    length, kind, flags, sequence, dummy = _NLMSG.unpack_from(buffer, start)
    if length < _NLMSG.size or start + length > size:
        raise Malformed("netlink message cut short")
    return Reply(kind, flags, sequence, start, start + length, start + (length + 3 & ~3))


def error_number(buffer: Buffer, reply: Reply) -> int:
    """The errno of an NLMSG_ERROR or NLMSG_DONE message, 0 for an acknowledgement."""
    if reply.end - reply.start < _NLMSG.size + 4:
        return 0
    return -int(struct.unpack_from("=i", buffer, reply.start + _NLMSG.size)[0])


def _attributes(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start and end of the payload) of every attribute."""
    offset = start
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(buffer, offset)
        if length < 4 or offset + length > end:
            raise Malformed("netlink attribute cut short")
        yield kind & 0x3FFF, offset + 4, offset + length
        offset += (length + 3) & ~3


Row = tuple[Any, ...]


class _Layout(NamedTuple):
    message: struct.Struct
    headers: Callable[[Row], Row]
    expected: Row
    values: Callable[[Row], Row]


class Decoder:
    """Reads the same attributes out of many messages that look alike.

    A kernel lays out all servers of a table in the same way, so the layout of one message is compiled to one ``struct``
    that reads each of a datagram in one call; the headers it reads along prove that the layout still holds. ``nest`` is
    the attribute that holds the others, if there is one; ``wanted`` lists (attribute type, ``struct`` code of its
    payload, default), where "s" stands for all of it.
    """

    def __init__(self, nest: Optional[int], wanted: Sequence[tuple[int, str, Any]]) -> None:
        self._nest = nest
        self._codes = {kind: code for kind, code, dummy in wanted}
        self._defaults = tuple(default for dummy, code, default in wanted)
        self._layouts: dict[int, list[_Layout]] = {}

    def run(self, buffer: Buffer, reply: Reply, size: int) -> tuple[list[Row], int]:
        """The wanted values of the message ``reply``, in the order of ``wanted``, and those of the messages after
        it that look the same, and where the first one that does not begins.

        :raises Malformed: an attribute is cut short or has another size than its code.
        """
        length = reply.following - reply.start
        if reply.start + length > size:
            raise Malformed("netlink message without its padding")
        for layout in self._layouts.get(length, ()):
            rows = self._rows(layout, buffer, reply, size)
            if rows:
                break
        else:
            layout = self._learn(buffer, reply)
            self._layouts.setdefault(length, []).append(layout)
            rows = self._rows(layout, buffer, reply, size)
        return rows, reply.start + length * len(rows)

    def _rows(self, layout: _Layout, buffer: Buffer, reply: Reply, size: int) -> list[Row]:
        message, headers, expected, values = layout
        sequence, defaults = reply.sequence, self._defaults
        rows: list[Row] = []
        count = (size - reply.start) // message.size
        for fields in message.iter_unpack(memoryview(buffer)[reply.start : reply.start + count * message.size]):
            if headers(fields) != expected or fields[_SEQUENCE] != sequence:
                break
            rows.append(values(fields + defaults))
        return rows

    def _learn(self, buffer: Buffer, reply: Reply) -> _Layout:
        codes = ["=Q", "I", "4xB3x"]  # length, type and flags; sequence number; command
        headers = [0, 2]
        places: dict[int, int] = {}
        position = reply.start + HEADER_SIZE
        for kind, first, last, nested in self._walk(buffer, position, reply.end):
            headers.append(len(codes))
            codes.append(f"{first - 4 - position}xI")
            position = first
            code = self._codes.get(kind) if nested else None
            if code is not None:
                code = f"{last - first}s" if code == "s" else code
                if struct.calcsize("=" + code) != last - first:
                    raise Malformed(f"netlink attribute {kind} has {last - first} bytes")
                places[kind] = len(codes)
                codes.append(code)
                position = last
        count = len(codes)
        codes.append(f"{reply.following - position}x")
        message = struct.Struct("".join(codes))
        headers_of = itemgetter(*headers)
        fields = message.unpack_from(buffer, reply.start)
        values_of = itemgetter(*[places.get(kind, count + i) for i, kind in enumerate(self._codes)])
        return _Layout(message, headers_of, headers_of(fields), values_of)

    def _walk(self, buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, bool]]:
        """Every attribute and whether it is one of those sought; a nest, then what it holds."""
        if start > end:
            raise Malformed("generic netlink header cut short")
        entered = self._nest is None
        for kind, first, last in _attributes(buffer, start, end):
            if kind == self._nest:
                entered = True
                yield kind, first, first, False
                for inner in _attributes(buffer, first, last):
                    yield (*inner, True)
            else:
                yield kind, first, last, self._nest is None
        if not entered:
            raise Malformed(f"netlink attribute {self._nest} missing")


_SERVER_COLUMNS = 14
_SEQUENCE = 1  # its place among the fields of a layout
_ZERO_ADDRESS = b"\0" * 16

#: Two wanted values at least: an ``itemgetter`` of one gives no tuple.
FAMILY = Decoder(None, ((_CTRL_FAMILY_ID, "H", 0), (_CTRL_FAMILY_NAME, "s", b"")))
INFO = Decoder(None, ((_INFO_VERSION, "I", 0), (_INFO_TABLE_SIZE, "I", 0)))
SERVICE = Decoder(
    _SERVICE,
    (
        (_SVC_AF, "H", 0),
        (_SVC_PROTOCOL, "H", 0),
        (_SVC_ADDR, "16s", _ZERO_ADDRESS),
        (_SVC_PORT, "H", 0),
        (_SVC_FWMARK, "I", 0),
        (_SVC_SCHED, "s", b""),
        (_SVC_FLAGS, "8s", b"\0" * 8),
        (_SVC_TIMEOUT, "I", 0),
        (_SVC_NETMASK, "I", 0),
        (_SVC_PE, "s", b""),
        (_SVC_STATS64, "s", b""),
    ),
)
SERVER = Decoder(
    _DEST,
    (
        (_DST_FAMILY, "H", 0),
        (_DST_ADDR, "16s", _ZERO_ADDRESS),
        (_DST_PORT, "H", 0),
        (_DST_FORWARD, "I", 0),
        (_DST_WEIGHT, "I", 0),
        (_DST_UPPER, "I", 0),
        (_DST_LOWER, "I", 0),
        (_DST_TUNNEL_TYPE, "B", 0),
        (_DST_TUNNEL_PORT, "H", 0),
        (_DST_TUNNEL_FLAGS, "H", 0),
        (_DST_ACTIVE, "I", 0),
        (_DST_INACTIVE, "I", 0),
        (_DST_PERSISTENT, "I", 0),
        (_DST_STATS64, "s", b""),
    ),
)


def service_of(row: Row) -> Service:
    """The service that a row of :data:`SERVICE` tells.

    :raises Malformed: its address family is none of IPVS's.
    """
    family, protocol, packed, port, fwmark, scheduler, flags, timeout, netmask, engine, dummy = row
    if family not in (AF_INET, AF_INET6):
        raise Malformed(f"address family {family}")
    if fwmark:
        key = ServiceKey(fwmark, family, 0, b"", 0)
    else:
        key = ServiceKey(0, family, protocol, packed[:4] if family == AF_INET else packed, _ntohs(port))
    return normal_service(
        Service(
            key,
            _word(scheduler),
            int(struct.unpack_from("=I", flags)[0]),  # the mask that follows is always full
            timeout,
            socket.ntohl(netmask) if family == AF_INET else netmask,
            _word(engine),
        )
    )


def _word(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")


def server_of(row: Row, family: int) -> Server:
    """The server that a row of :data:`SERVER` tells; a kernel that tells no family means the service's, ``family``."""
    own, packed, port, forward, weight, upper, lower, kind, tunnel_port, tunnel_flags, dummy, dummy, dummy, dummy = row
    family = own or family
    key = ServerKey(family, packed[:4] if family == AF_INET else packed, _ntohs(port))
    forward &= FORWARD_MASK
    if kind or tunnel_port or tunnel_flags:
        return normal_server(Server(key, forward, weight, upper, lower, kind, _ntohs(tunnel_port), tunnel_flags))
    return Server(key, forward, weight, upper, lower, 0, 0, 0)


COUNTERS = ("connections", "packets_in", "packets_out", "bytes_in", "bytes_out")
RATES = (
    "connections_per_second",
    "packets_in_per_second",
    "packets_out_per_second",
    "bytes_in_per_second",
    "bytes_out_per_second",
)


def statistics_of(row: Row) -> dict[str, dict[str, int]]:
    """``counters`` (64 bits) and ``rates`` that a row of :data:`SERVICE` or :data:`SERVER` tells; the latter's has
    ``connections`` too.
    """
    stats = row[-1]
    numbers = {
        kind: struct.unpack_from("=Q", stats, first)[0]
        for kind, first, last in _attributes(stats, 0, len(stats))
        if last - first == 8
    }
    result = {
        "counters": {name: numbers.get(i, 0) for i, name in enumerate(COUNTERS, 1)},
        "rates": {name: numbers.get(i, 0) for i, name in enumerate(RATES, len(COUNTERS) + 1)},
    }
    if len(row) == _SERVER_COLUMNS:
        result["connections"] = dict(zip(("active", "inactive", "persistent"), row[-4:-1]))
    return result


def version_text(version: int) -> str:
    """IPVS's version as ipvsadm shows it."""
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"
