# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, write, read back."""

from __future__ import annotations

import errno
import itertools
from typing import Any, Callable

import pytest

from plugins.module_utils._client import READINGS, Client
from plugins.module_utils._converge import converge
from plugins.module_utils._errors import Findings, Forbidden, InvalidInput, IpvsError, Unavailable
from plugins.module_utils._model import Table, parse_services
from plugins.module_utils._plan import Plan, capped, operation_line, plan
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import WRITES, Kernel

GUE = {"address": "198.51.100.12", "forward": "tun", "tunnel_type": "gue", "tunnel_port": 6080}
WEB = {"address": "192.0.2.10", "port": 80, "scheduler": "mh", "servers": [{"address": "198.51.100.11"}, GUE]}
LINES = [
    "-A -t 192.0.2.10:80 -s mh",
    "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 1",
    "-a -t 192.0.2.10:80 -r 198.51.100.12:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
]


class Task:
    """What converge needs of a task."""

    def __init__(self, machine: Machine, check_mode: bool) -> None:
        self.machine, self.check_mode, self.diff_mode = machine, check_mode, True
        self.prepared: frozenset[str] = frozenset()
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def run(self, argv: list[str], data: str | None = None) -> tuple[int, str, str]:
        return self.machine.run(argv, data)


def wanted(*services: dict[str, Any]) -> Table:
    findings = Findings()
    table = parse_services(list(services), "services", findings)
    findings.raise_problems()
    return table


def run(machine: Machine, *services: dict[str, Any], check: bool = False) -> dict[str, Any]:
    table = wanted(*services)

    def decide(live: Table) -> Plan:
        return plan(live, table)

    task = Task(machine, check)
    result = converge(task, lambda client: client.table(table), decide)
    assert result.pop("plan").predicted == table
    return {**result, "warnings": task.warnings}


def test_what_is_planned_is_written_and_read_back(machine: Machine) -> None:
    result = run(machine, WEB)
    text = "".join(f"{line}\n" for line in LINES)
    assert result == {"changed": True, "diff": {"before": "", "after": text}, "operations": LINES, "warnings": []}
    assert machine.kernel.save() == LINES
    assert machine.kernel.commands[-1] not in WRITES
    assert machine.kernel.ran == []
    assert all(end.closed for end in machine.kernel.sockets)


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    run(machine, WEB)
    machine.kernel.commands.clear()
    assert run(machine, WEB) == {
        "changed": False,
        "diff": {"before": "", "after": ""},
        "operations": [],
        "warnings": [],
    }
    assert machine.kernel.writes == []


def test_check_mode_tells_the_same_and_sends_nothing(machine: Machine) -> None:
    checked = run(machine, WEB, check=True)
    assert machine.kernel.writes == []
    assert checked == run(machine, WEB)


def test_a_loadable_module_is_loaded(machine: Machine) -> None:
    machine.unload()
    assert run(machine, WEB)["changed"]
    assert machine.kernel.ran == [["modprobe", "ip_vs"]]
    assert machine.kernel.save() == LINES


def test_check_mode_loads_nothing(machine: Machine) -> None:
    machine.unload()
    result = run(machine, WEB, check=True)
    assert result["operations"] == LINES
    assert result["warnings"] == ["the kernel module ip_vs is not loaded: planned against an empty table"]
    assert machine.kernel.ran == []
    assert machine.kernel.sockets == []


@pytest.mark.parametrize("check", [False, True])
def test_a_host_without_the_module_is_told(machine: Machine, check: bool) -> None:
    machine.unload()
    machine.provide([])
    with pytest.raises(
        Unavailable, match=r"cannot be loaded .*: install the kernel's modules \(Debian: .*kernel-modules-extra\)"
    ):
        run(machine, WEB, check=check)
    assert machine.kernel.commands == []


WEB6 = {"address": "2001:db8::10", "port": 80, "scheduler": "rr"}


@pytest.mark.parametrize("check", [False, True])
def test_ipv6_that_is_disabled_is_found_before_a_byte_is_written(machine: Machine, check: bool) -> None:
    machine.disable_ipv6()
    with pytest.raises(InvalidInput) as caught:
        run(machine, WEB, WEB6, check=check)
    assert caught.value.details["problems"] == ["-A -t [2001:db8::10]:80 -s rr: IPv6 is disabled on this host"]
    assert machine.kernel.writes == []


def test_what_is_to_be_gone_needs_no_ipv6(machine: Machine) -> None:
    machine.disable_ipv6()
    with Client() as client:
        assert client.entries(wanted(WEB6)) == {}
        assert client.service(next(iter(wanted(WEB6)))) is None


@pytest.mark.parametrize("check", [False, True])
def test_a_missing_scheduler_is_found_before_a_byte_is_written(machine: Machine, check: bool) -> None:
    machine.provide(["ip_vs", "ip_vs_rr"])
    sip = {"address": "192.0.2.10", "port": 53, "protocol": "udp", "scheduler": "rr", "persistence_timeout": 60}
    with pytest.raises(InvalidInput) as caught:
        run(machine, WEB, {**sip, "persistence_engine": "sip"}, {**WEB, "port": 81}, check=check)
    assert caught.value.details["problems"] == [
        "-A -t 192.0.2.10:80 -s mh: the module ip_vs_mh is not available in this kernel",
        "-A -t 192.0.2.10:81 -s mh: the module ip_vs_mh is not available in this kernel",
        "-A -u 192.0.2.10:53 -s rr -p 60 --pe sip: the module ip_vs_pe_sip is not available in this kernel",
    ]
    assert machine.kernel.writes == []


def test_a_scheduler_that_stays_is_not_looked_for(machine: Machine) -> None:
    run(machine, WEB)
    machine.provide(["ip_vs"])
    assert run(machine, {**WEB, "servers": [{"address": "198.51.100.11", "weight": 2}, GUE]})["changed"]


def test_a_refusal_is_told_with_the_whole_outcome(machine: Machine) -> None:
    machine.kernel.refuse = {1: errno.EINVAL, 2: errno.ENOMEM}
    with pytest.raises(IpvsError) as caught:
        run(machine, WEB)
    assert str(caught.value).startswith(f"the kernel refused {LINES[1]}: the kernel takes this address or combination")
    assert str(caught.value).endswith(" (and 1 more)")
    details = caught.value.details
    assert details["changed"]
    assert details["outcome"]["applied"] == LINES[:1]
    assert [one["operation"] for one in details["outcome"]["failed"]] == LINES[1:]
    assert details["outcome"]["not_attempted"] == []
    assert details["diff"]["before"] == ""


def test_a_refusal_of_everything_changes_nothing(machine: Machine) -> None:
    machine.kernel.refuse = dict.fromkeys(range(3), errno.EPERM)
    with pytest.raises(IpvsError, match="CAP_NET_ADMIN") as caught:
        run(machine, WEB)
    assert not caught.value.details["changed"]


def test_reading_back_finds_a_lie(machine: Machine) -> None:
    run(machine, WEB)
    machine.kernel.lie = True
    with pytest.raises(IpvsError) as caught:
        run(machine, {**WEB, "scheduler": "rr"})
    edit = "-E -t 192.0.2.10:80 -s rr"
    assert str(caught.value) == (
        f"another program changed the table after {edit}, which left {LINES[0]}; run the task again"
    )
    assert caught.value.details["differences"] == [{"operation": edit, "found": LINES[0]}]
    assert caught.value.details["changed"]
    assert caught.value.details["outcome"] == {"applied": [edit], "failed": [], "not_attempted": [], "unknown": []}


def test_reading_back_finds_what_was_lost(machine: Machine) -> None:
    machine.kernel.lie = True
    with pytest.raises(IpvsError) as caught:
        run(machine, {"address": "192.0.2.20", "port": 80, "scheduler": "rr"})
    assert str(caught.value) == (
        "another program changed the table after -A -t 192.0.2.20:80 -s rr, which left nothing; run the task again"
    )


def test_a_table_cleared_after_the_last_write_is_not_blamed_on_the_kernel(machine: Machine) -> None:
    def clear(command: str) -> None:
        if command.startswith("GET") and machine.kernel.writes:
            machine.kernel.services.clear()

    machine.kernel.before = clear
    with pytest.raises(IpvsError, match=r"another program changed the table after -A .*, which left nothing"):
        run(machine, WEB)


def test_reading_back_once_is_no_proof(machine: Machine) -> None:
    """Another takes a server away and brings it back while the table is read back."""
    kernel = machine.kernel
    steps = [lambda: drop_server(kernel, 1), lambda: kernel.restore(LINES[2])]

    def step(command: str) -> None:
        if kernel.writes and command not in WRITES and steps and (command == "GET_DEST" or len(steps) == 1):
            steps.pop(0)()

    kernel.before = step
    assert run(machine, WEB)["operations"] == LINES
    assert not steps
    assert kernel.save() == LINES


def test_reading_back_finds_what_an_old_kernel_ignores(machine: Machine) -> None:
    machine.kernel.old = True
    with pytest.raises(IpvsError) as caught:
        run(machine, WEB)
    assert caught.value.details["differences"] == [
        {"operation": LINES[2], "found": "-a -t 192.0.2.10:80 -r 198.51.100.12:80 -i -w 1 --tun-type ipip"},
    ]


def test_a_kernel_that_falls_silent_is_told(machine: Machine) -> None:
    def fall_silent(command: str) -> None:
        machine.kernel.silent = command in WRITES

    machine.kernel.before = fall_silent
    with pytest.raises(IpvsError, match="the kernel did not answer an IPVS request within 30 s") as caught:
        run(machine, WEB)
    assert caught.value.details["outcome"] == {"applied": [], "failed": [], "not_attempted": [], "unknown": LINES}
    assert caught.value.details["changed"]
    assert caught.value.details["diff"]["after"].splitlines() == LINES
    assert all(end.closed for end in machine.kernel.sockets)


@pytest.mark.parametrize("call", ["send", "recv_into"])
def test_a_session_that_breaks_off_tells_what_was_answered_before(machine: Machine, call: str) -> None:
    """At the second batch of additions: the first is done, a third and the removals are not attempted."""
    kernel = machine.kernel
    kernel.restore(OTHER)
    web = {**WEB, "servers": [{"address": f"198.51.100.{last}"} for last in range(1, 251)]}

    def break_off(dummy: str) -> None:
        if len(kernel.writes) == (100 if call == "send" else 101):
            kernel.errors = {call: errno.ENOBUFS}

    kernel.before = break_off
    with pytest.raises(IpvsError, match=r"No buffer space available$") as caught:
        remove(machine, every_service, web)
    lines = [operation_line(one) for one in plan({}, wanted(web)).operations]
    assert caught.value.details["changed"]
    assert caught.value.details["outcome"] == {
        "applied": lines[:100],
        "failed": [],
        "not_attempted": [*lines[200:], "-D -t 192.0.2.20:81"],
        "unknown": lines[100:200],
    }


def test_a_missing_capability_is_told(machine: Machine) -> None:
    machine.kernel.capable = False
    with pytest.raises(Forbidden, match="become: true"):
        run(machine, WEB)


def test_long_lists_are_capped() -> None:
    lines = [str(number) for number in range(102)]
    assert capped(lines[:100], 100) == lines[:100]
    assert capped(lines, 102) == capped(lines[:100], 102) == [*lines[:100], "... and 2 more"]


# other writers

RR = "-A -t 192.0.2.10:80 -s rr"


def meanwhile(kernel: Kernel, command: str, *steps: Callable[[], Any]) -> None:
    """Another writer takes one step right before each of the next requests of that name."""
    left = list(steps)

    def step(asked: str) -> None:
        if asked == command and left:
            left.pop(0)()

    kernel.before = step


def drop_server(kernel: Kernel, number: int = 0) -> None:
    [service] = kernel.services.values()
    del service.dests[sorted(service.dests)[number]]


@pytest.mark.parametrize(
    ("added", "operations"),
    [
        (LINES, []),
        (LINES[:2], LINES[2:]),
        ([RR], [*LINES[1:], "-E -t 192.0.2.10:80 -s mh"]),
        ([RR, LINES[1].replace("-w 1", "-w 5"), LINES[2]], ["-E -t 192.0.2.10:80 -s mh", LINES[1].replace("-a", "-e")]),
    ],
)
def test_what_another_adds_first_is_edited_or_left(machine: Machine, added: list[str], operations: list[str]) -> None:
    kernel = machine.kernel
    meanwhile(kernel, "NEW_SERVICE", lambda: kernel.restore("\n".join(added)))
    result = run(machine, WEB)
    assert result["operations"] == operations
    assert result["changed"] == bool(operations)
    assert kernel.save() == LINES


@pytest.mark.parametrize("gone", [0, 1])
def test_a_server_that_another_deletes_first_is_added(machine: Machine, gone: int) -> None:
    kernel = machine.kernel
    kernel.restore("\n".join([LINES[0], *(line.replace("-w 1", "-w 5") for line in LINES[1:])]))
    meanwhile(kernel, "SET_DEST", lambda: drop_server(kernel, gone))
    result = run(machine, WEB)
    assert sorted(result["operations"]) == [LINES[1 + gone], LINES[2 - gone].replace("-a", "-e")]
    assert kernel.save() == LINES


def test_a_service_that_another_deletes_first_is_added(machine: Machine) -> None:
    kernel = machine.kernel
    kernel.restore("\n".join([RR, *LINES[1:]]))
    meanwhile(kernel, "SET_SERVICE", kernel.services.clear)
    assert run(machine, WEB)["operations"] == LINES
    assert kernel.save() == LINES


def remove(machine: Machine, unwanted: Callable[[Table], Any], *services: dict[str, Any]) -> dict[str, Any]:
    table = wanted(*services)
    task = Task(machine, False)
    result = converge(task, lambda client: client.table(), lambda live: plan(live, table, *unwanted(live)))
    result.pop("plan")
    return result


def every_service(live: Table) -> tuple[list[Any], list[Any]]:
    return [key for key in live if key.port != 80], []


def every_server(live: Table) -> tuple[list[Any], list[Any]]:
    return [], [(key, server) for key in live for server in live[key].servers]


@pytest.mark.parametrize(("command", "unwanted"), [("DEL_DEST", every_server), ("DEL_SERVICE", every_service)])
def test_what_another_deletes_first_is_no_failure(machine: Machine, command: str, unwanted: Any) -> None:
    kernel = machine.kernel
    kernel.restore("\n".join(LINES).replace(":80", ":81"))
    meanwhile(kernel, command, kernel.services.clear)
    assert remove(machine, unwanted) == {
        "changed": False,
        "diff": {"before": "", "after": ""},
        "operations": [],
    }
    assert kernel.writes.count(command) in (1, 2)


FOREIGN_SERVER = "-a -t 192.0.2.20:81 -r 198.51.100.99:81 -g -w 1"


def purge(live: Table) -> tuple[list[Any], list[Any]]:
    """As a purge of what is ours: a service in which another has servers stays."""
    return [key for key, entry in live.items() if key.port != 80 and not entry.servers], []


def test_a_service_in_which_another_puts_a_server_meanwhile_stays(machine: Machine) -> None:
    kernel = machine.kernel
    kernel.restore(OTHER)
    meanwhile(kernel, "NEW_SERVICE", lambda: kernel.restore(FOREIGN_SERVER))
    assert remove(machine, purge, WEB)["operations"] == LINES
    assert kernel.save() == [*LINES, OTHER, FOREIGN_SERVER]


def test_a_writer_that_fills_services_without_end_fails_the_task(machine: Machine) -> None:
    """Each round adds one service more, so that something is done before the removal."""
    kernel, servers, services = machine.kernel, itertools.count(91), itertools.count(30)
    kernel.restore(OTHER)

    def fill(command: str) -> None:
        if command == "NEW_SERVICE":
            kernel.restore(FOREIGN_SERVER.replace("99", str(next(servers))))

    def decide(live: Table) -> Plan:
        more = wanted({"address": f"192.0.2.{next(services)}", "port": 80})
        return plan(live, more, *every_service(live))

    kernel.before = fill
    with pytest.raises(IpvsError, match=r"^another writer keeps putting servers into services"):
        converge(Task(machine, False), lambda client: client.table(), decide)
    assert kernel.writes == ["NEW_SERVICE"] * 3


def test_what_is_not_of_another_is_told_first(machine: Machine) -> None:
    kernel = machine.kernel
    meanwhile(kernel, "NEW_SERVICE", lambda: kernel.restore("\n".join(LINES[:2])))
    kernel.refuse = {2: errno.EINVAL}
    with pytest.raises(IpvsError, match=r"198\.51\.100\.12.* takes this address .* \(and 2 more\)$"):
        run(machine, WEB)


def test_a_writer_without_end_fails_the_task_after_three_rounds(machine: Machine) -> None:
    kernel = machine.kernel
    kernel.restore("\n".join([LINES[0], LINES[1].replace("-w 1", "-w 5")]))

    def undo(command: str) -> None:
        if command == "SET_DEST":
            drop_server(kernel)
        elif command == "NEW_DEST":
            kernel.restore(LINES[1].replace("-w 1", "-w 5"))

    kernel.before = undo
    with pytest.raises(IpvsError, match=r"the server is gone: another writer is changing the table$") as caught:
        run(machine, {**WEB, "servers": WEB["servers"][:1]})
    assert kernel.writes == ["SET_DEST", "NEW_DEST", "SET_DEST"]
    assert caught.value.details["changed"] is False
    assert caught.value.details["outcome"]["applied"] == []


def test_a_failure_in_a_later_round_tells_the_earlier_ones(machine: Machine) -> None:
    kernel = machine.kernel
    meanwhile(kernel, "NEW_SERVICE", lambda: kernel.restore(RR))
    kernel.refuse = {3: errno.ENOMEM}
    with pytest.raises(IpvsError, match=r"^the kernel refused -E .*: the kernel is out of memory$") as caught:
        run(machine, WEB)
    assert caught.value.details["changed"]
    assert caught.value.details["outcome"]["applied"] == LINES[1:]


def test_a_refusal_to_go_on_tells_what_was_done(machine: Machine) -> None:
    kernel = machine.kernel
    table = wanted(WEB)
    meanwhile(kernel, "NEW_SERVICE", lambda: kernel.restore(RR))

    def decide(live: Table) -> Plan:
        if live:
            raise IpvsError("this is too much")
        return plan(live, table)

    with pytest.raises(IpvsError, match=r"^this is too much$") as caught:
        converge(Task(machine, False), lambda client: client.table(), decide)
    assert caught.value.details == {
        "changed": True,
        "outcome": {"applied": LINES[1:], "failed": [], "not_attempted": [], "unknown": []},
    }


# two readings before a removal

OTHER = "-A -t 192.0.2.20:81 -s rr"


def at_each_reading(kernel: Kernel, *tables: list[str]) -> None:
    """The table changes from one reading to the next, never within one, and ends as the last of ``tables``."""
    asked = itertools.count()

    def change(command: str) -> None:
        if command == "GET_SERVICE":  # a reading begins and ends with one
            number = next(asked)
            if number % 2 == 0 and number // 2 < len(tables):
                kernel.services.clear()
                kernel.restore("\n".join(tables[number // 2]))

    kernel.before = change


def test_what_only_one_reading_shows_is_not_removed(machine: Machine) -> None:
    at_each_reading(machine.kernel, [*LINES, OTHER], LINES)
    assert not remove(machine, every_service, WEB)["changed"]
    assert machine.kernel.writes == []


def test_what_two_readings_show_is_removed(machine: Machine) -> None:
    second = OTHER.replace("20", "30")
    at_each_reading(machine.kernel, [*LINES, OTHER], [*LINES, OTHER, second], [*LINES, OTHER, second])
    assert remove(machine, every_service, WEB)["operations"] == ["-D -t 192.0.2.20:81", "-D -t 192.0.2.30:81"]
    assert machine.kernel.save() == LINES


def test_readings_that_never_agree_are_told(machine: Machine) -> None:
    tables = [[*LINES, OTHER.replace("20", str(20 + number))] for number in range(READINGS)]
    at_each_reading(machine.kernel, *tables)
    told = (
        f"another writer keeps changing the IPVS table: {READINGS} readings differ in what is missing or to be removed"
    )
    with pytest.raises(IpvsError, match=f"^{told}$"):
        remove(machine, every_service, WEB)
    assert machine.kernel.writes == []


def test_readings_need_to_agree_about_removals_alone(machine: Machine) -> None:
    heavier = [line.replace("-w 1", "-w 7") for line in LINES]
    at_each_reading(machine.kernel, [*LINES, OTHER], [*heavier, OTHER])
    result = remove(machine, every_service, WEB)
    assert len(result["operations"]) == 3
    commands = machine.kernel.commands
    assert commands[: commands.index("SET_DEST")].count("GET_SERVICE") == 4
    assert machine.kernel.save() == LINES


def test_an_addition_needs_one_reading(machine: Machine) -> None:
    run(machine, WEB)
    assert machine.kernel.commands.index("NEW_SERVICE") == 1


def test_a_service_that_vanishes_while_it_is_read_is_gone(machine: Machine) -> None:
    kernel = machine.kernel
    kernel.restore("\n".join([*LINES, OTHER]))
    [key, dummy] = kernel.services
    meanwhile(kernel, "GET_DEST", lambda: kernel.services.pop(key))
    assert run(machine, WEB)["operations"] == LINES
