# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner: pure, total and ordered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import Findings
from plugins.module_utils._model import Entry, Server, Table, parse_services
from plugins.module_utils._plan import MAX_LINES, REMOVALS, Operation, Plan, operation_line, plan
from plugins.module_utils._text import table_lines
from tests.unit import strategies

WEB = {"address": "192.0.2.10", "port": 80, "forward": "nat"}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp"}


def web(*weights: int, **options: Any) -> dict[str, Any]:
    """The web service with a server for each weight; None leaves one out."""
    servers = [
        {"address": f"198.51.100.{number}", "weight": weight}
        for number, weight in enumerate(weights, 11)
        if weight is not None
    ]
    return {**WEB, **options, "servers": servers}


def table(*services: dict[str, Any]) -> Table:
    findings = Findings()
    parsed = parse_services(list(services), "services", findings)
    assert findings.problems == []
    return parsed


def lines(found: Plan) -> list[str]:
    return [operation_line(operation) for operation in found.operations]


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ([], [], []),
        ([web(1, 2)], [web(1, 2)], []),
        ([web(1)], [], []),
        (
            [],
            [web(1, 0), DNS],
            [
                "-A -t 192.0.2.10:80 -s wlc",
                "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w 1",
                "-a -t 192.0.2.10:80 -r 198.51.100.12:80 -m -w 0",
                "-A -u 192.0.2.10:53 -s wlc",
            ],
        ),
        ([web(1)], [web(1, 1)], ["-a -t 192.0.2.10:80 -r 198.51.100.12:80 -m -w 1"]),
        ([web(1, 1)], [web(1)], []),
        ([web()], [web(scheduler="mh", scheduler_flags=["mh-port"])], ["-E -t 192.0.2.10:80 -s mh -b mh-port"]),
        ([web(1)], [web(5)], ["-e -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w 5"]),
        (
            [web(1, 1, 0)],
            [DNS, web(0, 3, 1, 1, scheduler="rr")],
            [
                # additions
                "-a -t 192.0.2.10:80 -r 198.51.100.14:80 -m -w 1",
                "-A -u 192.0.2.10:53 -s wlc",
                # edits
                "-E -t 192.0.2.10:80 -s rr",
                "-e -t 192.0.2.10:80 -r 198.51.100.12:80 -m -w 3",
                "-e -t 192.0.2.10:80 -r 198.51.100.13:80 -m -w 1",
                # what takes no new connections any more
                "-e -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w 0",
            ],
        ),
    ],
)
def test_what_is_wanted_is_added_and_edited(current: Any, wanted: Any, expected: list[str]) -> None:
    assert lines(plan(table(*current), table(*wanted))) == expected


def test_removals_come_last_and_services_take_their_servers_along() -> None:
    current, wanted = table(web(1, 1), DNS), table(web(0, None, 1))
    [web_key] = wanted
    [dns_key] = table(DNS)
    servers = [(key, server) for key in current for server in current[key].servers]
    found = plan(current, wanted, [dns_key], [one for one in servers if one[1] not in wanted[web_key].servers])
    assert lines(found) == [
        "-a -t 192.0.2.10:80 -r 198.51.100.13:80 -m -w 1",
        "-e -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w 0",
        "-d -t 192.0.2.10:80 -r 198.51.100.12:80",
        "-D -u 192.0.2.10:53",
    ]
    assert found.predicted == wanted
    assert lines(plan(current, {}, [web_key], servers)) == ["-D -t 192.0.2.10:80"]


def test_what_is_unwanted_and_not_there_is_no_operation() -> None:
    [key] = table(web(1))
    [server] = table(web(1))[key].servers
    assert plan({}, {}, [key], [(key, server)]).operations == ()
    assert plan(table(web()), {}, (), [(key, server)]).operations == ()


def test_the_diff_shows_the_services_that_change() -> None:
    found = plan(table(web(1, 1), DNS), table(web(2)))
    before = "-A -t 192.0.2.10:80 -s wlc\n-a -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w {}\n"
    other = "-a -t 192.0.2.10:80 -r 198.51.100.12:80 -m -w 1\n"
    assert found.diff() == {"before": before.format(1) + other, "after": before.format(2) + other}
    assert plan({}, {}).diff() == {"before": "", "after": ""}


def test_a_long_diff_leaves_out_what_stays_and_counts_the_rest() -> None:
    def farm(port: int, count: int, weight: int) -> dict[str, Any]:
        servers = [{"address": f"198.51.100.{last}", "weight": 1} for last in range(1, count + 1)]
        servers[-1]["weight"] = weight
        return {**WEB, "port": port, "servers": servers}

    edited = plan(table(*(farm(port, 100, 1) for port in (80, 81))), table(*(farm(port, 100, 5) for port in (80, 81))))
    for side, weight in (("before", 1), ("after", 5)):
        assert edited.diff()[side].splitlines() == [
            line
            for port in (80, 81)
            for line in (
                f"-A -t 192.0.2.10:{port} -s wlc",
                f"-a -t 192.0.2.10:{port} -r 198.51.100.100:{port} -m -w {weight}",
            )
        ]

    added = plan(table(farm(80, 1, 1)), table(*(farm(port, 150, 1) for port in range(80, 85)))).diff()
    shown = added["after"].splitlines()
    assert shown[0] == added["before"].splitlines()[0] == "-A -t 192.0.2.10:80 -s wlc"
    assert [line for line in shown if line.startswith("-A")] == [shown[0], "-A -t 192.0.2.10:81 -s wlc"]
    left = ["... and 101 more servers of -t 192.0.2.10:81", "... and 3 more services"]
    assert len(shown) == MAX_LINES + len(left)
    assert shown[-2:] == left
    assert added["before"].splitlines() == [shown[0], *left]


def test_a_drain_is_told_from_an_edit() -> None:
    drained = {"address": "198.51.100.13", "weight": 0}
    current, wanted = web(1, 0), web(0, 5)
    current["servers"].append(drained)
    wanted["servers"].append({**drained, "upper_threshold": 9})
    operations = plan(table(current), table(wanted)).operations
    assert [operation.action for operation in operations] == ["edit_server", "edit_server", "quiesce_server"]


# properties

ORDER = [{"add_service", "add_server"}, {"edit_service", "edit_server"}, {"quiesce_server"}, {"remove_server"}]
ORDER += [{"remove_service"}]


def strict(current: Table, operations: tuple[Operation, ...]) -> list[Table]:
    """The tables a kernel would hold after each operation; an operation that it would refuse fails the test."""
    held = {key: Entry(entry.service, dict(entry.servers)) for key, entry in current.items()}
    states = []
    for action, key, before, after in operations:
        if action == "add_service":
            assert before is None
            assert key not in held
            held[key] = Entry(after, {})
        elif action == "edit_service":
            assert held[key].service == before != after
            held[key] = Entry(after, held[key].servers)
        elif action == "remove_service":
            assert held.pop(key).service == before
            assert after is None
        else:
            servers = held[key].servers
            subject = after or before
            assert servers.get(subject.key) == before
            assert before != after
            if after is None:
                del servers[subject.key]
            else:
                servers[subject.key] = after
        states.append({one: Entry(entry.service, dict(entry.servers)) for one, entry in held.items()})
    return states


@st.composite
def cases(draw: st.DrawFn) -> tuple[Table, Table, list[Any], list[Any]]:
    """Two tables, and what of the first is to go."""
    current, wanted = draw(strategies.related_tables())
    gone = [key for key in current if key not in wanted and draw(st.booleans())]
    servers = [
        (key, server)
        for key, entry in current.items()
        for server in entry.servers
        if not (key in wanted and server in wanted[key].servers) and draw(st.booleans())
    ]
    return current, wanted, gone, servers


@given(strategies.tables())
def test_a_table_that_is_as_wanted_needs_nothing(wanted: Table) -> None:
    found = plan(wanted, wanted)
    assert found.operations == ()
    assert found.predicted == wanted
    assert found.diff() == {"before": "", "after": ""}


@given(cases())
def test_the_operations_lead_where_the_plan_says(case: Any) -> None:
    current, wanted, gone, servers = case
    before = table_lines(current)
    found = plan(current, wanted, gone, servers)
    assert ([current, *strict(current, found.operations)])[-1] == found.predicted
    assert table_lines(current) == before == table_lines(found.current)
    for key, entry in wanted.items():
        assert found.predicted[key].service == entry.service
        assert entry.servers.items() <= found.predicted[key].servers.items()
    assert not set(gone) & found.predicted.keys()
    assert not any(key in found.predicted and server in found.predicted[key].servers for key, server in servers)
    again = plan(found.predicted, wanted, gone, servers)
    assert again.operations == ()


@given(cases())
def test_nothing_unlisted_is_touched(case: Any) -> None:
    current, wanted, gone, servers = case
    found = plan(current, wanted, gone, servers)
    for key, entry in current.items():
        if key in gone:
            continue
        if key not in wanted:
            assert found.predicted[key].service == entry.service
        for server_key, server in entry.servers.items():
            if (key, server_key) not in servers and not (key in wanted and server_key in wanted[key].servers):
                assert found.predicted[key].servers[server_key] == server
    listed = {*wanted, *gone, *(key for key, dummy in servers)}
    assert {operation.key for operation in found.operations} <= listed


@given(cases())
def test_whatever_carries_traffic_is_in_place_before_anything_is_taken_away(case: Any) -> None:
    found = plan(*case)
    steps = [next(i for i, step in enumerate(ORDER) if operation.action in step) for operation in found.operations]
    assert steps == sorted(steps)
    assert {operation.action for operation in found.operations if operation.after is None} <= REMOVALS


@given(cases())
def test_a_server_wanted_before_and_after_is_never_absent_in_between(case: Any) -> None:
    current, wanted, *dummy = case
    kept = [
        (key, server)
        for key, entry in wanted.items()
        if key in current
        for server in entry.servers.keys() & current[key].servers.keys()
    ]
    for state in strict(current, plan(*case).operations):
        assert all(server in state[key].servers for key, server in kept)
        for key, server in kept:
            live = state[key].servers[server]
            assert live in (current[key].servers[server], wanted[key].servers[server])


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_makes_no_difference(case: Any, random: Any) -> None:
    def shuffled(one: Table) -> Table:
        keys = random.sample(list(one), len(one))
        return {
            key: Entry(one[key].service, dict(random.sample(list(one[key].servers.items()), len(one[key].servers))))
            for key in keys
        }

    current, wanted, gone, servers = case
    other = plan(shuffled(current), shuffled(wanted), random.sample(gone, len(gone)), set(servers))
    assert other.operations == plan(current, wanted, gone, servers).operations


@given(cases())
def test_servers_of_a_service_are_added_in_canonical_order(case: Any) -> None:
    """Scheduler sh maps clients by the order in which servers were added."""
    added: dict[Any, list[Any]] = {}
    for operation in plan(*case).operations:
        if operation.action == "add_server":
            assert isinstance(operation.after, Server)
            added.setdefault(operation.key, []).append(operation.after.key)
    assert all(keys == sorted(keys) for keys in added.values())
