# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The connections that conntrack knows: which of those to a service are not translated, and how to forget them.
Sources: ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``, ``net/netfilter/nf_conntrack_netlink.c``.

A director knows hundreds of thousands. The kernel picks those that are asked for (the tuple since 5.8, the status since
5.15; an older one tells more), and what a connection is called goes back to it as the bytes that it came in.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from . import _wire
from ._errors import Forbidden, IpvsError, KernelRefused, Unavailable
from ._model import AF_INET, ServiceKey
from ._wire import attribute

TIMEOUT = 30  # seconds to wait for any one reply
NETLINK_NETFILTER = 12
GET, DELETE = 0x101, 0x102  # IPCTNL_MSG_CT_GET and _DELETE of the subsystem NFNL_SUBSYS_CTNETLINK
NLA_F_NESTED = 0x8000
TUPLE_ORIG, TUPLE_REPLY, STATUS, FILTER, STATUS_MASK = 1, 2, 3, 25, 26
TUPLE_IP, TUPLE_PROTO = 1, 2
PROTO_NUM, PROTO_DST_PORT = 1, 3
FILTER_ORIG_FLAGS = 1
BY_DESTINATION, BY_PROTOCOL, BY_PORT = 1 << 1, 1 << 3, 1 << 5  # CTA_FILTER_F_*, nf_internals.h
SEEN_REPLY = 1 << 1  # IPS_SEEN_REPLY, nf_conntrack_common.h
BATCH = 100  # requests in one send
_HEADER = struct.Struct("=IHHIIBBH")  # nlmsghdr and nfgenmsg
_BUFFER_SIZE = 65536


def _ip_kinds(family: int) -> tuple[int, int]:
    """The attributes for the source and for the destination of a tuple."""
    return (1, 2) if family == AF_INET else (3, 4)


def _nested(kind: int, payload: bytes) -> bytes:
    return attribute(NLA_F_NESTED | kind, payload)


def request(kind: int, flags: int, sequence: int, family: int, body: bytes) -> bytes:
    """A whole message of the subsystem ctnetlink."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | _wire.NLM_F_REQUEST, sequence, 0, family, 0, 0) + body


def picked(service: ServiceKey) -> bytes:
    """What a dump is to tell: connections to the service that have had no answer."""
    protocol = attribute(PROTO_NUM, bytes([service.protocol]))
    flags = BY_DESTINATION | BY_PROTOCOL
    if service.port:
        protocol += attribute(PROTO_DST_PORT, struct.pack(">H", service.port))
        flags |= BY_PORT
    address = attribute(_ip_kinds(service.family)[1], service.address)
    return (
        _nested(TUPLE_ORIG, _nested(TUPLE_IP, address) + _nested(TUPLE_PROTO, protocol))
        + attribute(STATUS, bytes(4))
        + _nested(FILTER, attribute(FILTER_ORIG_FLAGS, struct.pack("=I", flags)))
        + attribute(STATUS_MASK, struct.pack(">I", SEEN_REPLY))
    )


def untranslated(told: bytes, service: ServiceKey) -> bytes:
    """The name (its original tuple) of a connection to the service that has had no answer and expects it from the
    service's own address, b"" for any other. Once IPVS has translated a packet it is expected from the server
    (``ip_vs_update_conntrack`` in ip_vs_nfct.c). ``told`` are the attributes of the connection.
    """
    parts = _parts(told)
    source, destination = _ip_kinds(service.family)
    original, reply = _parts(parts[TUPLE_ORIG]), _parts(parts[TUPLE_REPLY])
    protocol = _parts(original[TUPLE_PROTO])
    if (
        int.from_bytes(parts[STATUS], "big") & SEEN_REPLY
        or _parts(original[TUPLE_IP])[destination] != service.address
        or _parts(reply[TUPLE_IP])[source] != service.address
        or protocol[PROTO_NUM][0] != service.protocol
        or (service.port and int.from_bytes(protocol[PROTO_DST_PORT], "big") != service.port)
    ):
        return b""
    return parts[TUPLE_ORIG]


def _parts(payload: bytes) -> dict[int, bytes]:
    return {kind: payload[start:end] for kind, start, end in _wire.attributes(payload, 0, len(payload))}


class Conntrack:
    """A session with conntrack in the current network namespace. Use it as a context manager.

    :raises Unavailable: the host gives no netlink socket.
    """

    def __init__(self) -> None:
        self._sequence = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as error:
            raise Unavailable(f"this host gives no netlink socket: {error.strerror}") from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", TIMEOUT, 0))

    def __enter__(self) -> Conntrack:
        return self

    def __exit__(self, *dummy: Any) -> None:
        self._socket.close()

    def untranslated(self, service: ServiceKey) -> list[bytes]:
        """The names of the connections to a service that are not translated.

        :raises Forbidden: the process lacks CAP_NET_ADMIN.
        :raises IpvsError: the kernel says no, or nothing.
        """
        self._sequence += 1
        self._socket.send(request(GET, _wire.NLM_F_DUMP, self._sequence, service.family, picked(service)))
        found = []
        for kind, dummy, message in self._replies():
            if kind in (_wire.NLMSG_DONE, _wire.NLMSG_ERROR):
                number = _wire.error_number(message, 0, len(message))
                if number == errno.EINVAL:
                    raise Unavailable("this kernel does not tell its connections: it lacks nf_conntrack_netlink")
                if number:
                    raise _refusal(number)
                break
            found.append(untranslated(message[_HEADER.size :], service))
        return [name for name in found if name]

    def forget(self, family: int, names: list[bytes]) -> None:
        """Delete connections. The next packet of one makes it a new one; it may be gone already.

        :raises Forbidden: the process lacks CAP_NET_ADMIN.
        :raises IpvsError: the kernel says no, or nothing.
        """
        for begin in range(0, len(names), BATCH):
            batch = names[begin : begin + BATCH]
            messages = []
            for name in batch:
                self._sequence += 1
                messages.append(request(DELETE, _wire.NLM_F_ACK, self._sequence, family, _nested(TUPLE_ORIG, name)))
            self._socket.send(b"".join(messages))
            for dummy, sequence, message in self._replies():
                number = _wire.error_number(message, 0, len(message))
                if number not in (0, errno.ENOENT):
                    raise _refusal(number)
                if sequence == self._sequence:
                    break

    def _replies(self) -> Iterator[tuple[int, int, bytes]]:
        """Type, sequence number and bytes of every message that comes, for as long as somebody asks."""
        while True:
            try:
                data = self._socket.recv(_BUFFER_SIZE)
            except BlockingIOError:
                raise IpvsError(f"conntrack has not answered for {TIMEOUT} s") from None
            start = 0
            while start < len(data):
                kind, dummy, sequence, end = _wire.reply_at(data, start, len(data))
                yield kind, sequence, data[start:end]
                start = _wire.following(end)


def _refusal(number: int) -> IpvsError:
    if number == errno.EPERM:
        return Forbidden("reading and forgetting connections needs CAP_NET_ADMIN; run the task with become")
    return KernelRefused(f"conntrack: {os.strerror(number)}", number)


def forget_untranslated(services: Iterable[ServiceKey], check_mode: bool) -> int:
    """Forget the connections to services that are tracked, without an answer and not translated -> how many there were.
    Those to a service by firewall mark cannot be told from others: nothing is known of where they go.

    :raises IpvsError: what :class:`Conntrack` raises.
    """
    count = 0
    with Conntrack() as conntrack:
        for service in sorted(service for service in services if not service.fwmark):
            names = conntrack.untranslated(service)
            count += len(names)
            if not check_mode:
                conntrack.forget(service.family, names)
    return count
