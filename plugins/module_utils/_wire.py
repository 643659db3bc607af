# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Generic netlink messages of the IPVS family, bytes to values; requests that read. No socket.
Sources: ``include/uapi/linux/ip_vs.h`` (IPVS_CMD_*, IPVS_*_ATTR_*), ``net/netfilter/ipvs/ip_vs_ctl.c`` (ip_vs_genl_*),
RFC 3549. Numbers are in host order, but addresses, ports and the IPv4 netmask, which are in network order; the IPv6
"netmask" is a prefix length in host order.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from functools import partial
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

CMD_SERVICE, CMD_DEST = 1, 2
SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT, SVC_FWMARK, SVC_SCHED, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK = range(1, 10)
SVC_STATS, SVC_PE, SVC_STATS64 = 10, 11, 12
DST_ADDR, DST_PORT, DST_FORWARD, DST_WEIGHT, DST_UPPER, DST_LOWER = range(1, 7)
DST_ACTIVE, DST_INACTIVE, DST_PERSISTENT, DST_STATS, DST_FAMILY, DST_STATS64 = range(7, 13)
DST_TUNNEL_TYPE, DST_TUNNEL_PORT, DST_TUNNEL_FLAGS = range(13, 16)
_INFO_VERSION, _INFO_TABLE_SIZE = 1, 2

_HEADER = struct.Struct("=IHHIIBBH")  # nlmsghdr and genlmsghdr
HEADER_SIZE = _HEADER.size
_NLMSG = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BEGIN = 12  # bytes of a message in which all messages of a dump that look the same agree: up to the sequence number

FORWARD_MASK = 0x7
htons = ntohs = socket.htons  # the same exchange of bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute with its header and its padding."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def text(kind: int, word: str) -> bytes:
    """An attribute that holds a word."""
    return attribute(kind, word.encode("ascii") + b"\0")


#: What names a service, by the size of its address.
_KEYS = {size: struct.Struct(f"=HH HHHxx HHHxx HH{size}s HHHxx") for size in (4, 16)}
_MARK = struct.Struct("=HH HHHxx HHI")


def encode_key(key: ServiceKey) -> bytes:
    """The attribute that names a service. A fwmark of 0 is never sent: the kernel would take it for TCP 0.0.0.0:0."""
    mark, family, protocol, address, port = key
    if mark:
        return _MARK.pack(_MARK.size, CMD_SERVICE, 6, SVC_AF, family, 8, SVC_FWMARK, mark)
    size = len(address)
    form = _KEYS[size]
    return form.pack(
        form.size, CMD_SERVICE, 6, SVC_AF, family, 6, SVC_PROTOCOL, protocol,
        4 + size, SVC_ADDR, address, 6, SVC_PORT, htons(port),
    )  # fmt: skip


#: A command with its attributes; the socket adds family, flags and sequence number.
Request = tuple[int, bytes]


def read_request(command: int, key: Optional[ServiceKey] = None) -> Request:
    """GET_SERVICE of one service or (to dump) of all, GET_DEST (to dump) of a service's servers, GET_INFO."""
    return command, b"" if key is None else encode_key(key)


def message(request: Request, kind: int, flags: int, sequence: int) -> bytes:
    """The whole netlink message; ``kind`` is the family's number."""
    command, body = request
    return _HEADER.pack(HEADER_SIZE + len(body), kind, flags | NLM_F_REQUEST, sequence, 0, command, VERSION, 0) + body


def family_request(name: str) -> Request:
    """Ask the controller for a family's number; since kernel 5.12 this loads its module."""
    return CTRL_GETFAMILY, text(_CTRL_FAMILY_NAME, name)


# replies


class Malformed(IpvsError):
    """Bytes that are no netlink message of the expected form."""

    def __init__(self, what: str) -> None:
        super().__init__(f"a reply of the kernel cannot be read: {what}")


def reply_at(buffer: Buffer, start: int, size: int) -> tuple[int, int, int, int]:
    """Type, flags, sequence number and end of the message that begins at ``start`` in the first ``size`` bytes of
    ``buffer``.

    :raises Malformed: a length does not fit.
    """
    if start + _NLMSG.size > size:
        raise Malformed("netlink header cut short")
    length, kind, flags, sequence, dummy = _NLMSG.unpack_from(buffer, start)
    if length < _NLMSG.size or start + length > size:
        raise Malformed("netlink message cut short")
    return kind, flags, sequence, start + length


def following(end: int) -> int:
    """Where the message begins that follows one that ends at ``end``."""
    return end + 3 & ~3


def error_number(buffer: Buffer, start: int, end: int) -> int:
    """The errno of an NLMSG_ERROR or NLMSG_DONE message, 0 for an acknowledgement."""
    if end - start < _NLMSG.size + 4:
        return 0
    return -int(struct.unpack_from("=i", buffer, start + _NLMSG.size)[0])


def attributes(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
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
    """Where messages of one look have what. ``parts`` takes a message to pieces: how it begins, and all but the
    payloads nobody wants. ``fields`` reads the pieces, joined. Of what it reads, ``headers`` picks what has to be
    ``expected``, and ``values`` what is wanted; ``defaults``, appended, stand for what is not told. ``known`` holds
    what was made of the values, by the bytes of the pieces.
    """

    parts: struct.Struct
    fields: struct.Struct
    headers: Callable[[Row], Any]
    expected: Any
    values: Callable[[Row], Row]
    defaults: Row
    known: dict[bytes, Any]


class Decoder:
    """Reads the same attributes out of many messages that look alike, and makes one value of each message.

    A kernel lays out all servers of a table in the same way, so the layout of one message is compiled, and a datagram
    is taken to pieces in one go. What messages tell repeats itself as well: the same server stands under many services,
    and a table is read twice. So a value is remembered by the bytes that told it, with the headers of all attributes
    among them, which prove that the layout holds.

    ``nest`` is the attribute that holds the others, if there is one. ``wanted`` lists (attribute type, ``struct`` code
    of its payload, default), where "s" stands for all of it, and ``make`` takes these values in this order.
    """

    def __init__(self, nest: Optional[int], wanted: Sequence[tuple[int, str, Any]], make: Callable[[Row], Any]) -> None:
        self._nest = nest
        self._codes = {kind: code for kind, code, dummy in wanted}
        self._defaults = {kind: default for kind, dummy, default in wanted}
        self._make = make
        self._layouts: dict[int, list[_Layout]] = {}

    def run(self, buffer: Buffer, start: int, end: int, size: int) -> tuple[list[Any], int]:
        """What the message from ``start`` to ``end`` tells, and the messages after it that look the same, and where the
        first one begins that does not.

        :raises Malformed: an attribute is cut short or has another size than its code.
        """
        length = following(end) - start
        if start + length > size:
            raise Malformed("netlink message without its padding")
        messages = memoryview(buffer)[start : size - (size - start) % length]
        layouts = self._layouts.setdefault(end - start, [])
        for layout in layouts:
            found = self._read(layout, messages)
            if found:
                break
        else:
            layout = self._learn(buffer, start, end)
            layouts.append(layout)
            found = self._read(layout, messages)
        return found, start + length * len(found)

    def _read(self, layout: _Layout, messages: memoryview) -> list[Any]:
        """What the messages tell, up to the first one that begins in another way or has another layout."""
        known = layout.known
        found: list[Any] = []
        begin = bytes(messages[:_BEGIN])
        for parts in layout.parts.iter_unpack(messages):
            if parts[0] != begin:
                break
            told = b"".join(parts[1:])
            if told not in known:
                fields = layout.fields.unpack(told)
                if layout.headers(fields) != layout.expected:
                    break
                known[told] = self._make(layout.values(fields + layout.defaults))
            found.append(known[told])
        return found

    def _learn(self, buffer: Buffer, start: int, end: int) -> _Layout:
        position = start + HEADER_SIZE
        piece = position - 4  # where the piece begins that is not complete yet: with the generic netlink header
        parts, codes = [f"={_BEGIN}s4x"], ["=I"]
        headers = [0]
        places: dict[int, int] = {}
        for kind, first, last, sought in self._walk(buffer, position, end):
            headers.append(len(codes))
            codes.append(f"{first - 4 - position}xI")
            position = last
            code = self._codes.get(kind) if sought else None
            if code is not None:
                code = f"{last - first}s" if code == "s" else code
                if struct.calcsize("=" + code) != last - first:
                    raise Malformed(f"netlink attribute {kind} has {last - first} bytes")
                places[kind] = len(codes)
                codes.append(code)
            elif last > first:
                parts.append(f"{first - piece}s{last - first}x")
                piece = last
        missing = {kind: default for kind, default in self._defaults.items() if kind not in places}
        places.update(zip(missing, range(len(codes), len(codes) + len(missing))))
        codes.append(f"{following(end) - position}x")
        parts.append(f"{following(end) - piece}s")
        whole, fields = struct.Struct("".join(parts)), struct.Struct("".join(codes))
        headers_of, values_of = itemgetter(*headers), itemgetter(*[places[kind] for kind in self._codes])
        expected = headers_of(fields.unpack(b"".join(whole.unpack_from(buffer, start)[1:])))
        return _Layout(whole, fields, headers_of, expected, values_of, tuple(missing.values()), {})

    def _walk(self, buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, bool]]:
        """Every attribute and whether it is one of those sought; a nest, then what it holds."""
        if start > end:
            raise Malformed("generic netlink header cut short")
        entered = self._nest is None
        for kind, first, last in attributes(buffer, start, end):
            if kind == self._nest:
                entered = True
                yield kind, first, first, False
                for inner in attributes(buffer, first, last):
                    yield (*inner, True)
            else:
                yield kind, first, last, self._nest is None
        if not entered:
            raise Malformed(f"netlink attribute {self._nest} missing")


def service_of(row: Row) -> Service:
    """The service that :data:`SERVICE_VALUES` tell."""
    family, protocol, packed, port, fwmark, scheduler, flags, timeout, netmask, engine = row
    if family not in (AF_INET, AF_INET6):
        raise Malformed(f"address family {family}")
    if fwmark:
        key = ServiceKey(fwmark, family, 0, b"", 0)
    else:
        key = ServiceKey(0, family, protocol, packed[:4] if family == AF_INET else packed, ntohs(port))
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


def server_of(family: int, row: Row) -> Server:
    """The server that :data:`SERVER_VALUES` tell; a kernel that tells no family means the service's, ``family``."""
    own, packed, port, forward, weight, upper, lower, kind, tunnel_port, tunnel_flags = row
    family = own or family
    key = ServerKey(family, packed[:4] if family == AF_INET else packed, ntohs(port))
    forward &= FORWARD_MASK
    if kind or tunnel_port or tunnel_flags:
        return normal_server(Server(key, forward, weight, upper, lower, kind, ntohs(tunnel_port), tunnel_flags))
    return Server(key, forward, weight, upper, lower, 0, 0, 0)


_ZERO_ADDRESS = b"\0" * 16
SERVICE_VALUES: tuple[tuple[int, str, Any], ...] = (
    (SVC_AF, "H", 0),
    (SVC_PROTOCOL, "H", 0),
    (SVC_ADDR, "16s", _ZERO_ADDRESS),
    (SVC_PORT, "H", 0),
    (SVC_FWMARK, "I", 0),
    (SVC_SCHED, "s", b""),
    (SVC_FLAGS, "8s", b"\0" * 8),
    (SVC_TIMEOUT, "I", 0),
    (SVC_NETMASK, "I", 0),
    (SVC_PE, "s", b""),
)
SERVER_VALUES: tuple[tuple[int, str, Any], ...] = (
    (DST_FAMILY, "H", 0),
    (DST_ADDR, "16s", _ZERO_ADDRESS),
    (DST_PORT, "H", 0),
    (DST_FORWARD, "I", 0),
    (DST_WEIGHT, "I", 0),
    (DST_UPPER, "I", 0),
    (DST_LOWER, "I", 0),
    (DST_TUNNEL_TYPE, "B", 0),
    (DST_TUNNEL_PORT, "H", 0),
    (DST_TUNNEL_FLAGS, "H", 0),
)
#: Two wanted values at least: an ``itemgetter`` of one gives no tuple.
FAMILY = Decoder(None, ((_CTRL_FAMILY_ID, "H", 0), (_CTRL_FAMILY_NAME, "s", b"")), tuple)
INFO = Decoder(None, ((_INFO_VERSION, "I", 0), (_INFO_TABLE_SIZE, "I", 0)), tuple)
SERVICE = Decoder(CMD_SERVICE, SERVICE_VALUES, service_of)
#: By the family of their service.
SERVERS = {one: Decoder(CMD_DEST, SERVER_VALUES, partial(server_of, one)) for one in (AF_INET, AF_INET6)}


def version_text(version: int) -> str:
    """IPVS's version as ipvsadm shows it."""
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"
