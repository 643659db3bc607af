# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_table on a fake kernel."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from plugins.module_utils import _management
from plugins.module_utils._client import FEW
from plugins.module_utils._model import Table
from plugins.module_utils._text import entry_params, table_lines
from plugins.modules.ipvs_server import main as server_main
from plugins.modules.ipvs_service import main as service_main
from plugins.modules.ipvs_table import main
from tests.unit import strategies
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import Kernel

WEB = {
    "name": "web",
    "address": "192.0.2.10",
    "port": 443,
    "scheduler": "mh",
    "scheduler_flags": ["mh-port"],
    "forward": "nat",
    "servers": [
        {"address": "198.51.100.12", "port": 8443, "weight": 2},
        {"address": "198.51.100.11", "port": 8443},
    ],
}
DNS = {
    "address": "192.0.2.10",
    "port": 53,
    "protocol": "udp",
    "one_packet": True,
    "servers": [{"address": "198.51.100.21", "forward": "tun", "tunnel_type": "gue", "tunnel_port": 6080}],
}
MARK = {"fwmark": 7, "family": "ipv6", "persistence_timeout": 60, "servers": [{"address": "2001:db8::11"}]}
WEB_LINES = """
    -A -t 192.0.2.10:443 -s mh -b mh-port
    -a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1
    -a -t 192.0.2.10:443 -r 198.51.100.12:8443 -m -w 2
"""
DNS_LINES = """
    -A -u 192.0.2.10:53 -s wlc -o
    -a -u 192.0.2.10:53 -r 198.51.100.21:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
"""
MARK_LINES = """
    -A -f 7 -6 -s wlc -p 60
    -a -f 7 -6 -r [2001:db8::11]:0 -g -w 1
"""
ALL = {"services": [WEB, DNS, MARK]}
ALL_LINES = WEB_LINES + DNS_LINES + MARK_LINES
FOREIGN = """
    -A -t 192.0.2.99:443 -s rr -p 60
    -a -t 192.0.2.99:443 -r 198.51.100.99:443 -g -w 9
    -A -f 7 -s rr
"""


def lines(text: str) -> list[str]:
    return list(filter(None, map(str.strip, text.splitlines())))


def test_a_table_is_made(every_way: Any, kernel: Kernel) -> None:
    result = every_way(main, ALL, "", ALL_LINES)
    assert result["operations"] == lines(ALL_LINES)
    assert result["counts"] == {"add_service": 3, "add_server": 4}
    assert result["diff"]["after"] == "".join(f"{line}\n" for line in lines(ALL_LINES))


def test_what_is_not_listed_is_left_alone(every_way: Any) -> None:
    extra = "-a -t 192.0.2.10:443 -r 198.51.100.99:8443 -m -w 7\n"
    before = FOREIGN + DNS_LINES + WEB_LINES + extra
    result = every_way(main, {"services": [WEB, MARK]}, before, before + MARK_LINES)
    assert result["operations"] == lines(MARK_LINES)
    assert "192.0.2.99" not in result["diff"]["before"] + result["diff"]["after"]


LIVE = {
    "-A -t 192.0.2.10:443 -s mh -b mh-port": "the same",
    "-A -t 192.0.2.10:443 -s rr": "another scheduler",
    "-A -t 192.0.2.10:443 -s mh": "no flags",
    "-A -t 192.0.2.10:443 -s mh -b mh-fallback,mh-port,flag-3": "more flags",
    "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-port": "persistence",
}


@pytest.mark.parametrize("live", LIVE, ids=LIVE.values())
def test_what_is_not_given_of_a_service_is_the_default(every_way: Any, live: str) -> None:
    head, *servers = lines(WEB_LINES)
    result = every_way(main, {"services": [WEB]}, "\n".join([live, *servers]), WEB_LINES)
    assert result["operations"] == ([] if live == head else [head.replace("-A", "-E")])


@pytest.mark.parametrize(
    "live",
    [
        "-m -w 1 -x 9 -y 3",
        "-m -w 0",
        "-g -w 1",
        "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "-i -w 5 --tun-type ipip -x 1 -y 1",
    ],
)
def test_what_is_not_given_of_a_server_is_the_default(every_way: Any, live: str) -> None:
    before = WEB_LINES.replace("198.51.100.11:8443 -m -w 1", f"198.51.100.11:8443 {live}")
    result = every_way(main, {"services": [WEB]}, before, WEB_LINES)
    assert result["operations"] == ["-e -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"]
    assert result["counts"] == {"edit_server": 1}


def test_servers_that_go_from_or_to_dr_are_told(every_way: Any) -> None:
    direct = {**DNS, "servers": [{"address": "198.51.100.21"}]}
    after = "-A -u 192.0.2.10:53 -s wlc -o\n-a -u 192.0.2.10:53 -r 198.51.100.21:53 -g -w 1"
    result = every_way(main, {"services": [direct]}, DNS_LINES, after)
    assert result["rerouted"] == ["198.51.100.21"]


NOT_READY = [{"service": {"address": "192.0.2.10", "port": 443}, "server": {"address": "198.51.100.11", "port": 8443}}]


def test_a_server_that_is_not_ready_is_not_added(every_way: Any) -> None:
    after = "".join(line for line in WEB_LINES.splitlines(True) if "198.51.100.11" not in line)
    result = every_way(main, {"services": [WEB], "not_ready": NOT_READY}, "", after)
    assert result["not_added"] == ["-t 192.0.2.10:443 -r 198.51.100.11:8443"]


@pytest.mark.parametrize("purge", ["none", "owned", "all"])
def test_a_live_server_that_is_not_ready_stays_as_it_is(every_way: Any, purge: str) -> None:
    before = WEB_LINES.replace("198.51.100.11:8443 -m -w 1", "198.51.100.11:8443 -m -w 9 -x 7 -y 3")
    result = every_way(main, {"services": [WEB], "not_ready": NOT_READY, "purge": purge}, before, before)
    assert (result["operations"], result["not_added"]) == ([], [])


def test_a_server_that_is_not_ready_and_not_listed_makes_no_difference(every_way: Any) -> None:
    every_way(main, {"services": [DNS], "not_ready": NOT_READY}, "", DNS_LINES)


def test_a_live_server_that_no_list_may_add_can_be_not_ready(every_way: Any) -> None:
    service, odd = {"address": "2001:db8::10", "port": 80}, {"address": "fe80::11", "port": 80}
    before = "-A -t [2001:db8::10]:80 -s wlc\n-a -t [2001:db8::10]:80 -r [fe80::11]:80 -g -w 1\n"
    params = {"services": [{**service, "servers": [{**odd, "weight": 5}]}]}
    every_way(main, {**params, "not_ready": [{"service": service, "server": odd}]}, before, before)


@pytest.mark.parametrize(
    ("not_ready", "problem"),
    [
        ([{"service": NOT_READY[0]["service"]}], "not_ready[0].server: is required"),
        ([{**NOT_READY[0], "host": "web1"}], "not_ready[0].host: unknown key"),
        ([{**NOT_READY[0], "server": {"address": "web1"}}], "not_ready[0].server.address: must be an IP address"),
        ([{**NOT_READY[0], "service": {"port": 443}}], "not_ready[0].service"),
        (
            [{**NOT_READY[0], "server": {**NOT_READY[0]["server"], "weight": 5}}],
            "not_ready[0].server.weight: unknown key",
        ),
    ],
)
def test_bad_servers_that_are_not_ready_are_named(run_main: Any, not_ready: Any, problem: str) -> None:
    result = run_main(main, {"services": [WEB], "not_ready": not_ready})
    assert result["failed"]
    assert any(one.startswith(problem) for one in result["problems"]), result["problems"]


def test_a_drain_comes_after_everything_that_takes_over(every_way: Any) -> None:
    servers = [
        {"address": "198.51.100.11", "port": 8443, "weight": 0},
        {"address": "198.51.100.12", "port": 8443, "weight": 3},
        {"address": "198.51.100.13", "port": 8443},
    ]
    after = """
        -A -t 192.0.2.10:443 -s mh -b mh-port
        -a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 0
        -a -t 192.0.2.10:443 -r 198.51.100.12:8443 -m -w 3
        -a -t 192.0.2.10:443 -r 198.51.100.13:8443 -m -w 1
    """
    result = every_way(main, {"services": [{**WEB, "servers": servers}]}, WEB_LINES, after)
    assert result["operations"] == [
        "-a -t 192.0.2.10:443 -r 198.51.100.13:8443 -m -w 1",
        "-e -t 192.0.2.10:443 -r 198.51.100.12:8443 -m -w 3",
        "-e -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 0",
    ]


def test_listed_services_are_removed_whatever_they_hold(every_way: Any) -> None:
    live = WEB_LINES.replace("-s mh -b mh-port", "-s rr -p 9") + DNS_LINES + FOREIGN
    params = {"services": [{"address": "192.0.2.10", "port": 443}, MARK, DNS], "state": "absent"}
    result = every_way(main, params, live, FOREIGN)
    assert result["operations"] == ["-D -t 192.0.2.10:443", "-D -u 192.0.2.10:53"]
    assert result["warnings"] == []


EVERY_PORT = [{"address": "192.0.2.10", "port": 0}]


@pytest.mark.parametrize("source", ["services", "src"])
def test_a_service_of_every_port_is_removed_by_its_identity(every_way: Any, source: str, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("-A -t 192.0.2.10:0\n")
    params = {"services": EVERY_PORT} if source == "services" else {"src": str(tmp_path / "rules")}
    every_way(main, {**params, "state": "absent"}, f"-A -t 192.0.2.10:0 -s wlc -p 300{FOREIGN}", FOREIGN)


def test_a_service_of_every_port_is_made_with_persistence_alone(refused: Any) -> None:
    told = "services[0].port: 0 (every port) needs persistence_timeout (got 0)"
    assert refused(main, {"services": EVERY_PORT}) == told


def test_an_empty_list_changes_nothing(every_way: Any) -> None:
    every_way(main, {"services": []}, FOREIGN, FOREIGN)
    every_way(main, {"services": [], "state": "absent"}, FOREIGN, FOREIGN)


@pytest.mark.parametrize("options", [{}, {"keep_weights": True}, {"state": "absent"}])
def test_churn_of_other_services_is_no_hindrance(run_main: Any, kernel: Kernel, options: dict[str, Any]) -> None:
    """Another adds and removes a service of its own before each request; only many listed are picked from the whole."""
    kernel.restore(WEB_LINES + FOREIGN)
    its = (2, 0, 6, bytes([192, 0, 2, 98]), 80)

    def churn(dummy: str) -> None:
        if not kernel.services.pop(its, None):
            kernel.restore("-A -t 192.0.2.98:80 -s rr")

    kernel.before = churn
    done = ["-D -t 192.0.2.10:443"] if "state" in options else map(str.strip, DNS_LINES.strip().splitlines())
    result = run_main(main, {"services": [WEB, DNS], **options})
    assert not result["failed"], result["msg"]
    assert set(result["operations"]) == set(done)
    many = [{**DNS, "port": port} for port in range(1, FEW + 2)]
    assert "never in one piece" in run_main(main, {"services": many, **options})["msg"]


def test_a_few_services_are_read_without_the_others(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(ALL_LINES + FOREIGN)
    run_main(main, ALL)
    assert kernel.commands == ["GET_SERVICE", "GET_DEST", "GET_SERVICE"] * len(ALL["services"])


def test_servers_are_added_in_canonical_order_whatever_the_list(run_main: Any, kernel: Kernel) -> None:
    """Scheduler sh maps clients by the order of additions, so that it has to be the same on every director."""
    orders = []
    for servers in (WEB["servers"], WEB["servers"][::-1]):
        kernel.services.clear()
        run_main(main, {"services": [{**WEB, "servers": servers}]})
        [service] = kernel.services.values()
        orders.append(list(service.dests))
    assert orders[0] == orders[1] == sorted(orders[0])


def test_a_large_table_takes_few_sends(run_main: Any, kernel: Kernel) -> None:
    servers = [{"address": f"198.51.100.{last}"} for last in range(1, 11)]
    services = [{"address": "192.0.2.10", "port": port, "servers": servers} for port in range(1, 101)]
    result = run_main(main, {"services": services})
    assert len(kernel.writes) == 1100
    assert kernel.sends.count(100) == 11
    assert len(result["operations"]) == 101
    assert result["operations"][-1] == "... and 1000 more"
    assert not run_main(main, {"services": services})["changed"]


@pytest.mark.parametrize(("services", "servers"), [(300, 100), (1, 4000)])
def test_a_large_table_has_a_small_result(run_main: Any, kernel: Kernel, services: int, servers: int) -> None:
    held = [{"address": f"2001:db8::{last:x}"} for last in range(1, servers + 1)]
    params = {
        "services": [{"address": "2001:db8:1::10", "port": port, "servers": held} for port in range(1, services + 1)]
    }
    result = run_main(main, params, check=True)
    assert result["counts"] == {"add_service": services, "add_server": services * servers}
    assert len(json.dumps(result)) < 65536


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(strategies.related_tables())
def test_any_table_becomes_what_is_wanted(run_main: Any, machine: Machine, tables: tuple[Table, Table]) -> None:
    kernel = machine.kernel
    kernel.schedulers.add("twos")
    (machine.sys / "ip_vs_twos").mkdir(exist_ok=True)
    before, wanted = tables
    kernel.services.clear()
    kernel.restore("\n".join(table_lines(before)))
    services = [entry_params(entry) for entry in wanted.values()]
    checked = run_main(main, {"services": services}, check=True)
    done = run_main(main, {"services": services})
    assert not done["failed"]
    assert done == checked
    assert set(table_lines(wanted)) <= set(kernel.save())
    assert not run_main(main, {"services": services})["changed"]


IS_REQUIRED = "is required (or fwmark with family)"
BAD: list[tuple[Any, list[str]]] = [
    ([{}], [f"services[0].address: {IS_REQUIRED}", f"services[0].port: {IS_REQUIRED}"]),
    (
        [WEB, DNS, WEB],
        ["services[2]: duplicate of services[0] (got '-t 192.0.2.10:443')"],
    ),
    (
        [{**WEB, "shceduler": "rr", "servers": [{"address": "198.51.100.11", "wieght": 1}]}],
        [
            "services[0].shceduler: unknown key; did you mean scheduler?",
            "services[0].servers[0].wieght: unknown key; did you mean weight?",
        ],
    ),
    (
        [{**WEB, "servers_from": {"group": "web"}}],
        [
            "services[0].servers_from: is known to the inventory only: pass the services through"
            " l4lb.ipvs.resolve_services"
        ],
    ),
    (
        [
            {**WEB, "address": "web1", "port": True, "scheduler": None},
            {**DNS, "servers": [{"address": "198.51.100.21", "weight": "080"}, "198.51.100.22"]},
            {**MARK, "port": 80},
        ],
        [
            "services[0].address: must be an IP address; host names are not resolved (got 'web1')",
            "services[0].port: must be a decimal integer 0..65535 (got True)",
            "services[0].scheduler: must not be empty",
            "services[1].servers[0].weight: must be a decimal integer 0..2147483647 (got '080')",
            "services[1].servers[1]: must be a dict (got '198.51.100.22')",
            "services[2].fwmark: excludes port (got 7)",
        ],
    ),
    (
        [{**DNS, "port": port, "servers": [{"address": "198.51.100.21", "weight": -1}]} for port in range(1, 31)],
        [
            *(f"services[{index}].servers[0].weight: must be an integer 0..2147483647 (got -1)" for index in range(20)),
            "... and 10 more",
        ],
    ),
]


@pytest.mark.parametrize(("services", "problems"), BAD)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_bad_input_is_refused_before_the_kernel_is_asked(
    refused: Any, services: Any, problems: list[str], state: str
) -> None:
    assert refused(main, {"services": services, "state": state}) == "; ".join(problems)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "one of the following is required: services, src"),
        ({"services": [], "src": "/x"}, "parameters are mutually exclusive: services|src"),
        ({"services": "192.0.2.10"}, "services"),
        ({"services": [], "purge": "everything"}, "value of purge must be one of: none, owned, all, got: everything"),
        ({"services": [], "state": "gone"}, "value of state must be one of: present, absent, got: gone"),
        ({"services": [], "serivces": []}, "Unsupported parameters"),
        ({"services": [], "netns": "../x"}, "netns: no such network namespace; known: "),
    ],
)
def test_bad_options_are_refused(refused: Any, params: dict[str, Any], message: str) -> None:
    assert message in refused(main, params)


def test_what_is_unwise_warns(run_main: Any, kernel: Kernel) -> None:
    services = [
        {**WEB, "servers": []},
        {**DNS, "scheduler": "sh", "servers": [{"address": "198.51.100.21", "weight": 65536}]},
        {**MARK, "servers": [{"address": "2001:db8::11", "weight": 0}]},
    ]
    assert run_main(main, {"services": services})["warnings"] == [
        "services[0].servers: no servers: connections will be refused",
        "services[1].servers[0].weight: is above 65535, the most that ipvsadm restores except Debian's (got 65536)",
        "services[1].servers: scheduler sh has 256 slots: weights above them in sum starve the last servers"
        " (got 65536)",
        "services[2].servers: every weight is 0: new connections will be refused",
    ]


def test_the_way_in_is_not_taken_unless_it_is_meant(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "192.0.2.10", "port": 443})
    every = {"address": "192.0.2.10", "port": 0, "persistence_timeout": 60}
    params = {"services": [WEB, DNS, every]}
    rule = "has the address and port through which this task is connected; force accepts it (got '192.0.2.10 port 443')"
    for check in (True, False):
        refused = run_main(main, params, check=check)
        assert refused["failed"]
        assert refused["msg"] == f"-t 192.0.2.10:0: {rule}; -t 192.0.2.10:443: {rule}"
    assert kernel.writes == []
    assert not run_main(main, {"services": [DNS]})["failed"]
    assert not run_main(main, {**params, "force": True})["failed"]
    # what is there already is neither asked about nor in the way of its removal
    monkeypatch.setattr(_management, "management_connection", None)
    assert not run_main(main, params)["changed"]
    assert run_main(main, {"services": [{**WEB, "servers": []}], "state": "absent"})["changed"]


def test_a_refusal_of_the_kernel_is_told_with_the_outcome(run_main: Any, kernel: Kernel) -> None:
    kernel.refuse = {1: errno.EINVAL}
    result = run_main(main, {"services": [WEB]})
    added = lines(WEB_LINES)
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["msg"].startswith(f"the kernel refused {added[1]}: ")
    assert result["outcome"]["applied"] == [added[0], added[2]]
    assert [one["operation"] for one in result["outcome"]["failed"]] == [added[1]]
    assert result["outcome"]["not_attempted"] == []


def test_mixed_families_beside_a_sync_daemon_are_told(run_main: Any, kernel: Kernel) -> None:
    mixed = {"services": [{**WEB, "servers": [{"address": "2001:db8::11", "port": 443, "forward": "tun"}]}]}
    kernel.sync = True
    refused = run_main(main, mixed)
    assert refused["failed"]
    [failed] = refused["outcome"]["failed"]
    assert failed["operation"] == "-a -t 192.0.2.10:443 -r [2001:db8::11]:443 -i -w 1 --tun-type ipip"
    assert "mixed families while a sync daemon runs" in failed["reason"]
    assert failed["reason"] in refused["msg"]
    kernel.sync = False
    assert run_main(main, mixed)["operations"] == [failed["operation"]]


def test_a_host_without_ipvs_is_told(run_main: Any, machine: Machine) -> None:
    machine.unload()
    machine.provide([])
    for check in (False, True):
        assert "the kernel module ip_vs is not loaded" in run_main(main, ALL, check=check)["msg"]


@pytest.mark.parametrize(
    ("main", "params"),
    [
        (main, {"services": []}),
        (main, {"services": [], "purge": "owned"}),
        (main, {**ALL, "state": "absent"}),
        (service_main, {"fwmark": 7, "family": "ipv4", "state": "absent"}),
        (
            server_main,
            {"service": {"address": "192.0.2.10", "port": 80}, "address": "198.51.100.11", "state": "absent"},
        ),
    ],
)
@pytest.mark.parametrize("names", [[], ["ip_vs"]], ids=["without", "with"])
def test_what_adds_nothing_needs_no_ipvs(
    run_main: Any, machine: Machine, main: Any, params: dict[str, Any], names: list[str]
) -> None:
    machine.unload()
    machine.provide(names)
    for check in (True, False):
        result = run_main(main, params, check=check)
        assert (result["failed"], result["changed"], result["warnings"]) == (False, False, [])
    assert machine.kernel.ran == []
    assert machine.kernel.sockets == []


def test_ipvs_is_loaded_but_not_in_check_mode(run_main: Any, machine: Machine) -> None:
    machine.unload()
    checked = run_main(main, ALL, check=True)
    assert checked["warnings"] == ["the kernel module ip_vs is not loaded: planned against an empty table"]
    assert run_main(main, {**ALL, "assume_prepared": ["ip_vs"]}, check=True) == {**checked, "warnings": []}
    assert machine.kernel.ran == []
    done = run_main(main, ALL)
    assert machine.kernel.ran == [["modprobe", "ip_vs"]]
    assert done == {**checked, "warnings": []}
