# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan carried out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

import pytest

from plugins.module_utils import _wire
from plugins.module_utils._apply import Outcome, apply, reason
from plugins.module_utils._client import Client, Written
from plugins.module_utils._errors import Findings, IpvsError
from plugins.module_utils._model import Table, parse_services
from plugins.module_utils._plan import Operation, Plan, plan
from tests.unit.fake_kernel import Kernel

LIVE = """
    -A -t 192.0.2.10:80 -s wlc
    -a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 1
    -a -t 192.0.2.10:80 -r 198.51.100.12:80 -g -w 1
    -A -t 192.0.2.20:80 -s wlc
"""
SERVERS = [{"address": "198.51.100.11", "weight": 0}, {"address": "198.51.100.13"}]
ADD = "-a -t 192.0.2.10:80 -r 198.51.100.13:80 -g -w 1"
EDIT = "-E -t 192.0.2.10:80 -s rr"
QUIESCE = "-e -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 0"
REMOVE = "-d -t 192.0.2.10:80 -r 198.51.100.12:80"
REMOVE_SERVICE = "-D -t 192.0.2.20:80"
ALL = [ADD, EDIT, QUIESCE, REMOVE, REMOVE_SERVICE]


def change(table: Table) -> Plan:
    """Every kind of operation but the addition of a service."""
    wanted = parse_services(
        [{"address": "192.0.2.10", "port": 80, "scheduler": "rr", "servers": SERVERS}], "", Findings()
    )
    [key] = wanted
    gone = [server for server in table[key].servers if server not in wanted[key].servers]
    return plan(table, wanted, [other for other in table if other != key], [(key, server) for server in gone])


def holds(dummy: Plan) -> bool:
    return True


def applied(kernel: Kernel) -> dict[str, list[Any]]:
    kernel.restore(LIVE)
    with Client() as client:
        kernel.commands.clear()
        return apply(change(client.table()), client, holds).result()


def test_a_plan_is_carried_out_in_its_order(kernel: Kernel) -> None:
    assert applied(kernel) == {"applied": ALL, "failed": [], "not_attempted": [], "unknown": []}
    assert kernel.writes == ["NEW_DEST", "SET_SERVICE", "SET_DEST", "DEL_DEST", "DEL_SERVICE"]
    assert kernel.save() == [
        "-A -t 192.0.2.10:80 -s rr",
        "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 0",
        ADD,
    ]


@pytest.mark.parametrize(("failing", "done"), [(0, [EDIT]), (1, [ADD]), (2, [ADD, EDIT])])
def test_nothing_is_taken_away_after_a_failure(kernel: Kernel, failing: int, done: list[str]) -> None:
    kernel.refuse = {failing: errno.ENOMEM}
    assert applied(kernel) == {
        "applied": done,
        "failed": [{"operation": ALL[failing], "reason": "the kernel is out of memory"}],
        "not_attempted": ALL[max(failing + 1, 2) :],
        "unknown": [],
    }
    assert kernel.writes == ["NEW_DEST", "SET_SERVICE", "SET_DEST"][: max(failing + 1, 2)]


def test_a_failed_removal_is_told(kernel: Kernel) -> None:
    kernel.refuse = {3: errno.ENOENT}
    assert applied(kernel) == {
        "applied": [ADD, EDIT, QUIESCE, REMOVE_SERVICE],
        "failed": [
            {"operation": REMOVE, "reason": "the server is gone: another writer is changing the table"},
        ],
        "not_attempted": [],
        "unknown": [],
    }


def test_the_servers_of_a_refused_service_are_blamed_on_nobody(kernel: Kernel) -> None:
    kernel.refuse = {0: errno.ENOENT}
    with Client() as client:
        outcome = apply(plan({}, parse_services([WEB], "", Findings())), client, holds)
    assert not outcome.raced
    assert [one["reason"] for one in outcome.result()["failed"]] == [
        "this kernel has no module ip_vs_mh",
        "its service was refused",
    ]


class Unsure:
    """Whether the plan holds, asked for the first time."""

    def __init__(self, answer: bool | IpvsError) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self, dummy: Plan) -> bool:
        self.asked += 1
        if isinstance(self.answer, IpvsError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [False, IpvsError("no answer")])
def test_what_does_not_hold_any_more_removes_nothing(kernel: Kernel, answer: bool | IpvsError) -> None:
    kernel.restore(LIVE)
    with Client() as client:
        outcome = apply(change(client.table()), client, Unsure(answer))
    assert outcome.result() == {
        "applied": [ADD, EDIT, QUIESCE],
        "failed": [],
        "not_attempted": [REMOVE, REMOVE_SERVICE],
        "unknown": [],
    }
    assert (outcome.stopped, outcome.raced) == (True, True)
    assert outcome.broken == (answer or None)


def test_what_only_removes_is_not_asked_whether_it_holds(kernel: Kernel) -> None:
    kernel.restore(LIVE)
    unsure = Unsure(False)
    with Client() as client:
        table = client.table()
        outcome = apply(plan(table, {}, list(table)), client, unsure)
    assert not outcome.stopped
    assert (unsure.asked, kernel.save()) == (0, [])


class Recorder:
    """A writer that takes so many requests, refuses some, and knows nothing of some more."""

    def __init__(self, answered: int, errors: dict[int, int], unknown: int = 0) -> None:
        self.answered, self.errors, self.unknown, self.calls = answered, errors, unknown, 0

    def write(self, requests: Iterable[_wire.Request]) -> Written:
        self.calls += 1
        answered = min(self.answered, len(list(requests)))
        return Written(answered, self.errors, self.unknown, IpvsError("broken off") if self.unknown else None)


def additions() -> Plan:
    """A plan of 251 operations."""
    servers = [{"address": "198.51.100.11", "port": port, "forward": "nat"} for port in range(1, 251)]
    return plan({}, parse_services([{"address": "192.0.2.10", "port": 80, "servers": servers}], "", Findings()))


@pytest.mark.parametrize("answered", [0, 100, 200])
def test_what_nobody_knows_of_is_told(answered: int) -> None:
    operations = additions().operations
    recorder = Recorder(answered, {}, 51)
    outcome = apply(additions(), recorder, holds)
    assert outcome[:4] == (
        operations[:answered],
        (),
        operations[answered + 51 :],
        operations[answered : answered + 51],
    )
    assert str(outcome.broken) == "broken off"
    assert recorder.calls == 1


def test_what_was_never_sent_is_told() -> None:
    added = additions()
    outcome = apply(added, Recorder(100, {7: errno.EINVAL, 3: errno.EEXIST}), holds)
    operations = added.operations
    assert outcome == Outcome(
        tuple(operations[i] for i in range(100) if i not in (3, 7)),
        ((operations[3], errno.EEXIST), (operations[7], errno.EINVAL)),
        operations[100:],
    )


def test_an_empty_plan_sends_nothing() -> None:
    recorder = Recorder(100, {})
    assert apply(plan({}, {}), recorder, holds) == Outcome((), (), ())
    assert recorder.calls == 0


def operation(service: dict[str, Any], of_server: bool) -> Operation:
    findings = Findings()
    added = plan({}, parse_services([service], "", findings)).operations
    findings.raise_problems()
    return added[1 if of_server else 0]


WEB = {"address": "192.0.2.10", "port": 80, "scheduler": "mh", "servers": [{"address": "198.51.100.11"}]}
SIP = {**WEB, "protocol": "udp", "persistence_timeout": 60, "persistence_engine": "sip"}
WEB6 = {"address": "2001:db8::10", "port": 80, "servers": [{"address": "2001:db8::11"}]}
ADDRESS = (
    "the kernel takes this address or combination for invalid: no unicast address of this host's networks, "
    "a network namespace that has no address yet, mixed families while a sync daemon runs, "
    "or too many servers for the scheduler"
)
NO_IPV6 = "IPv6 is disabled on this host, or in this kernel's IPVS"


@pytest.mark.parametrize(
    ("service", "of_server", "number", "expected"),
    [
        (WEB, False, errno.ENOENT, "this kernel has no module ip_vs_mh"),
        (SIP, False, errno.ENOENT, "this kernel has no module ip_vs_mh or ip_vs_pe_sip"),
        (WEB, True, errno.ENOENT, "the server is gone: another writer is changing the table"),
        (WEB, True, errno.ESRCH, "the service is gone: another writer is changing the table"),
        (WEB, True, errno.EEXIST, "it exists: another writer is changing the table"),
        (WEB, True, errno.EINVAL, ADDRESS),
        (WEB6, True, errno.EINVAL, ADDRESS),
        (WEB6, False, errno.EINVAL, NO_IPV6),
        (WEB6, False, errno.EAFNOSUPPORT, NO_IPV6),
        (WEB6, True, errno.EAFNOSUPPORT, NO_IPV6),
        (WEB, True, errno.ERANGE, "a weight or threshold is out of the kernel's range"),
        (
            WEB,
            False,
            errno.EPERM,
            "it needs CAP_NET_ADMIN in the initial user namespace: run the task as root (become: true)",
        ),
        (WEB, False, errno.ENOMEM, "the kernel is out of memory"),
        (WEB, False, errno.ENOBUFS, "the kernel is out of memory"),
        (WEB, False, errno.EINVAL, os.strerror(errno.EINVAL)),
        (WEB, False, errno.ENOTTY, os.strerror(errno.ENOTTY)),
    ],
)
def test_a_refusal_has_its_reason(service: dict[str, Any], of_server: bool, number: int, expected: str) -> None:
    assert reason(operation(service, of_server), number) == expected
