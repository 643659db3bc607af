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

from plugins.module_utils import _model, _plan, _wire
from plugins.module_utils._errors import Findings

ROUNDS = 15
SIZE = "K"
#: The most that each step may cost; measured with Python 3.11, and half as much again.
BOUNDS = {"validate": 1.0, "plan": 1.0, "plan of a second run": 1.0, "encode": 1.0, "decode": 1.0}


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
                    _wire._attribute(1, key.address.ljust(16, b"\0")),
                    _wire._be16(2, key.port),
                    *(_wire._u32(kind, number) for kind, number in enumerate(server[1:5], 3)),
                    *(_wire._u32(kind, 0) for kind in (7, 8, 9)),
                    _wire._attribute(10, statistics),
                    _wire._attribute(12, statistics),
                    _wire._u16(11, key.family),
                )
            )
            request = _wire.Request(_wire.NEW_DEST, _wire._attribute(2, attributes))
            messages.append(_wire.message(request, 30, _wire.NLM_F_MULTI, 1))
        found.append(b"".join(messages))
    return found


def steps() -> dict[str, Callable[[], Any]]:
    written = json.loads(json.dumps(tables.services(SIZE)))
    findings = Findings()
    wanted = _model.parse_services(written, "services", findings)
    findings.raise_problems()
    operations = _plan.plan({}, wanted).operations
    dumped = datagrams(wanted)
    family = _model.AF_INET

    def encode() -> int:
        return sum(
            len(_wire.message(_wire.write_request(one.action, one.key, one.after), 30, 0, 1)) for one in operations
        )

    def decode() -> _model.Table:
        table = {}
        for entry, datagram in zip(wanted.values(), dumped):
            rows, dummy = _wire.SERVER.run(datagram, _wire.reply_at(datagram, 0, len(datagram)), len(datagram))
            servers = [_wire.server_of(row, family) for row in rows]
            table[entry.service.key] = _model.Entry(entry.service, {server.key: server for server in servers})
        return table

    if decode() != wanted:
        raise AssertionError("the profile decodes another table than it encoded")
    return {
        "validate": lambda: _model.parse_services(written, "services", Findings()),
        "plan": lambda: _plan.plan({}, wanted),
        "plan of a second run": lambda: _plan.plan(wanted, wanted),
        "encode": encode,
        "decode": decode,
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
