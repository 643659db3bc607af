# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile of the pure steps, without a kernel: what one of them costs, as a multiple of a fixed piece of Python.

The multiple is about the same on every machine, so a step that became slower shows on any. Processor time of the best
of several rounds is compared: the work of others does not count.
"""

from __future__ import annotations

import gc
import json
import struct
import sys
import time
from pathlib import Path
from typing import Any, Callable

import tables

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from plugins.module_utils import _client, _encode, _model, _plan, _wire
from plugins.module_utils._errors import Findings

ROUNDS = 15
SIZE = "K"
FAMILY = 30
DONE = struct.pack("=IHHIIi", 20, _wire.NLMSG_DONE, _wire.NLM_F_MULTI, 1, 0, 0)
#: The most that each step may cost: what it did with Python 3.11, and a third more.
BOUNDS = {"validate": 4.9, "plan": 2.0, "plan of a second run": 0.2, "encode": 2.8, "read": 3.3}


def calibration() -> int:
    """What the steps are made of: dicts, tuples, text, packed bytes, calls."""
    held: dict[tuple[int, str], bytes] = {}
    for number in range(10_000):
        held[number, str(number)] = b"".join((struct.pack("=HHI", 8, 1, number), b"\0" * (number % 4)))
    return sum(len(value) for dummy, value in sorted(held.items()))


def datagrams(table: _model.Table) -> list[bytes]:
    """The servers of the table as a kernel dumps them, one datagram for each service."""
    statistics = b"".join(struct.pack("=HHQ", 12, kind, 7) for kind in range(1, 11))
    found = []
    for entry in table.values():
        messages = []
        for server in entry.servers.values():
            key = server.key
            attributes = b"".join(
                (
                    _wire.attribute(1, key.address.ljust(16, b"\0")),
                    _encode._be16(2, key.port),
                    *(_encode._u32(kind, number) for kind, number in enumerate(server[1:3], 3)),
                    _wire.attribute(13, b"\0") + _encode._be16(14, 0) + _encode._u16(15, 0),
                    *(_encode._u32(kind, number) for kind, number in enumerate(server[3:5], 5)),
                    *(_encode._u32(kind, 0) for kind in (7, 8, 9)),
                    _encode._u16(11, key.family),
                    _wire.attribute(10, statistics),
                    _wire.attribute(12, statistics),
                )
            )
            request = _wire.NEW_DEST, _wire.attribute(2, attributes)
            messages.append(_wire.message(request, FAMILY, _wire.NLM_F_MULTI, 1))
        found.append(b"".join(messages))
    return found


class Kernel:
    """A socket that answers each request with the servers of service ``number`` and the end of the dump."""

    def __init__(self, dumps: list[bytes]) -> None:
        self.dumps = dumps
        self.number = 0
        self._pending: list[bytes] = []

    def send(self, dummy: bytes) -> None:
        self._pending = [DONE, self.dumps[self.number]]

    def recv_into(self, buffer: bytearray, *dummy: int) -> int:
        datagram = self._pending.pop()
        buffer[: len(datagram)] = datagram
        return len(datagram)


def steps() -> dict[str, Callable[[], Any]]:
    written = json.loads(json.dumps(tables.services(SIZE)))
    findings = Findings()
    wanted = _model.parse_services(written, "services", findings)
    findings.raise_problems()
    operations = _plan.plan({}, wanted).operations

    def encode() -> int:
        return sum(
            len(_wire.message(_encode.write_request(one.action, one.key, one.after), FAMILY, 0, 1))
            for one in operations
        )

    client = _client.Client.__new__(_client.Client)
    kernel = Kernel(datagrams(wanted))
    client._buffer, client._socket, client._family = bytearray(65536), kernel, FAMILY  # type: ignore[assignment]

    def read() -> _model.Table:
        for decoder in _wire.SERVERS.values():
            decoder._layouts.clear()  # each reading shall be the first
        table = {}
        for number, (key, entry) in enumerate(wanted.items()):
            client._sequence, kernel.number = 0, number
            table[key] = _model.Entry(entry.service, client._read_servers(key))
        return table

    held = read()
    if held != wanted:
        raise AssertionError("the profile reads another table than it wrote")
    return {
        "validate": lambda: _model.parse_services(written, "services", Findings()),
        "plan": lambda: _plan.plan({}, wanted),
        "plan of a second run": lambda: _plan.plan(held, wanted),
        "encode": encode,
        "read": read,
    }


def profile() -> dict[str, float]:
    """Each step's cost as a multiple of :func:`calibration`."""
    todo: dict[str, Callable[[], Any]] = {"": calibration, **steps()}
    best = dict.fromkeys(todo, float("inf"))
    gc.collect()
    gc.disable()  # as the modules do
    for _round in range(ROUNDS):
        for name, step in todo.items():
            begin = time.process_time()
            step()
            best[name] = min(best[name], time.process_time() - begin)
    gc.enable()
    unit = best.pop("")
    return {name: seconds / unit for name, seconds in best.items()}


def slow(found: dict[str, float]) -> list[str]:
    """The steps above their bounds."""
    return [name for name, cost in found.items() if cost > BOUNDS[name]]


def report(found: dict[str, float]) -> list[str]:
    return [f"{'cost without a kernel':48}  {'found':>9}  {'bound':>9}"] + [
        f"{name:48}  {cost:9.2f}  {BOUNDS[name]:9.2f}{'  slow' if cost > BOUNDS[name] else ''}"
        for name, cost in found.items()
    ]


if __name__ == "__main__":
    result = profile()
    print("\n".join(report(result)))
    sys.exit(bool(slow(result)))
