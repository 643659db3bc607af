# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The socket: one generic netlink session with the kernel's IPVS, bounded in time.
Nothing else in the collection opens one. Requests that write are sent in batches with the acknowledgement asked of the
last only; the kernel reports every error all the same, by sequence number (``net/netlink/af_netlink.c``,
netlink_rcv_skb).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Collection, Container, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple, Optional

from . import _wire
from ._errors import Forbidden, IpvsError, KernelRefused, Unavailable
from ._model import Entry, Server, ServerKey, Service, ServiceKey, Table

#: Seconds to wait for any one reply.
TIMEOUT = 30
#: Requests in one send. More gain nothing, and 277 error replies fill the default receive buffer.
BATCH = 100
#: Readings of a table that another writer changes meanwhile, before giving up.
READINGS = 5
#: So many services are read one by one in less time than it takes to list a table of thousands.
FEW = 50
PROC_IPVS = "/proc/net/ip_vs"
_BUFFER_SIZE = 65536
#: Bytes that may wait to be received, whatever net.core.rmem_default says: a dump or a batch of errors must fit.
_RECEIVE_BUFFER = 1 << 20
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it


class Written(NamedTuple):
    """What became of a sequence of requests: how many were answered, and the errno of each that failed, by its index.
    Where the session broke off, of how many more nobody knows, and why.
    """

    answered: int
    errors: dict[int, int]
    unknown: int = 0
    broken: Optional[IpvsError] = None


#: The counts that ``_statistics`` decodes, of a service (without a server key) or of one of its servers.
Statistics = dict[tuple[ServiceKey, Optional[ServerKey]], dict[str, dict[str, int]]]


class _Torn(Exception):
    """The table changed while it was read."""


def ipvs_loaded() -> bool:
    """Whether IPVS is in the running kernel; asking does not load it, as asking netlink would."""
    return os.path.exists(PROC_IPVS)


class Client:
    """A session with the kernel's IPVS in the network namespace this process is in. Use it as a context manager.

    :raises Unavailable: the kernel has no IPVS, or its module is not loaded.
    :raises Forbidden: the process lacks CAP_NET_ADMIN.
    """

    def __init__(self, timeout: int = TIMEOUT) -> None:
        self._timeout = timeout
        self._sequence = 0
        self._buffer = bytearray(_BUFFER_SIZE)
        try:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, _wire.NETLINK_GENERIC)
        except OSError as error:
            raise Unavailable(f"this host gives no netlink socket: {error.strerror}") from None
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", timeout, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", timeout, 0))
            with contextlib.suppress(PermissionError):  # whoever lacks the capability is told by IPVS itself
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._socket.bind((0, 0))
            self._family = self._resolve()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *dummy: Any) -> None:
        self._socket.close()

    def _resolve(self) -> int:
        try:
            for number, _name in self._exchange(_wire.family_request("IPVS"), _wire.FAMILY, _wire.GENL_ID_CTRL):
                return int(number)
        except KernelRefused as error:
            if error.errno != errno.ENOENT:
                raise
        raise Unavailable("this kernel has no IPVS: the module ip_vs is not loaded and cannot be loaded")

    # reading

    def info(self) -> tuple[str, int]:
        """IPVS's version and the size of its connection table."""
        for version, size in self._exchange(_wire.read_request(_wire.GET_INFO), _wire.INFO, self._family):
            return _wire.version_text(version), size
        raise IpvsError("the kernel's IPVS does not tell its version")

    def service(self, key: ServiceKey) -> Optional[Service]:
        """One service by its key, or ``None``."""
        try:
            for service in self._exchange(_wire.read_request(_wire.GET_SERVICE, key), _wire.SERVICE, self._family):
                return service  # type: ignore[no-any-return]
        except KernelRefused as error:
            # the second of an IPv6 service where IPv6 is disabled: there can be none
            if error.errno not in (errno.ESRCH, errno.EAFNOSUPPORT):
                raise
        return None

    def entry(self, key: ServiceKey) -> Table:
        """The table of one service: itself with its servers, or empty.

        :raises IpvsError: the service keeps changing while it is read.
        """
        return self._stable(lambda: self._read_entry(key))

    def entries(self, keys: Collection[ServiceKey]) -> Table:
        """The table of the services ``keys``: a few are asked for one by one, more are picked from the whole.

        :raises IpvsError: they keep changing while they are read.
        """
        if len(keys) > FEW:
            return self.table(keys)
        found: Table = {}
        for key in keys:
            found.update(self.entry(key))
        return found

    def table(self, keys: Optional[Container[ServiceKey]] = None, statistics: Optional[Statistics] = None) -> Table:
        """The whole table, or of it the services ``keys``. Dumps are positional and never say that they were torn
        (ip_vs_ctl.c, ip_vs_genl_dump_services), so one that names a thing twice, or whose services have changed
        by its end, is read again. ``statistics``, where given, is filled on the way.

        :raises IpvsError: the table keeps changing while it is read.
        """
        return self._stable(lambda: self._read_table(keys, statistics))

    def _stable(self, read: Any) -> Table:
        for _attempt in range(READINGS):
            try:
                return read()  # type: ignore[no-any-return]
            except _Torn:
                continue
        raise IpvsError(
            f"another writer keeps changing the IPVS table: it was read {READINGS} times, never in one piece"
        )

    def _read_entry(self, key: ServiceKey) -> Table:
        service = self.service(key)
        if service is None:
            return {}
        servers = self._read_servers(key)
        if self.service(key) != service:
            raise _Torn
        return {key: Entry(service, servers)}

    def _read_table(self, keys: Optional[Container[ServiceKey]], statistics: Optional[Statistics]) -> Table:
        listed = self._read_services(statistics)
        services = {service.key: service for service in listed}
        if len(services) != len(listed):
            raise _Torn
        table = {
            key: Entry(service, self._read_servers(key, statistics))
            for key, service in services.items()
            if keys is None or key in keys
        }
        if listed and self._read_services() != listed:
            raise _Torn
        return table

    def _read_services(self, statistics: Optional[Statistics] = None) -> list[Service]:
        request = _wire.read_request(_wire.GET_SERVICE)
        if statistics is None:
            return self._exchange(request, _wire.SERVICE, self._family, _wire.NLM_F_DUMP)
        from ._statistics import COUNTED_SERVICE  # for ipvs_info alone

        counted = self._exchange(request, COUNTED_SERVICE, self._family, _wire.NLM_F_DUMP)
        statistics.update(((service.key, None), counts) for service, counts in counted)
        return [service for service, dummy in counted]

    def _read_servers(self, key: ServiceKey, statistics: Optional[Statistics] = None) -> dict[ServerKey, Server]:
        request = _wire.read_request(_wire.GET_DEST, key)
        if statistics is None:
            listed = self._exchange(request, _wire.SERVERS[key.family], self._family, _wire.NLM_F_DUMP)
        else:
            from ._statistics import COUNTED_SERVERS

            counted = self._exchange(request, COUNTED_SERVERS[key.family], self._family, _wire.NLM_F_DUMP)
            statistics.update(((key, server.key), counts) for server, counts in counted)
            listed = [server for server, dummy in counted]
        servers = {server.key: server for server in listed}
        if len(servers) != len(listed):
            raise _Torn
        return servers

    # writing

    def write(self, requests: Iterable[_wire.Request]) -> Written:
        """Send the requests in order, in batches. A batch with an error, or without an answer, is the last one."""
        source = iter(requests)
        answered = 0
        while batch := list(islice(source, BATCH)):
            try:
                errors = self._write_batch(batch)
            except IpvsError as error:
                return Written(answered, {}, len(batch), error)
            start, answered = answered, answered + len(batch)
            if errors:
                return Written(answered, {start + index: number for index, number in errors.items()})
        return Written(answered, {})

    def _write_batch(self, batch: Sequence[_wire.Request]) -> dict[int, int]:
        first = self._sequence + 1
        last = self._sequence + len(batch)
        self._sequence = last
        flags = [0] * (len(batch) - 1) + [_wire.NLM_F_ACK]
        self._send(
            b"".join(
                # a message is padded to 4 bytes by its attributes, so the next one follows at once
                _wire.message(request, self._family, flag, first + index)
                for index, (request, flag) in enumerate(zip(batch, flags))
            )
        )
        errors: dict[int, int] = {}
        while True:
            size = self._receive()
            start = 0
            while start < size:
                kind, dummy, sequence, end = _wire.reply_at(self._buffer, start, size)
                if kind == _wire.NLMSG_ERROR and first <= sequence <= last:
                    number = _wire.error_number(self._buffer, start, end)
                    if number:
                        errors[sequence - first] = number
                    if sequence == last:
                        return errors
                start = _wire.following(end)

    # transport

    def _exchange(
        self, request: _wire.Request, decoder: _wire.Decoder, family: int, flags: int = _wire.NLM_F_ACK
    ) -> list[Any]:
        """Send one request -> all its replies, until the kernel says that this was all, as ``decoder`` reads them."""
        self._sequence += 1
        sequence = self._sequence
        self._send(_wire.message(request, family, flags, sequence))
        torn = False
        found: list[Any] = []
        while True:
            size = self._receive()
            start = 0
            while start < size:
                kind, marks, answered, end = _wire.reply_at(self._buffer, start, size)
                if answered != sequence:
                    start = _wire.following(end)
                elif kind in (_wire.NLMSG_ERROR, _wire.NLMSG_DONE):
                    number = _wire.error_number(self._buffer, start, end)
                    if number:
                        raise refusal(number)
                    # not before the end: the kernel refuses a second dump while one is under way
                    if torn:
                        raise _Torn
                    return found
                else:
                    torn = torn or bool(marks & _wire.NLM_F_DUMP_INTR)
                    values, start = decoder.run(self._buffer, start, end, size)
                    found += values

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise IpvsError(f"an IPVS request cannot be sent: {error.strerror}") from None

    def _receive(self) -> int:
        try:
            size = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            raise IpvsError(f"the kernel did not answer an IPVS request within {self._timeout} s") from None
        except OSError as error:
            raise IpvsError(f"the kernel's answer to an IPVS request was lost: {error.strerror}") from None
        if not size:  # waiting for more of the same would have no end
            raise IpvsError("the kernel's answer to an IPVS request is empty")
        if size > len(self._buffer):
            raise IpvsError(f"a reply of the kernel has {size} bytes, more than netlink allows")
        return size


def refusal(number: int) -> IpvsError:
    """The error for an errno that is not about one operation of a plan."""
    if number == errno.EPERM:
        return Forbidden("IPVS needs CAP_NET_ADMIN in the initial user namespace: run the task as root (become: true)")
    return KernelRefused(f"the kernel refused an IPVS request: {os.strerror(number)}", number)
