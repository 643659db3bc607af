# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend needs, and what on its host would break it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.backend_plan import backend_plan

VIP, VIP6, RIP, RIP6 = "192.0.2.10", "2001:db8::10", "198.51.100.11", "2001:db8:1::11"
OTHER = {"address": "198.51.100.12"}
WEB = {"name": "web", "address": VIP, "port": 80, "servers": [{"address": RIP}, OTHER]}
WEB6 = {"name": "web", "address": VIP6, "port": 80, "servers": [{"address": RIP6}]}


def interface(name: str, *addresses: tuple[str, int], **attributes: Any) -> dict[str, Any]:
    listed = [{"address": address, "prefix": prefix} for address, prefix in addresses]
    return {"name": name, "kind": "", "alias": "", "mtu": 1500, "addresses": listed, **attributes}


LO = (("127.0.0.1", 8), ("::1", 128))
ETH0 = interface("eth0", (RIP, 24), (RIP6, 64))
INTERFACES = [interface("lo", *LO), ETH0]
HOST: dict[str, Any] = {
    "modules": {},
    "tools": {"ipvsadm": False, "nft": True, "pyroute2": True},
    "interfaces": INTERFACES,
    "gateways": [{"family": "ipv4", "address": "198.51.100.1", "interface": "eth0", "protocol": "static"}],
    "sysctls": {},
    "files": [],
    "rules": [],
    "routes": [],
    "tables": [],
    "owners": [],
    "connection": None,
}
NEEDS = ("tunnels", "sysctls", "vips", "policies", "connections", "clamps")
ARP = {
    "net.ipv4.conf.all.arp_ignore": 1,
    "net.ipv4.conf.all.arp_announce": 2,
    "net.ipv4.conf.eth0.arp_ignore": 1,
    "net.ipv4.conf.eth0.arp_announce": 2,
}


def plan(*services: dict[str, Any], host: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return backend_plan(list(services), hostvars={}, groups={}, host={**HOST, **(host or {})}, **options)


def test_a_vip_of_direct_routing_is_on_the_loopback_and_never_wider() -> None:
    assert plan(WEB, {**WEB, "port": 81}, WEB6)["vips"] == [
        {"address": VIP, "prefix": 32, "interface": "lo", "scope": "host"},
        {"address": VIP6, "prefix": 128, "interface": "lo", "nodad": True, "preferred_lifetime": 0},
    ]


def test_only_services_with_a_server_of_this_host_count() -> None:
    found = plan({**WEB, "servers": [OTHER]}, {**WEB6, "forward": "tun", "servers": [OTHER]})
    assert (found["services"], found["vips"], found["sysctls"]) == ([], [], {})
    assert plan(WEB)["services"] == [f"-a -t {VIP}:80 -r {RIP}:80 -g -w 1"]


def test_the_host_knows_itself_by_the_addresses_told() -> None:
    assert plan(WEB, addresses=["198.51.100.12"])["services"] == [f"-a -t {VIP}:80 -r 198.51.100.12:80 -g -w 1"]
    assert plan(WEB, addresses=["203.0.113.9"])["vips"] == []


def test_an_address_on_the_loopback_or_the_dummy_is_no_address_of_the_host() -> None:
    for place in ("lo", "vips"):
        held = [interface("lo", *LO), interface("vips", kind="dummy")]
        held[place == "vips"]["addresses"].append({"address": RIP, "prefix": 32})
        assert plan(WEB, host={"interfaces": held}, vip_interface="vips")["services"] == []


def test_nat_by_source_needs_nothing() -> None:
    found = plan({**WEB, "forward": "nat"})
    assert len(found["services"]) == 1
    assert not any(found[part] for part in (*NEEDS, "unmet", "missing_tools", "problems"))
    assert not any(found["stale"].values())


def test_arp_is_quiet_for_all_and_for_the_interface_of_the_server() -> None:
    assert plan(WEB)["sysctls"] == ARP
    assert plan(WEB6)["sysctls"] == {}, "IPv6 is silent by placement"


def test_a_dot_in_an_interface_is_a_slash_in_its_sysctl() -> None:
    vlan = {"interfaces": [interface("lo", *LO), interface("eth0.5", (RIP, 24))]}
    assert plan(WEB, host=vlan)["sysctls"]["net.ipv4.conf.eth0/5.arp_ignore"] == 1


def test_the_users_sysctls_win() -> None:
    assert plan(WEB, sysctls={"net.ipv4.conf.all.arp_ignore": 2})["sysctls"]["net.ipv4.conf.all.arp_ignore"] == 2


def test_a_dummy_may_hold_the_vips() -> None:
    dummy = {"interfaces": [*INTERFACES, interface("vips", kind="dummy")]}
    found = plan(WEB, host=dummy, vip_interface="vips")
    assert (found["vips"][0]["interface"], found["problems"]) == ("vips", [])


@pytest.mark.parametrize(
    ("name", "rule"), [("eth0", "is no dummy interface"), ("vips", "is no interface of this host")]
)
def test_no_other_interface_may_hold_them(name: str, rule: str) -> None:
    assert plan(WEB, vip_interface=name, addresses=[RIP])["problems"] == [
        f"ipvs_backend_vip_interface {rule} (got {name!r})"
    ]


def test_a_director_is_no_backend_of_its_own_service_by_mistake() -> None:
    director = {"interfaces": [interface("lo", *LO), interface("eth0", (RIP, 24), (VIP, 32))]}
    (problem,) = plan(WEB, host=director)["problems"]
    assert problem.startswith(f"the VIP {VIP} is on eth0: this host is a director")
    allowed = plan(WEB, host=director, allow=["localnode"])
    assert (allowed["problems"], len(allowed["warnings"]), allowed["vips"]) == ([], 1, [])


@pytest.mark.parametrize("name", ["arp_ignore", "arp_announce"])
def test_a_loud_host_is_refused(name: str) -> None:
    loud = {f"net.ipv4.conf.{where}.{name}": 0 for where in ("all", "eth0")}
    assert plan(WEB, sysctls=loud)["problems"] == [
        f"ipvs_backend_sysctls leaves {name} at 0 on eth0: this host would answer for the VIPs "
        "(to accept it, name arp in ipvs_backend_allow)"
    ]
    assert plan(WEB, sysctls=loud, allow=["arp"])["problems"] == []
    assert plan(WEB6, sysctls=loud)["problems"] == []


def test_the_larger_arp_value_counts_as_in_the_kernel() -> None:
    one = {"net.ipv4.conf.all.arp_ignore": 0}
    assert plan(WEB, sysctls=one)["problems"] == []
    beside = {"interfaces": [*INTERFACES, interface("eth1", ("203.0.113.2", 24))]}
    assert "arp_ignore at 0 on eth1" in plan(WEB, host=beside, sysctls=one)["problems"][0]


def test_what_is_not_there_is_told_until_it_is() -> None:
    assert plan(WEB)["unmet"] == [
        "arp_ignore at 0 on eth0",
        "arp_announce at 0 on eth0",
        f"the VIP {VIP} is not on lo",
    ]
    done = {"interfaces": [interface("lo", *LO, (VIP, 32)), ETH0], "sysctls": ARP}
    assert plan(WEB, host=done)["unmet"] == []
    assert plan(WEB, host={**done, "sysctls": {}})["unmet"] != []


def test_what_no_service_needs_is_stale() -> None:
    held = {"interfaces": [interface("lo", *LO, (VIP, 32), ("192.0.2.99", 32), (VIP6, 128)), ETH0]}
    found = plan(WEB, host=held)
    assert found["stale"]["vips"] == ["192.0.2.99/32 dev lo", f"{VIP6}/128 dev lo"]
    assert found["vip_interfaces"] == ["lo"]


def test_what_is_missing_is_installed_where_it_is_needed() -> None:
    bare = {"tools": {"pyroute2": False, "nft": False}}
    assert plan(WEB, host=bare)["missing_tools"] == ["pyroute2"]
    assert plan({**WEB, "forward": "nat"}, host=bare)["missing_tools"] == []


def test_all_bad_options_are_told_at_once() -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        plan(WEB, addresses=["x"], return_via=["198.51.100.1", "198.51.100.2"], allow=["everything"])
    assert str(refused.value).split("; ") == [
        "allow[0]: must be one of arp, gateway, localnode, management_return (got 'everything')",
        "ipvs_backend_addresses[0]: must be an IP address",
        "host names are not resolved (got 'x')",
        "ipvs_backend_return_via[1]: must be the only one of its family (got '198.51.100.2')",
    ]


def test_a_bad_service_is_told_where_it_was_written() -> None:
    with pytest.raises(AnsibleFilterError, match=r"services\[0\].return_via\[0\]: must be an IP address"):
        plan({**WEB, "return_via": ["director1"]})
