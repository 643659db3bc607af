# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, write, read back."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from plugins.module_utils._converge import capped, converge
from plugins.module_utils._errors import Findings, Forbidden, InvalidInput, IpvsError, Unavailable
from plugins.module_utils._model import Table, parse_services
from plugins.module_utils._plan import Plan, plan
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import WRITES

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
        self.machine, self.check_mode = machine, check_mode
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


@pytest.mark.parametrize(
    ("check", "told"),
    [(False, "cannot be loaded .*install the kernel's modules"), (True, "and this host does not have")],
)
def test_a_host_without_the_module_is_told(machine: Machine, check: bool, told: str) -> None:
    machine.unload()
    machine.provide([])
    with pytest.raises(Unavailable, match=f"the kernel module ip_vs is not loaded.*{told}"):
        run(machine, WEB, check=check)
    assert machine.kernel.commands == []


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
    missing = "missing: -A -t 192.0.2.10:80 -s rr"
    assert str(caught.value) == f"the kernel accepted the changes but does not hold them: {missing}"
    assert caught.value.details["differences"] == [missing, f"found: {LINES[0]}"]
    assert caught.value.details["changed"]


def test_reading_back_finds_what_an_old_kernel_ignores(machine: Machine) -> None:
    machine.kernel.old = True
    with pytest.raises(IpvsError) as caught:
        run(machine, WEB)
    assert caught.value.details["differences"] == [
        f"missing: {LINES[2]}",
        "found: -a -t 192.0.2.10:80 -r 198.51.100.12:80 -i -w 1 --tun-type ipip",
    ]


def test_a_kernel_that_falls_silent_is_told(machine: Machine) -> None:
    def fall_silent(command: str) -> None:
        machine.kernel.silent = command in WRITES

    machine.kernel.before = fall_silent
    with pytest.raises(IpvsError, match="the kernel did not answer an IPVS request within 30 s"):
        run(machine, WEB)
    assert all(end.closed for end in machine.kernel.sockets)


def test_a_missing_capability_is_told(machine: Machine) -> None:
    machine.kernel.capable = False
    with pytest.raises(Forbidden, match="become: true"):
        run(machine, WEB)


def test_long_lists_are_capped() -> None:
    lines = [str(number) for number in range(102)]
    assert capped(lines[:100]) == lines[:100]
    assert capped(lines) == [*lines[:100], "... and 2 more"]
