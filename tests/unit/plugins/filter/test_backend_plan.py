# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend needs, and what on its host would break it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.backend_plan import backend_plan
from plugins.module_utils import _traffic
from plugins.module_utils._errors import Findings

VIP, VIP6, RIP, RIP6 = "192.0.2.10", "2001:db8::10", "198.51.100.11", "2001:db8:1::11"
OTHER = {"address": "198.51.100.12"}
WEB = {"name": "web", "address": VIP, "port": 80, "servers": [{"address": RIP}, OTHER]}
WEB6 = {"name": "web", "address": VIP6, "port": 80, "servers": [{"address": RIP6}]}


def interface(name: str, *addresses: tuple[str, int], **attributes: Any) -> dict[str, Any]:
    """One of a backend, whose VIPs are quiet."""
    quiet = not name.startswith("eth")
    listed = [{"address": address, "prefix": prefix, "quiet": quiet} for address, prefix in addresses]
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
    "boot": {},
    "files": [],
    "rules": [],
    "routes": [],
    "tables": [],
    "owners": [],
    "firewall": [],
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


DUMMY = {"name": "vips", "type": "dummy"}
DUMMIES = {"modules": {"dummy": "loadable"}}


def test_a_dummy_that_is_not_there_is_made_for_the_vips() -> None:
    found = plan(WEB, host=DUMMIES, vip_interface="vips")
    assert (found["vips"][0]["interface"], found["problems"]) == ("vips", [])
    assert found["tunnels"] == [DUMMY]
    assert "there is no dummy device vips" in found["unmet"]
    assert [problem.split(" is ")[0] for problem in plan(WEB, vip_interface="vips")["problems"]] == ["the module dummy"]


@pytest.mark.parametrize(("alias", "tunnels"), [("l4lb.ipvs", [DUMMY]), ("", [])])
def test_a_dummy_that_is_there_is_ours_only_by_its_mark(alias: str, tunnels: list[object]) -> None:
    there = {**DUMMIES, "interfaces": [*INTERFACES, interface("vips", (VIP, 32), kind="dummy", alias=alias)]}
    found = plan(WEB, host=there, vip_interface="vips")
    assert (found["tunnels"], found["problems"], found["stale"]["tunnels"]) == (tunnels, [], [])
    for unused in (plan(WEB, host=there), plan(host=there, vip_interface="vips")):
        assert unused["tunnels"] == []
        assert unused["stale"]["tunnels"] == [one["name"] for one in tunnels]  # type: ignore[index]


@pytest.mark.parametrize("alias", ["", "l4lb.ipvs"])
def test_no_other_interface_may_hold_them(alias: str) -> None:
    other = {"interfaces": [interface("lo", *LO), {**ETH0, "alias": alias}]}
    assert (
        "ipvs_backend_vip_interface is no dummy interface (got 'eth0')"
        in (plan(WEB, host=other, vip_interface="eth0", addresses=[RIP])["problems"])
    )


def test_v15_a_director_is_no_backend_of_its_own_service_by_mistake() -> None:
    director = {"interfaces": [interface("lo", *LO), interface("eth0", (RIP, 24), (VIP, 32))]}
    (problem,) = plan(WEB, host=director)["problems"]
    assert problem.startswith(f"the VIP {VIP} is on eth0: this host is a director")
    allowed = plan(WEB, host=director, allow=["localnode"])
    assert (allowed["problems"], len(allowed["warnings"]), allowed["vips"]) == ([], 1, [])


@pytest.mark.parametrize("service", [WEB, {**WEB, "forward": "nat"}, {**WEB, "forward": "tun"}])
def test_f31_a_director_that_serves_nothing_is_no_backend(service: dict[str, Any]) -> None:
    director = {"interfaces": [interface("lo", *LO), interface("eth0", ("198.51.100.1", 24), (VIP, 32))]}
    problem = f"the VIP {VIP} is on eth0: this host is a director, and a server of no service"
    assert plan(service, WEB6, host=director)["problems"] == [
        f"{problem} (to accept it, name localnode in ipvs_backend_allow)"
    ]
    assert plan(service, host=director, allow=["localnode"])["warnings"] == [problem]
    elsewhere = {"interfaces": [interface("lo", *LO, (VIP, 32)), interface("eth0", ("198.51.100.1", 24))]}
    assert plan(service, host=elsewhere)["problems"] == [], "what an earlier run left is for the purge"


def test_f31_a_director_by_mark_that_serves_nothing_is_no_backend() -> None:
    mark = {"fwmark": 7, "family": "ipv4", "mark": {"addresses": [VIP]}, "servers": [OTHER]}
    director = {"interfaces": [interface("lo", *LO), interface("eth0", ("198.51.100.1", 24), (VIP, 32))]}
    assert len(plan(mark, host=director)["problems"]) == 1


@pytest.mark.parametrize("name", ["arp_ignore", "arp_announce"])
def test_a_loud_host_is_refused(name: str) -> None:
    loud = {f"net.ipv4.conf.{where}.{name}": 0 for where in ("all", "eth0")}
    assert plan(WEB, sysctls=loud)["problems"] == [
        f"ipvs_backend_sysctls leaves {name} at 0 on eth0: this host would answer for the VIPs "
        "(to accept it, name arp in ipvs_backend_allow)"
    ]
    held = {"interfaces": [interface("lo", *LO, (VIP, 32)), ETH0], "sysctls": loud}
    allowed = plan(WEB, host=held, sysctls=loud, allow=["arp"])
    assert (allowed["problems"], allowed["unmet"]) == ([], [])
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


def test_what_a_director_has_is_not_stale() -> None:
    loud = [{"address": VIP, "prefix": 32, "quiet": False}]
    lo = interface("lo", *LO, ("192.0.2.99", 32))
    lo["addresses"] += loud
    ours = {"kind": "dummy", "alias": "l4lb.ipvs"}
    director, backend = interface("director", **ours), interface("backend", ("192.0.2.98", 32), **ours)
    director["addresses"] += loud
    found = plan(host={"interfaces": [lo, ETH0, director, backend]}, allow=["localnode"])
    assert found["stale"]["vips"] == ["192.0.2.99/32 dev lo", "192.0.2.98/32 dev backend"]
    assert found["stale"]["tunnels"] == found["devices"] == ["backend"]
    assert found["vip_interfaces"] == ["backend", "lo"]


def test_what_is_missing_is_installed_where_it_is_needed() -> None:
    bare = {"tools": {"pyroute2": False, "nft": False}}
    assert plan(WEB, host=bare)["missing_tools"] == ["pyroute2"]
    assert plan({**WEB, "forward": "nat"}, host=bare)["missing_tools"] == []


def test_all_bad_options_are_told_at_once() -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        plan(WEB, addresses=["x"], return_via=["198.51.100.1", "198.51.100.2"], allow=["everything"])
    assert str(refused.value).split("; ") == [
        "allow[0]: must be one of arp, director_gateway, gateway, input_drop, localnode, management_return "
        "(got 'everything')",
        "ipvs_backend_addresses[0]: must be an IP address",
        "host names are not resolved (got 'x')",
        "ipvs_backend_return_via[1]: must be the only one of its family (got '198.51.100.2')",
    ]


def test_a_bad_service_is_told_where_it_was_written() -> None:
    with pytest.raises(AnsibleFilterError, match=r"services\[0\].return_via\[0\]: must be an IP address"):
        plan({**WEB, "return_via": ["director1"]})


# tunnels

TUN = {**WEB, "forward": "tun"}
TUN6 = {**WEB6, "forward": "tun"}
TUNNEL_MODULES = ("sit", "ipip", "ip6_tunnel", "ip_gre", "ip6_gre", "fou")
ABLE = {"modules": dict.fromkeys(TUNNEL_MODULES, "loadable")}


def tunnelled(address: str = VIP, rip: str = RIP, **server: Any) -> dict[str, Any]:
    return {"address": address, "port": 80, "forward": "tun", "servers": [{"address": rip, **server}]}


def test_each_way_to_tunnel_has_a_device_for_each_family_outside() -> None:
    found = plan(
        TUN,
        TUN6,
        tunnelled("192.0.2.11", tunnel_type="gre", tunnel_checksum="csum"),
        tunnelled("2001:db8::11", RIP6, tunnel_type="gre"),
        host=ABLE,
    )
    assert found["tunnels"] == [
        {"name": "l4lb-gre4", "type": "gre", "local": RIP, "checksum": "csum"},
        {"name": "l4lb-gre6", "type": "gre", "local": RIP6},
        {"name": "l4lb-ipip4", "type": "ipip", "local": RIP},
        {"name": "l4lb-ipip6", "type": "ipip", "local": RIP6},
    ]
    assert (found["problems"], found["missing_tools"]) == ([], [])


def test_gue_comes_out_of_the_device_of_ip_in_ip() -> None:
    gue = [tunnelled(f"192.0.2.{port % 100}", tunnel_type="gue", tunnel_port=port) for port in (6081, 6080, 6081)]
    found = plan(TUN, *gue[:2], host=ABLE)
    assert found["tunnels"] == [{"name": "l4lb-ipip4", "type": "gue", "local": RIP, "ports": [6080, 6081]}]


def test_t14_the_vip_is_on_its_tunnel_also_where_it_is_routed_directly_as_well() -> None:
    crossed = tunnelled(VIP6, RIP)
    found = plan(TUN, {**WEB, "port": 81}, crossed, host=ABLE)
    assert [(vip["address"], vip["interface"]) for vip in found["vips"]] == [(VIP, "l4lb-ipip4"), (VIP6, "l4lb-ipip4")]
    assert found["vip_interfaces"] == ["l4lb-ipip4", "lo"]


def test_a_device_with_a_vip_has_a_loose_filter_and_the_host_is_quiet() -> None:
    assert plan(TUN, host=ABLE)["sysctls"] == {**ARP, "net.ipv4.conf.l4lb-ipip4.rp_filter": 2}
    assert plan(TUN6, host=ABLE)["sysctls"] == {}, "IPv6 has no filter of this kind"


def test_a_device_without_a_vip_of_its_own_needs_no_filter_anywhere() -> None:
    both = (TUN, {**tunnelled(tunnel_type="gre"), "port": 81})
    found = plan(*both, host=ABLE)
    assert found["vips"][0]["interface"] == "l4lb-gre4"
    assert found["sysctls"]["net.ipv4.conf.l4lb-gre4.rp_filter"] == 2
    assert found["sysctls"]["net.ipv4.conf.l4lb-ipip4.rp_filter"] == 0


ALL = "net.ipv4.conf.all.rp_filter"
BOTH = (TUN, {**tunnelled(tunnel_type="gre"), "port": 81})
FILE = "/usr/lib/sysctl.d/50-default.conf"


@pytest.mark.parametrize(
    ("live", "boot", "given", "told"),
    [
        (2, None, {}, "is 2 (no file sets it at boot)"),
        (2, "2", {}, f"is 2 ({FILE} sets it to 2 at boot)"),
        (0, "1", {}, f"is 0 ({FILE} sets it to 1 at boot)"),
        (1, "0", {}, f"is 1 ({FILE} sets it to 0 at boot)"),
        (0, None, {ALL: 2}, "is 2 in ipvs_backend_sysctls"),
    ],
)
def test_a_filter_for_all_is_refused_with_what_sets_it(
    live: int, boot: str | None, given: dict[str, int], told: str
) -> None:
    strict = {**ABLE, "sysctls": {ALL: live}, "boot": {ALL: {"value": boot, "file": FILE}} if boot else {}}
    assert plan(*BOTH, host=strict, sysctls=given)["problems"] == [
        f"{ALL} {told}, which drops what l4lb-ipip4 receives, for it holds no VIP of its own: "
        "set it to 0 in ipvs_backend_sysctls, or tunnel to each VIP in one way"
    ]
    assert plan(TUN, host=strict, sysctls=given)["problems"] == [], "the device has 2, and the larger counts"
    for zero in (0, "0"):
        assert plan(*BOTH, host=strict, sysctls={ALL: zero})["problems"] == []


def test_a_file_that_sets_the_filter_for_all_to_nothing_is_no_danger() -> None:
    assert plan(*BOTH, host={**ABLE, "boot": {ALL: {"value": "0", "file": FILE}}})["problems"] == []


@pytest.mark.parametrize(
    ("live", "device", "given", "refused"),
    [
        (0, "ipip", 1, True),
        (0, "ipip", "1", True),
        (0, "ipip", 2, True),
        (0, "ipip", 0, False),
        (0, "gre", 0, False),
        (1, "gre", 0, True),
        (0, "gre", 1, True),
        (1, "gre", "2", False),
    ],
)
def test_a_filter_for_a_device_is_refused_where_it_drops(live: int, device: str, given: object, refused: bool) -> None:
    """gre has the VIP, ipip has none."""
    key = f"net.ipv4.conf.l4lb-{device}4.rp_filter"
    services = BOTH if device == "ipip" else BOTH[1:]
    told = plan(*services, host={**ABLE, "sysctls": {ALL: live}}, sysctls={key: given})["problems"]
    text = f"{key} is {given} in ipvs_backend_sysctls, which drops what l4lb-{device}4 receives: leave it to the role"
    assert told == ([text] if refused else [])


def test_what_one_device_cannot_receive_is_refused() -> None:
    sums = [
        tunnelled(f"192.0.2.{i}", tunnel_type="gre", tunnel_checksum=word) for i, word in ((1, "none"), (2, "csum"))
    ]
    assert plan(*sums, host=ABLE)["problems"] == [
        "l4lb-gre4 receives what is tunnelled to one tunnel_checksum only, and the services name none and csum"
    ]
    others = tunnelled("192.0.2.7", OTHER["address"])
    assert plan(TUN, others, host=ABLE, addresses=[RIP, OTHER["address"]])["problems"] == [
        f"l4lb-ipip4 receives what is tunnelled to one address only, and the services name {RIP} and {OTHER['address']}"
    ]


def test_a_kernel_that_cannot_tunnel_is_refused() -> None:
    gue = tunnelled(tunnel_type="gue", tunnel_port=6080)
    assert [problem.split(" is ")[0] for problem in plan(gue)["problems"]] == ["the module fou", "the module sit"]


def test_clients_leave_room_for_the_largest_tunnel() -> None:
    gue = {**tunnelled(tunnel_type="gue", tunnel_port=6080), "port": 81}
    assert plan(TUN, gue, TUN6, host=ABLE)["clamps"] == [
        {"address": VIP, "mss": 1500 - 20 - 12 - 20 - 20},
        {"address": VIP6, "mss": 1500 - 40 - 40 - 20},
    ]
    narrow = {**ABLE, "interfaces": [INTERFACES[0], {**ETH0, "mtu": 1400}]}
    assert plan(TUN, host=narrow)["clamps"] == [{"address": VIP, "mss": 1340}]
    assert plan({**TUN, "protocol": "udp"}, host=ABLE)["clamps"] == []


def test_a_port_that_no_service_needs_is_stale() -> None:
    server = {"address": RIP, "tunnel_type": "gue", "tunnel_port": 6081}
    gue = {**WEB, "forward": "tun", "servers": [server]}
    there = interface("l4lb-ipip4", (VIP, 32), kind="sit", alias="l4lb.ipvs gue 6080 6081")
    assert plan(gue, host={"interfaces": [*INTERFACES, there]})["stale"]["tunnels"] == ["l4lb-ipip4 port 6080"]
    assert (
        plan(gue, host={"interfaces": [*INTERFACES, {**there, "alias": "l4lb.ipvs gue 6081"}]})["stale"]["tunnels"]
        == []
    )
    ipip = {**WEB, "forward": "tun"}
    assert plan(ipip, host={"interfaces": [*INTERFACES, there]})["stale"]["tunnels"] == [
        "l4lb-ipip4 port 6080",
        "l4lb-ipip4 port 6081",
    ]


def test_a_tunnel_that_no_service_needs_is_stale() -> None:
    there = [*INTERFACES, interface("l4lb-gre4", alias="l4lb.ipvs"), interface("tun9", alias="somebody's")]
    found = plan(TUN, host={**ABLE, "interfaces": there, "tables": ["l4lb_mss"]})
    assert found["stale"]["tunnels"] == ["l4lb-gre4"]
    assert found["stale"]["clamps"] == ["l4lb_mss"]
    assert "there is no ipip device l4lb-ipip4" in found["unmet"]


# return paths

NAT = {**WEB, "forward": "nat", "return_path": "policy", "servers": [{"address": RIP, "port": 8443}]}
NAT6 = {**NAT, "address": VIP6, "servers": [{"address": RIP6, "port": 8443}]}
VIA, VIA6 = "198.51.100.200", "2001:db8:1::200"
BACK = {"return_via": [VIA, VIA6]}
UNREDIRECTED = {"net.ipv4.conf.all.accept_redirects": 0, "net.ipv4.conf.eth0.accept_redirects": 0}


def test_a_policy_is_about_the_answers_of_the_server_alone() -> None:
    found = plan(NAT, {**NAT, "address": "192.0.2.11"}, NAT6, **BACK, return_direct=["203.0.113.0/24"])
    answers = {"table": 7600, "ip_protocol": "tcp", "source_port": 8443}
    assert found["policies"] == [
        {**answers, "routes": [{"via": VIA}], "direct": ["203.0.113.0/24"], "from": RIP},
        {**answers, "table": 7601, "routes": [{"via": VIA6}], "direct": [], "from": RIP6},
    ]
    assert found["sysctls"] == {**UNREDIRECTED, "net.ipv6.conf.eth0.accept_redirects": 0}
    assert (found["vips"], found["problems"]) == ([], [])


def test_a_route_leads_to_the_clients() -> None:
    service = {**NAT, "return_path": "route"}
    found = plan(service, **BACK, return_to=["203.0.113.0/24", "2001:db8:113::/64"])
    assert found["policies"] == [{"table": "main", "routes": [{"to": "203.0.113.0/24", "via": VIA}]}]
    assert found["sysctls"] == UNREDIRECTED


def test_a_whole_address_goes_back_only_if_it_is_said() -> None:
    found = plan(NAT, **BACK, return_match="address")
    assert found["policies"] == [{"table": 7600, "routes": [{"via": VIA}], "direct": [], "from": RIP}]
    managed = {"connection": {"address": RIP, "port": 22}}
    assert plan(NAT, host=managed, **BACK)["problems"] == []
    assert plan(NAT, host=managed, **BACK, return_match="address")["problems"] == [
        f"everything from {RIP} would go through the director, and this host is managed through it "
        "(to accept it, name management_return in ipvs_backend_allow)"
    ]


def test_connections_are_marked_by_where_they_come_from() -> None:
    found = plan(NAT, **BACK, return_match="connection")
    record = {"fwmark": 7600, "family": "ipv4", "addresses": [RIP], "protocols": ["tcp"], "ports": [8443]}
    assert found["connections"] == [{**record, "interfaces": ["eth0"]}]
    rule = {"table": 7600, "family": "ipv4", "fwmark": 7600}
    assert found["policies"] == [{**rule, "routes": [{"via": VIA}], "direct": []}]
    mac = "00:00:5e:00:53:01"
    known = plan(NAT, **BACK, return_match="connection", return_macs=[mac])
    assert known["connections"] == [{**record, "macs": [mac]}]


BY_MARK = {"fwmark": 7, "family": "ipv4", "forward": "nat", "return_path": "policy", "servers": [{"address": RIP}]}


@pytest.mark.parametrize(
    ("mark", "server", "protocols", "ports"),
    [
        ({"mark": {"addresses": [VIP], "ports": [53, "60-69"], "protocols": ["udp"]}}, {}, ["udp"], [53, "60-69"]),
        ({"mark": {"addresses": [VIP], "protocols": ["sctp", "tcp"]}}, {}, ["sctp", "tcp"], []),
        ({"mark": {"addresses": [VIP], "ports": [53], "protocols": ["udp"]}}, {"port": 5353}, ["udp"], [5353]),
        ({}, {}, ["sctp", "tcp", "udp"], []),
        ({}, {"port": 5353}, ["sctp", "tcp", "udp"], [5353]),
    ],
)
def test_connections_by_mark_are_of_its_protocols_and_ports_or_of_all(
    mark: dict[str, Any], server: dict[str, Any], protocols: list[str], ports: list[object]
) -> None:
    service = {**BY_MARK, **mark, "servers": [{"address": RIP, **server}]}
    found = plan(service, **BACK, return_match="connection")
    assert found["problems"] == []
    record = {"fwmark": 7600, "family": "ipv4", "addresses": [RIP], **({"ports": ports} if ports else {})}
    assert found["connections"] == [{**record, "protocols": [one], "interfaces": ["eth0"]} for one in protocols]


def test_connections_of_several_services_are_there_once() -> None:
    services = (NAT, {**NAT, "port": 81, "servers": [{"address": RIP, "port": 8444}]}, BY_MARK)
    macs = ["00:00:5e:00:53:01", "00:00:5e:00:53:02"]
    found = plan(*services, **BACK, return_match="connection", return_macs=macs)
    assert [(one["protocols"], one["macs"]) for one in found["connections"]] == [
        ([protocol], [mac]) for protocol in ("sctp", "tcp", "udp") for mac in macs
    ]
    findings = Findings()
    _traffic.parse(_traffic.CONNECTIONS, found["connections"], "connections", findings)
    assert findings.problems == []


def test_a_service_may_have_directors_of_its_own() -> None:
    second = {**NAT, "address": "192.0.2.11", "servers": [{"address": RIP, "port": 8444}]}
    found = plan(NAT, {**second, "return_via": ["198.51.100.199"]}, **BACK)
    assert [(one["table"], one["source_port"], one["routes"][0]["via"]) for one in found["policies"]] == [
        (7600, 8443, VIA),
        (7601, 8444, "198.51.100.199"),
    ]
    clash = plan(NAT, {**NAT, "address": "192.0.2.11", "return_via": ["198.51.100.199"]}, **BACK)
    assert clash["problems"] == [
        f"the answers of {RIP} would have to go by 198.51.100.199 and {VIA}: give the services of each director an "
        "address or a port of their own"
    ]


OTHER_VIA = "198.51.100.199"
SECOND = {**NAT, "address": "192.0.2.11", "return_via": [OTHER_VIA], "servers": [{"address": RIP, "port": 8444}]}


def leading(**vias: str) -> dict[str, Any]:
    """A host with a default route by each of these, in the table of its name."""
    route = {"family": "ipv4", "to": "default", "type": "unicast"}
    return {"routes": [{**route, "table": table.lstrip("t"), "via": via} for table, via in vias.items()]}


@pytest.mark.parametrize(
    ("services", "host", "tables"),
    [
        ([SECOND, NAT], leading(t7600=VIA, t7601=OTHER_VIA), {OTHER_VIA: 7601, VIA: 7600}),
        ([SECOND], leading(t7600=VIA, t7601=OTHER_VIA), {OTHER_VIA: 7601}),
        ([SECOND, NAT], leading(t7600=VIA), {OTHER_VIA: 7601, VIA: 7600}),
        # a table that leads to a director of before is another's until it is purged
        ([SECOND], leading(t7600=VIA), {OTHER_VIA: 7601}),
        ([SECOND], leading(main=OTHER_VIA, t7=OTHER_VIA), {OTHER_VIA: 7600}),
        ([NAT], leading(t7601=VIA, t7605=VIA), {VIA: 7601}),
        ([NAT], leading(**{f"t{number}": OTHER_VIA for number in range(7600, 7700)}), {VIA: 7600}),
    ],
)
@pytest.mark.parametrize("match", ["service", "connection"])
def test_a_director_keeps_its_table(
    services: list[dict[str, Any]], host: dict[str, Any], tables: dict[str, int], match: str
) -> None:
    """Whatever other services come before it or go: answers that are on their way use it."""
    found = plan(*services, **BACK, host=host, return_match=match)
    assert {one["routes"][0]["via"]: one["table"] for one in found["policies"]} == tables
    if match == "connection":
        assert {one["fwmark"] for one in found["connections"]} == set(tables.values())


@pytest.mark.parametrize("match", ["service", "connection"])
def test_answers_of_every_port_are_those_of_one_port_too(match: str) -> None:
    every = {**NAT, "address": "192.0.2.11", "port": 0, "persistence_timeout": 60, "servers": [{"address": RIP}]}
    assert plan(NAT, every, **BACK, return_match=match)["problems"] == []
    (problem,) = plan(NAT, {**every, "return_via": ["198.51.100.199"]}, **BACK, return_match=match)["problems"]
    assert problem.startswith(f"the answers of {RIP} would have to go by 198.51.100.199 and {VIA}: ")


def test_answers_of_a_whole_address_go_one_way_whatever_their_ports() -> None:
    other = {**NAT, "servers": [{"address": RIP, "port": 8444}], "address": "192.0.2.11", "return_via": ["192.0.2.9"]}
    assert plan(NAT, other, **BACK)["problems"] == []
    (problem,) = plan(NAT, other, **BACK, return_match="address")["problems"]
    assert problem.startswith(f"the answers of {RIP} would have to go by 192.0.2.9 and {VIA}: ")


def test_a_mark_answers_by_one_director_what_a_service_does_not_by_another() -> None:
    udp = {**BY_MARK, "mark": {"addresses": [VIP], "protocols": ["udp"]}, "return_via": ["198.51.100.199"]}
    assert plan(NAT, udp, **BACK, return_match="connection")["problems"] == []
    unknown = {name: value for name, value in udp.items() if name != "mark"}
    assert len(plan(NAT, unknown, **BACK, return_match="connection")["problems"]) == 1


def test_a_network_has_one_way_back() -> None:
    other = {"address": "192.0.2.11", "return_via": ["198.51.100.199", VIA6]}
    services = [{**one, "return_path": "route"} for one in (NAT, {**NAT, "port": 81}, NAT6, {**NAT, **other})]
    to = ["203.0.113.0/25", "2001:db8:113::/64", "203.0.113.128/25"]
    vias = f"198.51.100.199 (for -t 192.0.2.11:80) and {VIA} (for -t {VIP}:80)"
    assert plan(*services, **BACK, return_to=to)["problems"] == [
        f"return_path route would lead to {network} by {vias}, and table main has one way to a network: name one "
        "return_via for all of them, or use return_path policy"
        for network in ("203.0.113.0/25", "203.0.113.128/25")
    ]
    assert plan(*services[:3], **BACK, return_to=to)["problems"] == []
    assert plan(*services[:3], {**NAT, **other, "servers": [{"address": RIP}]}, **BACK, return_to=to)["problems"] == []


@pytest.mark.parametrize(("path", "options", "word"), [("policy", {}, "via"), ("route", BACK, "to")])
def test_a_return_path_without_its_way_is_refused(path: str, options: dict[str, Any], word: str) -> None:
    (problem,) = plan({**NAT, "return_path": path}, **options)["problems"]
    assert problem.startswith(f"return_path {path} needs")
    assert problem.endswith(f"ipvs_backend_return_{word}")


def test_a_service_by_mark_has_no_port_to_tell_its_answers_by() -> None:
    marked = {"fwmark": 7, "family": "ipv4", "forward": "nat", "return_path": "policy", "servers": [{"address": RIP}]}
    (problem,) = plan(marked, **BACK)["problems"]
    assert "cannot be told by protocol and port: set ipvs_backend_return_match" in problem
    assert plan(marked, **BACK, return_match="address")["policies"][0]["from"] == RIP


def test_the_gateway_must_be_the_director_if_it_is_known_else_any() -> None:
    service = {**NAT, "return_path": "gateway"}
    assert plan(service)["problems"] == []
    assert plan(service, return_via=["198.51.100.1"])["problems"] == []
    assert plan(service)["sysctls"] == UNREDIRECTED
    wrong = "return_path gateway needs the director 198.51.100.200 as the ipv4 default gateway, which is 198.51.100.1"
    assert plan(service, **BACK)["problems"] == [f"{wrong} (to accept it, name gateway in ipvs_backend_allow)"]
    assert plan(service, host={"gateways": []})["problems"][0].startswith("return_path gateway needs a director as the")


def behind(*services: dict[str, Any], gateway: str = "198.51.100.200", **options: Any) -> dict[str, Any]:
    """The plan of a backend with this default gateway; director1 is 198.51.100.200 and director2 198.51.100.201."""
    family = "ipv6" if ":" in gateway else "ipv4"
    live = [{"family": family, "address": gateway, "interface": "eth0", "protocol": "static"}]
    hostvars = {
        "director1": {"ansible_host": "203.0.113.1", "ipvs_networks": ["198.51.100.200/24", "2001:db8:1::200/64"]},
        "director2": {"ansible_host": "198.51.100.201"},
    }
    groups = {"ipvs_directors": ["director1"], "pair2": ["director2"]}
    host = {**HOST, **DUMMIES, "modules": {"sit": "loaded"}, "gateways": live}
    return backend_plan(list(services), hostvars=hostvars, groups=groups, host=host, **options)


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_director_as_gateway_drops_the_answers(forward: str) -> None:
    text = (
        f"services -t {VIP}:80, -t {VIP}:81: server {RIP}: forward {forward}, and the default gateway there is "
        "director1 (198.51.100.200), which drops every answer, because its source is a VIP of its own: give the "
        "servers another default gateway, or a route by another router for what they send from the VIPs (ip rule), "
        "or use forward nat"
    )
    services = [{**WEB, "forward": forward}, {**WEB, "port": 81, "forward": forward}]
    assert behind(*services)["problems"] == [f"{text} (to accept it, name director_gateway in ipvs_backend_allow)"]
    accepted = behind(*services, allow=["director_gateway"])
    assert (accepted["problems"], accepted["warnings"]) == ([], [text])
    for fine in (behind(*services, gateway="198.51.100.1"), behind({**WEB, "forward": "nat"}), behind()):
        assert (fine["problems"], fine["warnings"]) == ([], [])


def test_a_director_of_ipv6_forwards_what_comes_from_its_own_address() -> None:
    assert behind(WEB6, gateway="2001:db8:1::200")["problems"] == []


def test_only_the_directors_of_the_service_drop_its_answers() -> None:
    assert behind({**WEB, "directors": "pair2"})["problems"] == []
    assert behind(WEB, gateway="198.51.100.201")["problems"] == []
    assert "director2 (198" in behind({**WEB, "directors": "pair2"}, gateway="198.51.100.201")["problems"][0]
    assert "director2 (198" in behind(WEB, gateway="198.51.100.201", directors=["director2"])["problems"][0]


def test_a_way_back_tells_an_address_of_the_director() -> None:
    floating = {"gateway": "198.51.100.9", "return_via": ["198.51.100.9"]}
    other = {**NAT, "port": 82, "return_path": "policy"}
    (problem,) = behind(WEB, other, **floating)["problems"]
    assert "director1 (198.51.100.9)" in problem
    assert behind(WEB, **floating)["problems"] == [], "nobody says whose it is"
    assert behind(WEB, {**other, "directors": "pair2"}, **floating)["problems"] == []


REDIRECTABLE = {"return_via": [VIA, VIA6], "return_to": ["203.0.113.0/24", "2001:db8:113::/64"], "allow": ["gateway"]}


@pytest.mark.parametrize(("count", "told"), [(100, []), (101, ["100 at most, and the services name 101"])])
def test_more_directors_than_there_are_tables_are_told(count: int, told: list[str]) -> None:
    services = [{**NAT, "port": 1 + i, "return_via": [f"198.51.100.{100 + i}"]} for i in range(count)]
    servers = [{**one, "servers": [{"address": RIP, "port": 8000 + i}]} for i, one in enumerate(services)]
    problems = plan(*servers)["problems"]
    assert [text in problem for text, problem in zip(told, problems)] == [True] * len(told)
    assert len(problems) == len(told)


@pytest.mark.parametrize("path", ["gateway", "route", "policy"])
def test_no_redirect_is_heeded_on_any_way_back_that_passes_a_director(path: str) -> None:
    services = [{**service, "return_path": path} for service in (NAT, NAT6)]
    four = {f"net.ipv4.conf.{where}.accept_redirects": 0 for where in ("all", "eth0")}
    six = {"net.ipv6.conf.eth0.accept_redirects": 0}
    told = [plan(*one, **REDIRECTABLE)["sysctls"] for one in (services, services[:1], services[1:])]
    assert told == [{**four, **six}, four, six]


@pytest.mark.parametrize("path", ["snat", "none"])
def test_a_director_is_no_way_to_elsewhere_with_source_nat(path: str) -> None:
    assert plan({**NAT, "return_path": path}, {**NAT6, "return_path": path}, **REDIRECTABLE)["sysctls"] == {}


def test_redirects_are_not_heeded_where_the_director_is_reached_either() -> None:
    away = {"interfaces": [*INTERFACES, interface("eth1", ("192.0.2.129", 25))]}
    told = {**UNREDIRECTED, "net.ipv4.conf.eth1.accept_redirects": 0}
    assert plan(NAT, host=away, return_via=["192.0.2.130"])["sysctls"] == told
    gateway = {**away, "gateways": [{"family": "ipv4", "address": "192.0.2.130", "interface": "eth1", "protocol": ""}]}
    assert plan({**NAT, "return_path": "gateway"}, host=gateway)["sysctls"] == told


def test_routes_are_compared_with_those_that_are_there() -> None:
    rule = {"family": "ipv4", "priority": 7600, "table": "7600", "from": RIP}
    there = [{**rule, "ip_protocol": "tcp", "source_port": port, "fwmark": 0} for port in (8443, 8444)]
    ways = [
        ("7600", "default", "unicast", VIA),
        ("main", "203.0.113.9", "unicast", VIA),
        ("7600", "192.0.2.0/24", "throw", ""),
    ]
    routes = [{"family": "ipv4", **dict(zip(("table", "to", "type", "via"), way))} for way in ways]
    found = plan(NAT, host={"rules": there, "routes": routes}, **BACK)
    assert found["unmet"] == []
    assert found["stale"]["policies"] == [
        f"rule 7600: from {RIP} tcp sport 8444 lookup 7600",
        "route throw 192.0.2.0/24 table 7600",
        f"route 203.0.113.9/32 via {VIA} table main",
    ]
    assert plan(NAT, **BACK)["unmet"] == [
        f"there is no rule 7600: from {RIP} tcp sport 8443 lookup 7600",
        f"there is no route default via {VIA} table 7600",
    ]


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("return_match", "port", "must be one of service, address, connection (got 'port')"),
        ("return_to", ["203.0.113.9/24"], "must be a network such as 203.0.113.0/24, without host bits"),
        ("return_direct", [7], "must be a string"),
    ],
)
def test_bad_return_options_are_told(option: str, value: object, rule: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        plan(NAT, **{**BACK, option: value})
    assert str(refused.value).startswith(f"ipvs_backend_{option}")
    assert rule in str(refused.value)


MARKED = {
    "fwmark": 80,
    "family": "ipv4",
    "mark": {"addresses": ["192.0.2.11", VIP], "ports": [80, 443]},
    "servers": [{"address": RIP}],
}


def test_the_vips_of_a_service_by_mark_are_the_addresses_of_the_mark() -> None:
    places = [(vip["address"], vip["interface"]) for vip in plan(MARKED)["vips"]]
    assert places == [(VIP, "lo"), ("192.0.2.11", "lo")]
    assert plan({name: value for name, value in MARKED.items() if name != "mark"})["vips"] == []


def test_clients_of_a_service_by_mark_leave_room_for_the_tunnel() -> None:
    tunnelled = plan({**MARKED, "forward": "tun"}, host=ABLE)
    assert tunnelled["clamps"] == [{"address": VIP, "mss": 1440}, {"address": "192.0.2.11", "mss": 1440}]
    assert {vip["interface"] for vip in tunnelled["vips"]} == {"l4lb-ipip4"}
    datagrams = {**MARKED, "forward": "tun", "mark": {**MARKED["mark"], "protocols": ["udp"]}}  # type: ignore[dict-item]
    assert plan(datagrams, host=ABLE)["clamps"] == []
