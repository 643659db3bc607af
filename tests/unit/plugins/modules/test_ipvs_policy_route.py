# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_policy_route: the whole module on a kernel that keeps the real one's rules for rules and routes."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from plugins.module_utils import _networkd, _route_task
from plugins.module_utils._errors import KernelRefused
from plugins.module_utils._rtnl import Address, Link
from plugins.module_utils._rtnl_route import MAIN, Hop, Prefix, Route, Rule
from plugins.modules import ipvs_policy_route


def ip(written: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in written else socket.AF_INET, written)


def net(written: str) -> Prefix:
    address, dummy, length = written.partition("/")
    return Prefix(ip(address), int(length or len(ip(address)) * 8))


class FakeKernel:
    """Links, addresses, rules and routes; every write is in ``writes``."""

    def __init__(self) -> None:
        self.table = {"lo": Link(1, "lo"), "eth0": Link(2, "eth0"), "eth1": Link(3, "eth1")}
        self.networks = {"198.51.100.0/24": "eth0", "203.0.113.0/24": "eth1", "2001:db8::/64": "eth0"}
        self.held = [
            Address(ip("198.51.100.21"), "eth0", 24, protocol=0),
            Address(ip("203.0.113.21"), "eth1", 24, protocol=0),
            Address(ip("2001:db8::21"), "eth0", 64, protocol=0),
        ]
        self.foreign_rules = [
            Rule(4, 0, 255, protocol=2),
            Rule(4, 32766, 254, protocol=2),
            Rule(16, 0, 255, protocol=2),
        ]
        self.foreign_routes = [
            Route(MAIN, net("0.0.0.0/0"), via=ip("198.51.100.254"), device="eth0", protocol=3),
            Route(MAIN, net("198.51.100.0/24"), device="eth0", protocol=2),
        ]
        self.held_rules = list(self.foreign_rules)
        self.held_routes = list(self.foreign_routes)
        self.writes: list[str] = []
        self.refuse: dict[str, int] = {}

    def __enter__(self) -> FakeKernel:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass

    def links(self) -> dict[str, Link]:
        return self.table

    def addresses(self) -> list[Address]:
        return self.held

    def rules(self) -> list[Rule]:
        return list(self.held_rules)

    def routes(self) -> list[Route]:
        return list(self.held_routes)

    def hop(self, address: bytes, device: str) -> Optional[Hop]:
        if address in [held.address for held in self.held]:
            return Hop(True, False, "lo")
        if address[0] == 0xFE:
            return Hop(False, True, device)
        for network, name in self.networks.items():
            if net(network).holds(address):
                return Hop(False, True, name)
        return Hop(False, False, "eth0") if len(address) == 4 else None

    def add_rule(self, rule: Rule) -> None:
        self._write("add rule", rule)
        if any(other._replace(protocol=76) == rule for other in self.held_rules):
            raise KernelRefused("File exists", errno.EEXIST)
        self.held_rules.append(rule)

    def remove_rule(self, rule: Rule) -> None:
        self._write("remove rule", rule)
        self.held_rules.remove(rule)

    def add_route(self, route: Route) -> None:
        self._write("add route", route)
        if any(other.key == route.key for other in self.held_routes):
            raise KernelRefused("File exists", errno.EEXIST)
        self.held_routes.append(route)

    def replace_route(self, route: Route) -> None:
        self._write("replace route", route)
        self.held_routes = [other for other in self.held_routes if other.key != route.key] + [route]

    def remove_route(self, route: Route) -> None:
        self._write("remove route", route)
        self.held_routes.remove(route)

    def _write(self, what: str, subject: object) -> None:
        self.writes.append(what)
        if what in self.refuse:
            raise KernelRefused("refused by the test", self.refuse[what])

    @property
    def ours(self) -> tuple[list[Rule], list[Route]]:
        return [rule for rule in self.held_rules if rule.ours], [route for route in self.held_routes if route.ours]

    def foreign(self) -> tuple[list[Rule], list[Route]]:
        return [r for r in self.held_rules if not r.ours], [r for r in self.held_routes if not r.ours]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeKernel:
    made = FakeKernel()
    monkeypatch.setattr(_route_task, "open_kernel", lambda: made)
    monkeypatch.setattr(_route_task, "CONF", str(tmp_path))
    monkeypatch.setattr(_networkd, "ROOT", str(tmp_path / "root"))
    connect(monkeypatch, "198.51.100.21", "192.0.2.77")
    return made


def connect(monkeypatch: pytest.MonkeyPatch, host: str, client: str) -> None:
    monkeypatch.setattr(_route_task, "management_connection", lambda: {"address": host, "port": 22})
    monkeypatch.setattr(_route_task, "management_client", lambda: {"address": client, "port": 50000})


@pytest.fixture
def run(run_main: Callable[..., Any]) -> Callable[..., Any]:
    def call(*policies: Any, check: bool = False, **params: Any) -> Any:
        if policies:
            params["policies"] = list(policies)
        return run_main(ipvs_policy_route.main, params, check=check)

    return call


WEB = {"from": "198.51.100.21", "ip_protocol": "tcp", "source_port": 8443, "routes": [{"via": "198.51.100.1"}]}
BARE = {"from": "203.0.113.21", "table": 7601, "routes": [{"via": "203.0.113.1", "device": "eth1"}]}
HOST = {"table": "main", "routes": [{"to": "192.0.2.1", "via": "203.0.113.1", "device": "eth1"}]}
WEB6 = {
    "from": "2001:db8::21",
    "source_port": "80-81",
    "routes": [{"via": "2001:db8::1"}],
    "direct": ["2001:db8:7::/48"],
}
ROUTE = "route default via 198.51.100.1 dev eth0 table 7600"
RULE = "rule from 198.51.100.21 ipproto tcp sport 8443 lookup 7600 priority 7600"


def test_adds_one_in_the_four_modes(kernel: FakeKernel, run: Any) -> None:
    checked = run(WEB, check=True)
    assert checked["changed"]
    assert kernel.writes == []
    done = run(WEB)
    assert done == checked
    assert done["operations"] == [f"add {ROUTE}", f"add {RULE}"]
    assert done["diff"] == {"before": "", "after": f"{ROUTE}\n{RULE}\n"}
    assert kernel.ours == (
        [Rule(4, 7600, 7600, net("198.51.100.21"), ip_protocol=6, source_port=(8443, 8443))],
        [Route(7600, net("0.0.0.0/0"), via=ip("198.51.100.1"), device="eth0")],
    )
    for again in (run(WEB), run(WEB, check=True), run(*done["policies"]), run(*done["policies"], purge="owned")):
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"] == f"{ROUTE}\n{RULE}\n"
    assert kernel.writes == ["add route", "add rule"]
    assert done["policies"] == [
        {
            "family": "ipv4",
            "table": 7600,
            "priority": 7600,
            "from": "198.51.100.21/32",
            "ip_protocol": "tcp",
            "source_port": "8443",
            "routes": [{"to": "0.0.0.0/0", "via": "198.51.100.1"}],
        }
    ]


def test_every_attribute_arrives(kernel: FakeKernel, run: Any) -> None:
    policy = {
        "name": "everything",
        "from": "198.51.100.0/24",
        "to": "192.0.2.0/24",
        "iif": "eth1",
        "ip_protocol": "udp",
        "source_port": "1000-2000",
        "destination_port": 53,
        "fwmark": 7,
        "fwmask": 255,
        "table": 100000,
        "priority": 5,
        "routes": [
            {"to": "192.0.2.0/25", "via": "203.0.113.1", "device": "eth1", "source": "203.0.113.21", "metric": 9},
            {"to": "192.0.2.128/26", "device": "eth0"},
            {"type": "blackhole"},
        ],
        "direct": ["192.0.2.200", "192.0.2.240/28"],
    }
    done = run(policy)
    rules, routes = kernel.ours
    expected = Rule(
        4, 5, 100000, net("198.51.100.0/24"), net("192.0.2.0/24"), "eth1", 17, (1000, 2000), (53, 53), 7, 255
    )
    assert rules == [expected]
    assert routes == [
        Route(100000, net("192.0.2.0/25"), "unicast", ip("203.0.113.1"), "eth1", ip("203.0.113.21"), 9),
        Route(100000, net("192.0.2.128/26"), device="eth0"),
        Route(100000, net("0.0.0.0/0"), "blackhole"),
        Route(100000, net("192.0.2.200"), "throw"),
        Route(100000, net("192.0.2.240/28"), "throw"),
    ]
    assert done["operations"] == [
        "add route 192.0.2.0/25 via 203.0.113.1 dev eth1 src 203.0.113.21 metric 9 table 100000",
        "add route 192.0.2.128/26 dev eth0 table 100000",
        "add route blackhole default table 100000",
        "add route throw 192.0.2.200 table 100000",
        "add route throw 192.0.2.240/28 table 100000",
        "add rule from 198.51.100.0/24 to 192.0.2.0/24 iif eth1 fwmark 0x7/0xff ipproto udp sport 1000-2000 dport 53 "
        "lookup 100000 priority 5",
    ]
    assert not run(*done["policies"], purge="owned")["changed"]


def test_ipv6_has_its_own_metric(kernel: FakeKernel, run: Any) -> None:
    done = run(WEB6)
    assert kernel.ours == (
        [Rule(16, 7600, 7600, net("2001:db8::21"), source_port=(80, 81))],
        [
            Route(7600, net("::/0"), via=ip("2001:db8::1"), device="eth0", metric=1024),
            Route(7600, net("2001:db8:7::/48"), "throw", metric=1024),
        ],
    )
    assert done["operations"][0] == "add -6 route default via 2001:db8::1 dev eth0 table 7600"
    assert not run(*done["policies"])["changed"]


def test_a_link_local_gateway(kernel: FakeKernel, run: Any) -> None:
    done = run({**WEB6, "routes": [{"via": "fe80::1", "device": "eth1"}]})
    assert "add -6 route default via fe80::1 dev eth1 table 7600" in done["operations"]


def test_a_family_that_no_address_tells(kernel: FakeKernel, run: Any) -> None:
    done = run({"fwmark": 7, "family": "ipv6", "routes": [{"device": "eth0"}]})
    assert done["operations"] == [
        "add -6 route default dev eth0 table 7600",
        "add -6 rule fwmark 0x7 lookup 7600 priority 7600",
    ]


def test_the_priority_follows_the_table_of_our_range(kernel: FakeKernel, run: Any) -> None:
    run(BARE, {**WEB, "table": 100})
    assert sorted((rule.table, rule.priority) for rule in kernel.ours[0]) == [(100, 7600), (7601, 7601)]


def test_a_host_route_of_the_main_table(kernel: FakeKernel, run: Any) -> None:
    # the second seed: ip route add CLIENT via DIRECTOR dev DEVICE
    done = run(HOST)
    assert done["operations"] == ["add route 192.0.2.1 via 203.0.113.1 dev eth1 table main"]
    assert kernel.ours == ([], [Route(MAIN, net("192.0.2.1"), via=ip("203.0.113.1"), device="eth1")])
    assert not run(*done["policies"])["changed"]
    assert run(HOST, state="absent")["operations"] == ["remove route 192.0.2.1 via 203.0.113.1 dev eth1 table main"]
    assert kernel.foreign() == (kernel.foreign_rules, kernel.foreign_routes)


def test_rules_may_share_a_table(kernel: FakeKernel, run: Any) -> None:
    both = [WEB, {**WEB, "source_port": 8080}]
    done = run(*both)
    assert [operation.split()[1] for operation in done["operations"]] == ["route", "rule", "rule"]
    assert not run(*both)["changed"]
    assert run(both[0], state="absent")["operations"] == [f"remove {RULE}"]
    assert len(kernel.ours[1]) == 1
    assert len(run(both[1], state="absent")["operations"]) == 2
    assert kernel.ours == ([], [])


def test_routes_change_in_place(kernel: FakeKernel, run: Any) -> None:
    run(WEB)
    kernel.writes.clear()
    done = run({**WEB, "routes": [{"via": "198.51.100.2"}]})
    assert kernel.writes == ["replace route"]
    assert done["diff"] == {"before": f"{ROUTE}\n{RULE}\n", "after": f"{ROUTE}\n{RULE}\n".replace("100.1 ", "100.2 ")}
    assert not run(*done["policies"])["changed"]


def test_a_changed_rule_is_added_before_the_old_one_goes(kernel: FakeKernel, run: Any) -> None:
    run(WEB)
    changed = {**WEB, "source_port": 8080, "table": 7601}
    assert run(changed, check=True)["operations"] == [
        "add route default via 198.51.100.1 dev eth0 table 7601",
        "add rule from 198.51.100.21 ipproto tcp sport 8080 lookup 7601 priority 7601",
    ]
    kernel.writes.clear()
    run(changed, purge="owned")
    assert kernel.writes == ["add route", "add rule", "remove rule", "remove route"]
    assert not run(changed, purge="owned")["changed"]


def test_purges_its_own_and_nothing_else(kernel: FakeKernel, run: Any) -> None:
    kernel.held_routes.append(Route(7600, net("192.0.2.0/24"), device="eth1", protocol=4))
    run(WEB, BARE, HOST, WEB6)
    checked = run(BARE, purge="owned", check=True)
    assert run(BARE, purge="owned") == checked
    assert [rule.table for rule in kernel.ours[0]] == [7601]
    done = run(state="absent", purge="owned")
    assert len(done["operations"]) == 2
    assert kernel.ours == ([], [])
    assert kernel.foreign()[1][-1].protocol == 4
    assert kernel.foreign()[0] == kernel.foreign_rules


def test_an_empty_list_does_not_purge_everything(kernel: FakeKernel, run: Any) -> None:
    assert not run(policies=[], purge="owned")["failed"]
    run(WEB)
    assert "policies: is empty and purge would remove all 2 rules and routes" in run(policies=[], purge="owned")["msg"]


def test_what_somebody_else_has_already_is_kept(kernel: FakeKernel, run: Any) -> None:
    kernel.held_routes.append(Route(MAIN, net("192.0.2.1"), via=ip("203.0.113.1"), device="eth1", protocol=3))
    kernel.held_rules.append(Rule(4, 7601, 7601, net("203.0.113.21"), protocol=3))
    kernel.held_routes.append(Route(7601, net("0.0.0.0/0"), via=ip("203.0.113.1"), device="eth1", protocol=3))
    done = run(HOST, BARE)
    assert not done["changed"]
    assert done["kept"] == [
        "route 192.0.2.1 via 203.0.113.1 dev eth1 table main",
        "route default via 203.0.113.1 dev eth1 table 7601",
        "rule from 203.0.113.21 lookup 7601 priority 7601",
    ]
    assert not run(HOST, BARE, state="absent")["changed"]


@pytest.mark.parametrize("change", [{"via": ip("203.0.113.9")}, {"exact": False}, {"type": "blackhole"}])
def test_a_route_of_somebody_else_is_never_replaced(kernel: FakeKernel, run: Any, change: Any) -> None:
    route = Route(MAIN, net("192.0.2.1"), via=ip("203.0.113.1"), device="eth1", protocol=3)
    kernel.held_routes.append(route._replace(**change))
    assert "policies[0].routes[0].to: somebody else has a route there: route " in run(HOST)["msg"]
    assert kernel.writes == []


def test_r06_a_rule_of_somebody_else_at_the_priority(kernel: FakeKernel, run: Any) -> None:
    kernel.held_rules.append(Rule(4, 7600, 9, net("192.0.2.9"), protocol=3))
    assert (
        "policies[0].priority: a rule of somebody else has it (rule from 192.0.2.9 lookup 9 priority 7600)"
        in run(WEB)["msg"]
    )
    assert not run(WEB6)["failed"]


# the connection of the task


def test_r05_a_policy_that_takes_the_connection_needs_force(kernel: FakeKernel, run: Any, monkeypatch: Any) -> None:
    bare = {**WEB}
    del bare["ip_protocol"], bare["source_port"]
    for check in (True, False):
        refused = run(bare, check=check)
        assert "policies[0]: takes the connection of this task to 192.0.2.77: narrow the rule" in refused["msg"]
    assert kernel.writes == []
    assert not run({**bare, "direct": ["192.0.2.64/26"]}, check=True)["failed"]
    assert not run({**bare, "routes": [{"to": "192.0.2.0/26", "via": "198.51.100.1"}]}, check=True)["failed"]
    assert run(bare, force=True)["changed"]
    # what is there has proved itself
    assert not run(bare)["failed"]
    assert "takes the connection" in run({**bare, "routes": [{"via": "198.51.100.2"}]})["msg"]
    assert not run({**bare, "routes": [{"via": "198.51.100.1"}, {"to": "203.0.113.128/25", "via": "198.51.100.2"}]})[
        "failed"
    ]


@pytest.mark.parametrize(
    ("selectors", "taken"),
    [
        ({"ip_protocol": "tcp"}, True),
        ({"ip_protocol": "udp"}, False),
        ({"source_port": 22}, True),
        ({"source_port": "20-30"}, True),
        ({"source_port": 23}, False),
        ({"destination_port": 50000}, True),
        ({"destination_port": 80}, False),
        ({"to": "192.0.2.0/24"}, True),
        ({"to": "192.0.2.0/26"}, False),
        ({"from": "198.51.100.0/24"}, True),
        ({"from": "203.0.113.21"}, False),
        ({"fwmark": 7}, False),
        ({"iif": "eth1"}, False),
        ({"iif": "lo"}, True),
    ],
)
def test_which_rules_take_the_connection(kernel: FakeKernel, run: Any, selectors: Any, taken: bool) -> None:
    done = run({**selectors, "routes": [{"via": "198.51.100.1"}]}, check=True)
    assert done["failed"] == taken


def test_r16_a_route_that_takes_the_connection_needs_force(kernel: FakeKernel, run: Any) -> None:
    for route in ({"to": "192.0.2.77", "type": "blackhole"}, {"to": "192.0.2.0/24", "via": "203.0.113.1"}):
        refused = run({"table": "main", "routes": [route]})
        assert "takes the connection of this task to 192.0.2.77: say force if that is right" in refused["msg"]
        assert not run({"table": "main", "routes": [route]}, force="yes", check=True)["failed"]
    assert not run({"table": "main", "routes": [{"to": "192.0.2.78", "type": "blackhole"}]})["failed"]


def test_without_a_connection_nothing_is_taken(kernel: FakeKernel, run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(_route_task, "management_connection", lambda: None)
    assert not run({"from": "198.51.100.21", "routes": [{"via": "198.51.100.1"}]})["failed"]


def test_a_connection_of_the_other_family(kernel: FakeKernel, run: Any, monkeypatch: Any) -> None:
    connect(monkeypatch, "fe80::1%eth0", "fe80::2%eth0")
    assert not run({"from": "198.51.100.21", "routes": [{"via": "198.51.100.1"}]})["failed"]


# reverse path filtering


def test_r13_warns_where_strict_filtering_drops(kernel: FakeKernel, run: Any, tmp_path: Path) -> None:
    for name, value in (("all", 0), ("eth0", 1), ("eth1", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rp_filter").write_text(f"{value}\n")
    (warning,) = run(WEB, check=True)["warnings"]
    assert warning.startswith("policies[0]: strict reverse path filtering (rp_filter 1 on eth0) may drop requests")
    assert run({**BARE, "source_port": 80}, check=True)["warnings"] == []
    assert run({**WEB6, "source_port": 80}, check=True)["warnings"] == []
    assert run({"to": "192.0.2.0/26", "routes": [{"via": "198.51.100.1"}]}, check=True)["warnings"] == []
    (tmp_path / "all" / "rp_filter").write_text("2\n")
    assert run(WEB, check=True)["warnings"] == []


# other hands


def test_r14_warns_where_networkd_would_take_the_rules_away(kernel: FakeKernel, run: Any, tmp_path: Path) -> None:
    state = tmp_path / "root" / _networkd.STATE
    state.parent.mkdir(parents=True)
    state.write_text("OPER_STATE=routable\n")
    told = (
        "policies: systemd-networkd takes away what it does not know when it restarts: set "
        "ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no in networkd.conf"
    )
    for check in (True, False):
        assert run(WEB, check=check)["warnings"] == [told]
    assert run(WEB, state="absent")["warnings"] == []
    dropin = tmp_path / "root/etc/systemd/networkd.conf.d/l4lb.conf"
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n")
    assert run(WEB)["warnings"] == []


# failures


def test_nothing_is_removed_after_a_failure(kernel: FakeKernel, run: Any) -> None:
    run(WEB)
    kernel.refuse["add rule"] = errno.ENOBUFS
    refused = run(BARE, purge="owned")
    assert refused["msg"] == (
        "the kernel refused to add rule from 203.0.113.21 lookup 7601 priority 7601: refused by the test"
    )
    assert refused["changed"]
    assert refused["outcome"]["applied"] == ["add route default via 203.0.113.1 dev eth1 table 7601"]
    assert refused["outcome"]["not_attempted"] == [f"remove {RULE}", f"remove {ROUTE}"]
    assert len(kernel.ours[0]) == 1


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
def test_what_is_gone_meanwhile_is_no_failure(kernel: FakeKernel, run: Any, number: int) -> None:
    run(WEB)
    kernel.refuse.update({"remove rule": number, "remove route": number})
    assert not run(WEB, state="absent")["failed"]
    kernel.refuse = {"add route": number}
    assert run(BARE)["failed"]


# bad input: nothing is written, and check mode says the same


def routes(**change: Any) -> dict[str, Any]:
    return {**WEB, "routes": [{"via": "198.51.100.1", **change}]}


BAD = {
    "C01-in-a-route": (routes(gateway="198.51.100.1"), r"policies\[0\]\.routes\[0\]\.gateway: unknown key"),
    "C02-routes": ({"from": "198.51.100.21"}, r"policies\[0\]\.routes: is required, at least one"),
    "C04-no-routes": ({**WEB, "routes": []}, r"routes: is required"),
    "C03-text-for-routes": ({**WEB, "routes": "default"}, r"routes: must be a list"),
    "C03-text-for-a-route": ({**WEB, "routes": ["default"]}, r"routes\[0\]: must be a dict"),
    "C04-null-routes": ({**WEB, "routes": None}, r"routes: must not be empty"),
    "C05-line-separator-in-the-name": ({**WEB, "name": "a\u2028b"}, r"name: invalid character at offset 1"),
    "C07-octal-port": ({**WEB, "source_port": "080"}, r"source_port: must be a decimal integer"),
    "C08-port-65536": ({**WEB, "source_port": 65536}, r"source_port: must be an integer 1\.\.65535"),
    "C08-ports-reversed": (
        {**WEB, "source_port": "90-80"},
        r"source_port: must be a range of ports from the lower to the higher",
    ),
    "C04-half-a-range": ({**WEB, "source_port": "80-"}, r"source_port: must not be empty"),
    "C08-mark-too-large": ({**WEB, "fwmark": 10**20}, r"fwmark: must be an integer 1\.\.4294967295"),
    "C09-too-many-routes": (
        {**WEB, "routes": [{"via": "198.51.100.1"}] * 1001},
        r"routes: must have at most 1000 items",
    ),
    "unknown-protocol": ({**WEB, "ip_protocol": "icmp"}, r"ip_protocol: must be one of tcp, udp, sctp"),
    "unknown-family": ({**WEB, "family": "inet"}, r"family: must be one of ipv4, ipv6"),
    "R01-table-0": ({**WEB, "table": 0}, r"table: must be an integer 1\.\.4294967295, or main"),
    "R01-table-main-by-number": ({**WEB, "table": 254}, r"table: must not be a table of the kernel's own"),
    "R01-table-too-large": ({**WEB, "table": 2**32}, r"table: must be an integer 1\.\.4294967295"),
    "R02-name-of-a-table": (
        {**WEB, "table": "office"},
        r"table: must be a decimal integer .*names of tables are not looked up",
    ),
    "R03-no-selector": ({"routes": [{"via": "198.51.100.1"}]}, r"policies\[0\]: a rule needs one of from, to, "),
    "R03-from-everywhere": ({**WEB, "from": "0.0.0.0/0"}, r"from: takes every packet: leave it out"),
    "R04-priority-0": ({**WEB, "priority": 0}, r"priority: must be an integer 1\.\.32765"),
    "R04-priority-of-the-kernel": ({**WEB, "priority": 32766}, r"priority: must be an integer 1\.\.32765"),
    "R07-off-link": (routes(via="192.0.2.1"), r"routes\[0\]\.via: is not a neighbour"),
    "R07-off-link-ipv6": ({**WEB6, "routes": [{"via": "2001:db8:9::1"}]}, r"routes\[0\]\.via: is not a neighbour"),
    "R07-on-another-link": (routes(device="eth1"), r"routes\[0\]\.via: is a neighbour on eth0, not on eth1"),
    "R08-own-address": (routes(via="203.0.113.21"), r"routes\[0\]\.via: is an address of this host itself"),
    "R09-gateway": (
        {**WEB, "routes": [{"via": "2001:db8::1"}]},
        r"routes\[0\]\.via: must be of the same family as from",
    ),
    "R09-destination": ({**WEB, "to": "2001:db8::/64"}, r"to: must be of the same family as from"),
    "R09-direct": ({**WEB, "direct": ["2001:db8::/64"]}, r"direct\[0\]: must be of the same family as from"),
    "R09-family": ({**WEB, "family": "ipv6"}, r"from: must be of the same family as family"),
    "R10-mask-0": ({**WEB, "fwmark": 7, "fwmask": 0}, r"fwmask: must be an integer 1\.\.4294967295"),
    "R10-mask-hides-the-mark": ({**WEB, "fwmark": 7, "fwmask": 8}, r"fwmask: hides bits of fwmark"),
    "C11-mask-without-mark": ({**WEB, "fwmask": 8}, r"fwmask: needs fwmark"),
    "R11-iif": ({**WEB, "iif": "eth9"}, r"iif: no such interface; known: eth0, eth1, lo"),
    "R11-device": (routes(device="eth9"), r"routes\[0\]\.device: no such interface"),
    "R12-default-route": (
        {"table": "main", "routes": [{"via": "198.51.100.1"}]},
        r"routes\[0\]\.to: a default route of the main table",
    ),
    "R12-default-route-by-device": (
        {"table": "main", "routes": [{"to": "0.0.0.0/0", "device": "eth0"}]},
        r"to: a default route of the main table",
    ),
    "R15-from": ({**WEB, "from": "198.51.100.21/24"}, r"from: has bits set beyond its prefix length"),
    "prefix-too-long": ({**WEB, "from": "198.51.100.0/33"}, r"from: must be an integer 0\.\.32"),
    "R15-direct": ({**WEB, "direct": ["192.0.2.1/24"]}, r"direct\[0\]: has bits set beyond its prefix length"),
    "host-name": ({**WEB, "from": "rip.example"}, r"from: must be an IP address; host names are not resolved"),
    "C11-rule-of-main": ({**HOST, "from": "198.51.100.21"}, r"policies\[0\]\.from: means nothing with table main"),
    "C11-direct-of-main": ({**HOST, "direct": ["192.0.2.0/24"]}, r"direct: means nothing with table main"),
    "C11-priority-of-main": ({**HOST, "priority": 5}, r"priority: means nothing with table main"),
    "no-family": ({"fwmark": 7, "routes": [{"device": "eth0"}]}, r"family: is required where no address tells it"),
    "route-to-nowhere": ({**WEB, "routes": [{}]}, r"routes\[0\]: needs via or device"),
    "C11-blackhole-by-a-gateway": (routes(type="blackhole"), r"routes\[0\]\.via: means nothing with type blackhole"),
    "type-throw": (routes(type="throw"), r"routes\[0\]\.type: must be one of unicast, blackhole"),
    "multicast-gateway": (routes(via="224.0.0.1"), r"routes\[0\]\.via: must be a unicast address"),
    "link-local-gateway-without-a-device": (
        {**WEB6, "routes": [{"via": "fe80::1"}]},
        r"routes\[0\]\.device: is required for a link-local gateway",
    ),
    "source-not-of-this-host": (routes(source="192.0.2.9"), r"routes\[0\]\.source: is not an address of this host"),
    "C15-direct": (
        {**WEB, "direct": ["192.0.2.0/24", "192.0.2.0/24"]},
        r"direct\[1\]: duplicate of policies\[0\]\.direct\[0\]",
    ),
    "C15-routes": ({**WEB, "routes": WEB["routes"] * 2}, r"routes\[1\]: duplicate of policies\[0\]\.routes\[0\]"),
    "all-at-once": ({**WEB, "priority": 0, "table": 0}, r"priority: .*; policies\[0\]\.table: "),
}


@pytest.mark.parametrize(("policy", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(
    kernel: FakeKernel, run: Any, policy: Any, message: str
) -> None:
    refused = run(policy)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert kernel.writes == []
    assert run(policy, check=True)["msg"] == refused["msg"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"policies: is required"),
        ({"policies": [["x"]]}, r"policies"),
        ({"policies": [WEB] * 1001}, r"policies: must have at most 1000 items"),
        ({"policies": [WEB, WEB]}, r"policies\[1\]: duplicate of policies\[0\]"),
        ({"policies": [WEB, {**WEB, "from": "198.51.100.21/32", "name": "x"}]}, r"policies\[1\]: duplicate of"),
        (
            {"policies": [WEB, {**WEB, "table": 7601, "priority": 7600}]},
            r"policies\[1\]: has the rule, to another table, of policies\[0\]",
        ),
        (
            {"policies": [WEB, {**WEB, "source_port": 80, "routes": [{"via": "198.51.100.2"}]}]},
            r"policies\[1\]\.routes\[0\]: has the destination, table and metric, but another way, of policies\[0\]",
        ),
        ({"policies": [WEB], "force": "perhaps"}, r"force: must be true or false"),
        ({"policies": [WEB], "state": "absent", "force": True}, r"force: means nothing with state absent"),
        ({"policies": [WEB], "netns": "nosuch"}, r"netns: no such network namespace"),
    ],
)
def test_bad_lists_are_refused(kernel: FakeKernel, run: Any, params: Any, message: str) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert kernel.writes == []
    assert run(check=True, **params)["msg"] == refused["msg"]
