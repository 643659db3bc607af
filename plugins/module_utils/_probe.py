# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Connections to virtual services, and who answered them."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import errno
import re
import resource
import socket
import struct
from collections.abc import Iterator, Sequence
from re import Pattern
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from . import _values
from ._errors import BadValue, Findings, at
from ._module import Task
from ._values import Field

PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, 132),
}
MAX_TARGETS = 10_000
MAX_ATTEMPTS = 100_000
MAX_ANSWER = 65536
MAX_SEND = 65536
DEFAULT_TIMEOUT = 3
#: Targets are asked side by side; the connections to one of them one after the other, for a scheduler that takes
#: turns is only seen to do so if nobody else asks in between.
TARGETS_AT_ONCE = 16
#: Open files to ask for where there is no limit: macOS does not take that for a number.
FILES = 65536
#: After so many failures in a row the rest of a target is given up: a dead service would take the time-out for
#: each connection.
PATIENCE = 5
GIVEN_UP = "not attempted"

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def _plain(value: object) -> object:
    if not isinstance(value, str):
        raise BadValue("must be a string")
    if len(value) > MAX_SEND:
        raise BadValue(f"must have at most {MAX_SEND} characters")
    return value


def _regex(value: object) -> Pattern[str]:
    try:
        return re.compile(_plain(value))  # type: ignore[call-overload,no-any-return]
    except re.error as error:
        raise BadValue(f"must be a regular expression ({error})") from None


FIELDS = (
    Field("name", _values.text),
    Field("address", _values.unicast, required=True),
    Field("port", _values.integer(1, 65535), required=True),
    Field("protocol", _values.choice(*PROTOCOLS)),
    Field("count", _values.integer(1, MAX_ATTEMPTS)),
    Field("source_address", _values.unicast),
    Field("source_port", _values.integer(1, 65535)),
    Field("repeat", _values.integer(1, MAX_ATTEMPTS)),
    Field("together", _values.boolean),
    Field("send", _plain),
    Field("pattern", _regex),
    Field("timeout", _values.integer(1, 600)),
)


class Target(NamedTuple):
    """One service to ask: ``ports`` source ports from ``source_port`` on (0: any), each used ``repeat`` times.
    ``together``: all connections are open before the first is asked, and until the last has answered.
    """

    name: Optional[str]
    address: bytes
    port: int
    protocol: str = "tcp"
    ports: int = 1
    source_address: Optional[bytes] = None
    source_port: int = 0
    repeat: int = 1
    together: bool = False
    send: str = ""
    pattern: Optional[Pattern[str]] = None
    timeout: int = DEFAULT_TIMEOUT

    @property
    def family(self) -> int:
        return int(socket.AF_INET if len(self.address) == 4 else socket.AF_INET6)


def parse_targets(value: object, findings: Findings) -> list[Target]:
    """The option ``targets``; every problem goes to ``findings``."""
    targets = []
    for i, item in enumerate(_values.records(value, "targets", findings, MAX_TARGETS)):
        path, before = at("targets", i), len(findings.problems)
        given = _values.record(FIELDS, item, path, findings)
        if given is None or len(findings.problems) > before:
            continue
        target = Target(**{"name": None, "ports": given.pop("count", 1), **given})
        if target.source_port and target.source_port + target.ports - 1 > 65535:
            findings.problem(
                at(path, "count"), f"leads beyond port 65535 from source_port {target.source_port}", target.ports
            )
        if target.ports * target.repeat > MAX_ATTEMPTS:
            findings.problem(at(path, "repeat"), f"times count must be at most {MAX_ATTEMPTS}", target.repeat)
        if target.together and target.source_port and target.repeat > 1:
            findings.problem(
                at(path, "repeat"), "must be 1 with together: a source port has one connection", target.repeat
            )
        if target.source_address and len(target.source_address) != len(target.address):
            findings.problem(
                at(path, "source_address"),
                "must be of the family of address",
                _values.show_address(target.source_address),
            )
        if target.protocol == "udp" and target.pattern and not target.send:
            findings.problem(
                at(path, "send"), "is required with udp and pattern: nobody answers a datagram that was not sent"
            )
        targets.append(target)
    return targets


class NoAnswer(Exception):
    """One connection failed; ``str(error)`` is the reason."""


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors of the system as :class:`NoAnswer`."""
    try:
        yield
    except socket.timeout:
        raise NoAnswer("timed out") from None
    except OSError as error:
        raise NoAnswer(errno.errorcode.get(error.errno or 0, str(error))) from None


def _open(target: Target, source_port: int) -> socket.socket:
    """:raises NoAnswer: with the reason."""
    kind, protocol = PROTOCOLS[target.protocol]
    with _told(), contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.socket(target.family, kind, protocol))
        connection.settimeout(target.timeout)
        if source_port or target.source_address:
            _bind(connection, target, source_port)
        connection.connect((_values.show_address(target.address), target.port))
        opened.pop_all()
    return connection


def _answer(target: Target, connection: socket.socket) -> str:
    """The name of who answered: the pattern's first group, or its whole match; without a pattern ``connected``, or
    ``sent`` where nothing can come back.

    :raises NoAnswer: with the reason.
    """
    with _told():
        if target.send or target.protocol == "udp":
            connection.sendall(target.send.encode("utf-8"))
        if target.pattern is None:
            return "sent" if target.protocol == "udp" else "connected"
        return _name(connection, target.pattern)


def _ask_one(target: Target, source_port: int) -> str:
    with _open(target, source_port) as connection:
        return _answer(target, connection)


def _bind(connection: socket.socket, target: Target, source_port: int) -> None:
    own = target.source_address
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source_port and target.protocol == "tcp":
        # ended by a reset, or the port would be in TIME_WAIT when its turn comes again
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    anywhere = "0.0.0.0" if target.family == socket.AF_INET else "::"
    connection.bind((_values.show_address(own) if own else anywhere, source_port))


def _name(connection: socket.socket, pattern: Pattern[str]) -> str:
    """Read until the pattern matches, the other side ends, or nothing comes any more."""
    answer = b""
    while len(answer) < MAX_ANSWER:
        piece = connection.recv(MAX_ANSWER)
        answer += piece
        match = pattern.search(answer.decode("utf-8", "replace"))
        if match:
            return match.group(1) if match.re.groups else match.group()
        if not piece or connection.type == socket.SOCK_DGRAM:
            break
    shown = answer[:60].decode("utf-8", "replace")
    raise NoAnswer(f"answer without the pattern: {shown!r}" if answer else "closed without an answer")


def _attempt(
    items: Sequence[Item], step: Callable[[Item], Outcome], failures: dict[str, int]
) -> Iterator[tuple[Item, Outcome]]:
    """One step for each item -> the items for which it came off. ``failures`` get the others, by reason."""
    in_a_row = 0
    for done, item in enumerate(items, 1):
        try:
            outcome = step(item)
        except NoAnswer as error:
            failures[str(error)] += 1
            in_a_row += 1
            if in_a_row == PATIENCE and done < len(items):
                failures[GIVEN_UP] += len(items) - done
                return
            continue
        in_a_row = 0
        yield item, outcome


def _names(target: Target, ports: Sequence[int], failures: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Who answered the connection from each source port, 0 for any."""
    if not target.together:
        yield from _attempt(ports, lambda port: _ask_one(target, port), failures)
        return
    with contextlib.ExitStack() as held:
        opened = list(_attempt(ports, lambda port: held.enter_context(_open(target, port)), failures))
        for (port, dummy), name in _attempt(opened, lambda one: _answer(target, one[1]), failures):
            yield port, name


def ask(target: Target) -> dict[str, Any]:
    """All connections to one target, one after the other -> its part of the result."""
    answers: dict[str, int] = collections.Counter()
    failures: dict[str, int] = collections.Counter()
    by_port: dict[str, list[str]] = {}
    attempts = target.ports * target.repeat
    ports = [target.source_port + i % target.ports if target.source_port else 0 for i in range(attempts)]
    for source_port, name in _names(target, ports, failures):
        answers[name] += 1
        if source_port:
            by_port.setdefault(str(source_port), []).append(name)
    return {
        **({"name": target.name} if target.name else {}),
        "address": _values.show_address(target.address),
        "port": target.port,
        "protocol": target.protocol,
        "attempts": attempts,
        "answers": dict(sorted(answers.items())),
        "failures": dict(sorted(failures.items())),
        "by_port": by_port,
    }


def _allow_files() -> None:
    """What holds connections open needs more files than the usual 1024. A connection for which there is none counts as
    failed, and says why.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # the kernel may allow less than the limit says
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else hard, hard))


def probe(task: Task) -> dict[str, Any]:
    """The body of ``ipvs_probe``."""
    findings = Findings()
    targets = parse_targets(task.params["targets"], findings)
    task.conclude(findings)
    if task.check_mode:
        return {"changed": False, "skipped": True, "msg": "nothing is sent in check mode"}
    if any(target.together for target in targets):
        _allow_files()
    with concurrent.futures.ThreadPoolExecutor(TARGETS_AT_ONCE) as pool:
        return {"changed": False, "targets": list(pool.map(ask, targets))}
