# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel's IPVS behind a netlink socket, with the real one's errors, order and omissions.

Source of every rule: net/netfilter/ipvs/ip_vs_ctl.c of kernels 5.10 to 7.2 and runs on 6.1. It shares no code with the
collection: bytes, text (as ``ipvsadm -Sn`` prints and ``ipvsadm --restore`` reads it) and rules are written anew.
"""

from __future__ import annotations

import collections
import copy
import errno
import ipaddress
import itertools
import os
import struct
from typing import Any, Callable, Optional

FAMILY_ID = 0x34
HZ = 250
MESSAGES_PER_DATAGRAM = 3  # a real one holds about a hundred; here every dump of some size takes several

COMMANDS = {
    1: "NEW_SERVICE",
    2: "SET_SERVICE",
    3: "DEL_SERVICE",
    4: "GET_SERVICE",
    5: "NEW_DEST",
    6: "SET_DEST",
    7: "DEL_DEST",
    8: "GET_DEST",
    15: "GET_INFO",
}
WRITES = {"NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST"}
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")  # Debian's
ERROR, DONE = 2, 3
REQUEST, MULTI, ACK, DUMP = 0x1, 0x2, 0x4, 0x300

# smallest sizes (struct codes) or, for text and addresses, greatest sizes of the netlink policies
SERVICE_POLICY = {1: 2, 2: 2, 3: -16, 4: 2, 5: 4, 6: -16, 7: 8, 8: 4, 9: 4, 11: -16}
DEST_POLICY = {1: -16, 2: 2, 3: 4, 4: 4, 5: 4, 6: 4, 11: 2, 13: 1, 14: 2, 15: 2}


class Refused(Exception):
    """The kernel's answer is an errno."""


def refuse_if(broken: bool, number: int) -> None:
    if broken:
        raise Refused(number)


# bytes


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def u16(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=H", number))


def u32(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))


def port(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("!H", number))


def attributes(data: bytes, policy: Optional[dict[int, int]] = None) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack("=HH", data[:4])
        refuse_if(not 4 <= size <= len(data), errno.EINVAL)
        payload = data[4:size]
        limit = (policy or {}).get(kind & 0x3FFF, 0)
        refuse_if(limit > 0 and len(payload) < limit, errno.EINVAL)
        refuse_if(limit < 0 and len(payload) > -limit, errno.EINVAL)
        found[kind & 0x3FFF] = payload
        data = data[(size + 3) & ~3 :]
    return found


def number_of(payload: bytes, code: str) -> int:
    return struct.unpack(code, payload[: struct.calcsize(code)])[0]


def statistics(numbers: tuple[int, ...], wide: bool) -> bytes:
    """IPVS_STATS_ATTR_*: the old form has 64 bits for bytes alone."""
    codes = ["=Q"] * 10 if wide else ["=I"] * 3 + ["=Q"] * 2 + ["=I"] * 5
    body = b""
    for kind, (code, number) in enumerate(zip(codes, numbers), 1):
        body += attribute(kind, struct.pack(code, number if code == "=Q" else number & 0xFFFFFFFF))
    return body


def both_statistics(numbers: tuple[int, ...]) -> bytes:
    return attribute(10, statistics(numbers, False)) + attribute(12, statistics(numbers, True))


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    padded = payload + bytes(-len(payload) % 4)
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 4711) + padded


# the table


class Dest:
    def __init__(self, **fields: Any) -> None:
        self.forward = self.weight = self.upper = self.lower = 0
        self.tunnel_type = self.tunnel_port = self.tunnel_flags = 0
        self.connections = (0, 0, 0)  # active, inactive, persistent
        self.statistics: tuple[int, ...] = (0,) * 10
        self.__dict__.update(fields)

    def reply(self, family: int, address: bytes, number: int) -> bytes:
        body = attribute(1, address.ljust(16, b"\0")) + port(2, number) + u32(3, self.forward) + u32(4, self.weight)
        body += attribute(13, bytes([self.tunnel_type])) + port(14, self.tunnel_port) + u16(15, self.tunnel_flags)
        body += u32(5, self.upper) + u32(6, self.lower)
        body += b"".join(u32(kind, count) for kind, count in enumerate(self.connections, 7))
        body += u16(11, family)
        return body + both_statistics(self.statistics)


class VirtualService:
    def __init__(self, **fields: Any) -> None:
        self.scheduler, self.engine = "wlc", ""
        self.flags, self.timeout, self.netmask = 0x2, 0, b"\xff\xff\xff\xff"
        self.statistics: tuple[int, ...] = (0,) * 10
        self.dests: dict[tuple[int, bytes, int], Dest] = {}
        self.__dict__.update(fields)

    def reply(self, key: ServiceId) -> bytes:
        family, mark, protocol, address, number = key
        body = u16(1, family)
        if mark:
            body += u32(5, mark)
        else:
            body += u16(2, protocol) + attribute(3, address.ljust(16, b"\0")) + port(4, number)
        body += attribute(6, self.scheduler.encode() + b"\0")
        if self.engine:
            body += attribute(11, self.engine.encode() + b"\0")
        body += attribute(7, struct.pack("=II", self.flags, 0xFFFFFFFF))
        body += u32(8, self.timeout) + attribute(9, self.netmask)
        return body + both_statistics(self.statistics)


ServiceId = tuple[int, int, int, bytes, int]  # family, mark, protocol, address, port
Tables = dict[ServiceId, VirtualService]


class Kernel:
    """One network namespace's IPVS. Tests set up ``services`` with :meth:`restore`, look at it with :meth:`save`, and
    bend its behaviour through the public attributes.
    """

    def __init__(self) -> None:
        self.services: Tables = {}
        self.loaded = True
        self.schedulers: set[str] = set(SCHEDULERS)
        self.engines = {"sip"}
        self.capable = True
        self.ipv6 = True
        self.sync = False  # a sync daemon runs
        self.old = False  # knows no tunnel attributes, ignores them without an error
        self.lie = False  # accepts every write and stores nothing
        self.silent = False  # takes requests and never answers
        self.errors: dict[str, int] = {}  # socket, send or recv_into -> the errno it fails with
        self.refuse: dict[int, int] = {}  # index of a write among all writes -> errno
        self.duplicates = 0  # so many of the next dumps name their first entry twice
        self.torn = (
            0  # so many of the next dumps of servers miss their last entry, as if another had removed one before it
        )
        self.before: Optional[Callable[[str], None]] = None  # called with the command before each request
        self.mangle: Optional[Callable[[bytes], bytes]] = None  # every datagram to the process goes through it
        self.commands: list[str] = []
        self.sends: list[int] = []  # messages of each send
        self.sockets: list[Socket] = []
        self.ran: list[list[str]] = []  # commands that the process ran

    def fail(self, call: str) -> None:
        if call in self.errors:
            raise OSError(self.errors[call], os.strerror(self.errors[call]))

    def socket(self, *dummy: Any) -> Socket:
        self.fail("socket")
        self.sockets.append(Socket(self))
        return self.sockets[-1]

    @property
    def writes(self) -> list[str]:
        return [command for command in self.commands if command in WRITES]

    # requests

    def answer(self, kind: int, flags: int, sequence: int, payload: bytes) -> list[bytes]:
        """The datagrams that answer one message."""
        original = struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0)

        def status(number: int) -> bytes:
            return message(ERROR, 0, sequence, struct.pack("=i", -number) + original + (payload if number else b""))

        try:
            replies = self._run(kind, flags, sequence, payload)
        except Refused as refusal:
            return [status(refusal.args[0])]
        if flags & DUMP == DUMP:
            return [*replies, message(DONE, MULTI, sequence, struct.pack("=i", 0))]
        return [*replies, status(0)] if flags & ACK else replies

    def _run(self, kind: int, flags: int, sequence: int, payload: bytes) -> list[bytes]:
        number, *dummy = struct.unpack("=BBH", payload[:4])
        if kind == 16:  # the controller
            return self._family(number, sequence, payload[4:])
        refuse_if(kind != FAMILY_ID or not self.loaded, errno.ENOENT)
        refuse_if(not self.capable, errno.EPERM)
        command = COMMANDS.get(number)
        refuse_if(command is None, errno.EOPNOTSUPP)
        self.commands.append(command)
        if self.before:
            self.before(command)
        top = attributes(payload[4:])
        if flags & DUMP == DUMP:
            return self._dump(command, sequence, top)
        if command == "GET_INFO":
            return [message(FAMILY_ID, 0, sequence, bytes((14, 1, 0, 0)) + u32(1, 0x010201) + u32(2, 4096))]
        refuse_if(command == "GET_DEST", errno.EOPNOTSUPP)
        if command == "GET_SERVICE":
            key, dummy = self._service(top, full=False)
            refuse_if(key not in self.services, errno.ESRCH)
            return [self._reply(1, 1, sequence, 0, self.services[key].reply(key))]
        index = len(self.writes) - 1
        refuse_if(index in self.refuse, self.refuse.get(index, 0))
        held = self.services
        if self.lie:
            self.services = copy.deepcopy(held)
        try:
            self._write(command, top)
        finally:
            self.services = held
        return []

    def _family(self, number: int, sequence: int, payload: bytes) -> list[bytes]:
        refuse_if(number != 3 or attributes(payload)[2] != b"IPVS\0" or not self.loaded, errno.ENOENT)
        body = attribute(2, b"IPVS\0") + u16(1, FAMILY_ID) + u32(3, 1) + u32(4, 0) + u32(5, 15)
        return [message(16, 0, sequence, bytes((1, 2, 0, 0)) + body)]

    def _reply(self, command: int, nest: int, sequence: int, flags: int, body: bytes) -> bytes:
        return message(FAMILY_ID, flags, sequence, bytes((command, 1, 0, 0)) + attribute(nest, body))

    def _dump(self, command: str, sequence: int, top: dict[int, bytes]) -> list[bytes]:
        refuse_if(command not in ("GET_SERVICE", "GET_DEST"), errno.EOPNOTSUPP)
        if command == "GET_SERVICE":
            found = [
                self._reply(1, 1, sequence, MULTI, service.reply(key))
                for key, service in reversed(list(self.services.items()))
            ]
        else:
            try:
                key, dummy = self._service(top, full=False)
                dests = self.services[key].dests
            except (Refused, KeyError):
                dests = {}
            found = [
                self._reply(5, 2, sequence, MULTI, dest.reply(*dest_key))
                for dest_key, dest in reversed(list(dests.items()))
            ]
        if self.torn and command == "GET_DEST" and found:
            self.torn -= 1
            found.pop()
        if self.duplicates and found:
            self.duplicates -= 1
            found.append(found[0])
        steps = range(0, len(found), MESSAGES_PER_DATAGRAM)
        return [b"".join(found[start : start + MESSAGES_PER_DATAGRAM]) for start in steps]

    def _service(self, top: dict[int, bytes], full: bool) -> tuple[ServiceId, dict[str, Any]]:
        """ip_vs_genl_parse_service"""
        refuse_if(1 not in top, errno.EINVAL)
        told = attributes(top[1], SERVICE_POLICY)
        refuse_if(1 not in told or (5 not in told and not {2, 3, 4} <= told.keys()), errno.EINVAL)
        family = number_of(told[1], "=H")
        refuse_if(family not in ((2, 10) if self.ipv6 else (2,)), errno.EAFNOSUPPORT)
        size = 4 if family == 2 else 16
        key = (family, 0, 6, bytes(size), 0)
        if 5 in told:
            mark = number_of(told[5], "=I")
            if mark:
                key = (family, mark, 0, b"", 0)
        else:
            key = (family, 0, number_of(told[2], "=H"), told[3][:size].ljust(size, b"\0"), number_of(told[4], "!H"))
        if not full:
            return key, {}
        refuse_if(not {6, 7, 8, 9} <= told.keys(), errno.EINVAL)
        flags, mask = struct.unpack("=II", told[7][:8])
        live = self.services[key].flags if key in self.services else 0
        wish = {
            "scheduler": told[6].rstrip(b"\0").decode(),
            "engine": told.get(11, b"").rstrip(b"\0").decode(),
            "flags": (live & ~mask | flags & mask) | 0x2,
            "timeout": (number_of(told[8], "=I") * HZ & 0xFFFFFFFF) // HZ,
            "netmask": told[9][:4],
        }
        return key, wish

    def _write(self, command: str, top: dict[int, bytes]) -> None:
        """ip_vs_genl_set_cmd"""
        key, wish = self._service(top, full=command in ("NEW_SERVICE", "SET_SERVICE"))
        refuse_if(command != "NEW_SERVICE" and key not in self.services, errno.ESRCH)
        if command.endswith("_DEST"):
            self._write_dest(command, key, top)
        elif command == "DEL_SERVICE":
            del self.services[key]
        else:
            refuse_if(command == "NEW_SERVICE" and key in self.services, errno.EEXIST)
            refuse_if(wish["scheduler"] not in {*self.schedulers, "none"}, errno.ENOENT)
            refuse_if(bool(wish["engine"]) and wish["engine"] not in self.engines, errno.ENOENT)
            refuse_if(key[0] == 10 and not 1 <= number_of(wish["netmask"], "=I") <= 128, errno.EINVAL)
            service = self.services.setdefault(key, VirtualService())
            service.__dict__.update(wish)

    def _write_dest(self, command: str, service_key: ServiceId, top: dict[int, bytes]) -> None:
        """ip_vs_genl_parse_dest, ip_vs_add_dest, ip_vs_edit_dest, ip_vs_del_dest"""
        refuse_if(2 not in top, errno.EINVAL)
        told = attributes(top[2], DEST_POLICY)
        refuse_if(not {1, 2} <= told.keys(), errno.EINVAL)
        family = number_of(told[11], "=H") if 11 in told else 0
        family = family or service_key[0]
        refuse_if(family not in ((2, 10) if self.ipv6 else (2,)), errno.EAFNOSUPPORT)
        size = 4 if family == 2 else 16
        key = (family, told[1][:size].ljust(size, b"\0"), number_of(told[2], "!H"))
        dests = self.services[service_key].dests
        if command == "DEL_DEST":
            refuse_if(key not in dests, errno.ENOENT)
            del dests[key]
            return
        refuse_if(not {3, 4, 5, 6} <= told.keys(), errno.EINVAL)
        forward, weight, upper, lower = (number_of(told[kind], "=I") for kind in (3, 4, 5, 6))
        tunnel = (0, 0, 0)
        if not self.old:
            tunnel = (
                told[13][0] if 13 in told else 0,
                number_of(told[14], "!H") if 14 in told else 0,
                number_of(told[15], "=H") if 15 in told else 0,
            )
        refuse_if(family != service_key[0] and (self.sync or forward & 7 != 2), errno.EINVAL)
        refuse_if(weight >= 2**31 or lower > upper, errno.ERANGE)
        refuse_if(tunnel[0] == 1 and not tunnel[1], errno.EINVAL)
        if command == "NEW_DEST":
            refuse_if(key in dests, errno.EEXIST)
            refuse_if(not self._may_be_dest(key[1]), errno.EINVAL)
        else:
            refuse_if(key not in dests, errno.ENOENT)
        dest = dests.setdefault(key, Dest())
        dest.forward, dest.weight, dest.upper, dest.lower = forward & 7, weight, upper, lower
        dest.tunnel_type, dest.tunnel_port, dest.tunnel_flags = tunnel

    @staticmethod
    def _may_be_dest(packed: bytes) -> bool:
        address = ipaddress.ip_address(packed)
        if isinstance(address, ipaddress.IPv6Address):
            bad = address.is_unspecified or address.is_multicast or address.is_link_local or address.ipv4_mapped
        else:
            bad = address.is_unspecified or address.is_multicast or packed == b"\xff" * 4
        return not bad

    # text

    def restore(self, text: str) -> None:
        """Hold what the lines of ``ipvsadm --restore`` say (``-A`` and ``-a``; thresholds ``-x`` and ``-y``)."""
        for line in filter(None, map(str.strip, text.splitlines())):
            words = line.split()
            options: dict[str, str] = {}
            for word, following in itertools.zip_longest(words, words[1:], fillvalue="-"):
                if word.startswith("-"):
                    options[word] = "" if following.startswith("-") and not following[1:].isdigit() else following
            key = self._read_key(options)
            if "-A" in options:
                full = b"\xff\xff\xff\xff" if key[0] == 2 else struct.pack("=I", 128)
                mask = options.get("-M")
                packed = full if mask is None else self._netmask(key[0], mask)
                flags = 0x2 | ("-p" in options) | ("-o" in options) << 2
                for flag in filter(None, options.get("-b", "").split(",")):
                    flags |= {"fallback": 8, "1": 8, "port": 16, "2": 16, "3": 32}[flag.split("-")[1]]
                self.services[key] = VirtualService(
                    scheduler=options["-s"],
                    flags=flags,
                    timeout=int(options.get("-p", 0)),
                    netmask=packed,
                    engine=options.get("--pe", ""),
                )
            else:
                address, number = options["-r"].rsplit(":", 1)
                packed = ipaddress.ip_address(address.strip("[]")).packed
                tunnel = {"": 0, "ipip": 0, "gue": 1, "gre": 2}[options.get("--tun-type", "")]
                self.services[key].dests[2 if len(packed) == 4 else 10, packed, int(number)] = Dest(
                    forward=0 if "-m" in options else 2 if "-i" in options else 3,
                    weight=int(options["-w"]),
                    upper=int(options.get("-x", 0)),
                    lower=int(options.get("-y", 0)),
                    tunnel_type=tunnel,
                    tunnel_port=int(options.get("--tun-port", 0)),
                    tunnel_flags=1 if "--tun-csum" in options else 2 if "--tun-remcsum" in options else 0,
                )

    @staticmethod
    def _netmask(family: int, text: str) -> bytes:
        return ipaddress.ip_address(text).packed if family == 2 else struct.pack("=I", int(text))

    @staticmethod
    def _read_key(options: dict[str, str]) -> ServiceId:
        if "-f" in options:
            return (10 if "-6" in options else 2, int(options["-f"]), 0, b"", 0)
        option, protocol = next(
            (name, number) for name, number in (("-t", 6), ("-u", 17), ("--sctp-service", 132)) if name in options
        )
        address, number = options[option].rsplit(":", 1)
        packed = ipaddress.ip_address(address.strip("[]")).packed
        return (2 if len(packed) == 4 else 10, 0, protocol, packed, int(number))

    def save(self) -> list[str]:
        """The table as ``ipvsadm -Sn`` would print it sorted, with the thresholds it forgets."""
        lines: list[str] = []
        for key in sorted(self.services, key=lambda one: (one[1], one[0], one[2], one[3], one[4])):
            service, family, name = self.services[key], key[0], self._show_key(key)
            line = f"-A {name} -s {service.scheduler}"
            if service.flags & 1:
                line += f" -p {service.timeout}"
                if family == 2 and service.netmask != b"\xff\xff\xff\xff":
                    line += f" -M {ipaddress.ip_address(service.netmask)}"
                if family == 10 and service.netmask != struct.pack("=I", 128):
                    line += f" -M {number_of(service.netmask, '=I')}"
            line += f" --pe {service.engine}" if service.engine else ""
            line += " -o" if service.flags & 4 else ""
            named = service.scheduler in ("sh", "mh")
            flags = [
                (f"{service.scheduler}-{word}" if named and word else f"flag-{index}")
                for index, word in ((1, "fallback"), (2, "port"), (3, ""))
                if service.flags & (4 << index)
            ]
            lines.append(line + (f" -b {','.join(flags)}" if flags else ""))
            for dest_key in sorted(service.dests):
                dest = service.dests[dest_key]
                line = f"-a {name} -r {self._endpoint(*dest_key[1:])} {['-m', '-l', '-i', '-g', '-b'][dest.forward]}"
                line += f" -w {dest.weight}"
                if dest.forward == 2:
                    line += f" --tun-type {['ipip', 'gue', 'gre'][dest.tunnel_type]}"
                    line += f" --tun-port {dest.tunnel_port}" if dest.tunnel_type == 1 else ""
                    checksum = ["--tun-nocsum", "--tun-csum", "--tun-remcsum"][dest.tunnel_flags]
                    line += f" {checksum}" if dest.tunnel_type else ""
                line += f" -x {dest.upper} -y {dest.lower}" if dest.upper or dest.lower else ""
                lines.append(line)
        return lines

    @staticmethod
    def _endpoint(packed: bytes, number: int) -> str:
        address = ipaddress.ip_address(packed)
        return f"{address}:{number}" if address.version == 4 else f"[{address}]:{number}"

    def _show_key(self, key: ServiceId) -> str:
        family, mark, protocol, address, number = key
        if mark:
            return f"-f {mark}" + (" -6" if family == 10 else "")
        option = {6: "-t", 17: "-u", 132: "--sctp-service"}[protocol]
        return f"{option} {self._endpoint(address, number)}"


class Socket:
    """The process's end."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._queue: collections.deque[tuple[bytes, bool]] = collections.deque()
        self.options: list[tuple[int, int]] = []
        self.closed = False

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self.options.append((level, option))

    def bind(self, address: tuple[int, int]) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes) -> int:
        self._kernel.fail("send")
        offset = count = 0
        while offset + 16 <= len(data):
            size, kind, flags, sequence, dummy = struct.unpack_from("=IHHII", data, offset)
            count += 1
            if not self._kernel.silent:
                self._take(kind, flags, sequence, data[offset + 16 : offset + size])
            offset += (size + 3) & ~3
        self._kernel.sends.append(count)
        return len(data)

    def _take(self, kind: int, flags: int, sequence: int, payload: bytes) -> None:
        dump = flags & DUMP == DUMP
        if dump and any(of_dump for dummy, of_dump in self._queue):
            self._queue.append((message(ERROR, 0, sequence, struct.pack("=i", -errno.EBUSY) + bytes(16)), False))
            return
        for datagram in self._kernel.answer(kind, flags, sequence, payload):
            self._queue.append((datagram, dump))

    def recv_into(self, buffer: bytearray, dummy_size: int = 0, dummy_flags: int = 0) -> int:
        self._kernel.fail("recv_into")
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")  # SO_RCVTIMEO has passed
        datagram, dummy = self._queue.popleft()
        if self._kernel.mangle:
            datagram = self._kernel.mangle(datagram)
        kept = min(len(datagram), len(buffer))
        buffer[:kept] = datagram[:kept]
        return len(datagram)
