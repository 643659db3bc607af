# SPDX-License-Identifier: GPL-3.0-or-later
"""What a director needs, and what on its host would break it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.director_plan import director_plan
from plugins.filter.snat_flows import snat_flows

WEB = {
    "address": "192.0.2.10",
    "port": 443,
    "scheduler": "mh",
    "forward": "nat",
    "servers": [{"address": "198.51.100.11", "port": 8443}],
}
ROUTED = {**WEB, "return_path": "gateway"}
WEB6 = {**WEB, "address": "2001:db8::10", "servers": [{"address": "2001:db8:1::11"}]}


def interface(name: str, *addresses: str, **attributes: Any) -> dict[str, Any]:
    """One with these addresses, each with its prefix length."""
    quiet = attributes.pop("quiet", False)
    listed = [{"address": one.split("/")[0], "prefix": int(one.split("/")[1]), "quiet": quiet} for one in addresses]
    return {"name": name, "kind": "", "alias": "", "addresses": listed, **attributes}


INTERFACES = [
    interface("lo", "127.0.0.1/8", quiet=True),
    interface("eth0", "192.0.2.1/24", "2001:db8::1/64"),
    interface("lan.5", "198.51.100.1/24", "2001:db8:1::1/64"),
]
MODULES = ("ip_vs", "ip_vs_mh", "ip_vs_rr", "ip_vs_pe_sip", "nf_conntrack", "nft_chain_nat")
HOST: dict[str, Any] = {
    "modules": dict.fromkeys(MODULES, "loadable"),
    "interfaces": INTERFACES,
    "firewall": [],
    "source_nat": [],
    "owners": [],
    "forwards": [],
    "connection": None,
    "gateways": [],
    "sysctls": {},
}


def plan(*services: dict[str, Any], host: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    flows = snat_flows(list(services), hostvars={}, groups={})
    plain = [{name: value for name, value in one.items() if name != "return_path"} for one in services]
    return director_plan(plain, flows=flows, host={**HOST, **(host or {})}, **options)


def test_modules_are_those_of_the_services_ip_vs_first() -> None:
    sip = {"address": "192.0.2.10", "port": 5060, "protocol": "udp", "scheduler": "rr", "return_path": "route"}
    sip.update(persistence_timeout=60, persistence_engine="sip", forward="nat", servers=WEB["servers"])
    assert plan(WEB, sip)["modules"] == [
        *("ip_vs", "ip_vs_mh", "ip_vs_rr", "ip_vs_pe_sip"),
        *("nf_conntrack", "nft_chain_nat"),
    ]
    assert plan(sip)["modules"] == ["ip_vs", "ip_vs_rr", "ip_vs_pe_sip"]


def test_only_modules_that_are_not_loaded_are_missing() -> None:
    host = {"modules": {**HOST["modules"], "ip_vs": "loaded", "nf_conntrack": "loaded"}}
    assert plan(WEB, host=host)["missing_modules"] == ["ip_vs_mh", "nft_chain_nat"]


def test_a_module_that_the_kernel_lacks_is_a_problem() -> None:
    host = {"modules": {name: "loadable" for name in MODULES if name != "ip_vs_mh"}}
    (problem,) = plan(WEB, host=host)["problems"]
    assert problem.startswith("the module ip_vs_mh is not available in this kernel")


def test_nat_in_one_place_forwards_and_redirects_nobody() -> None:
    assert plan(WEB)["sysctls"] == {
        "net.ipv4.ip_forward": 1,
        "net.ipv4.conf.all.send_redirects": 0,
        "net.ipv4.conf.eth0.send_redirects": 0,
        "net.ipv4.conf.lan/5.send_redirects": 0,
        "net.ipv4.vs.conntrack": 1,
    }


@pytest.mark.parametrize(
    ("service", "live", "given", "tracks"),
    [
        (WEB, {}, {}, True),
        (ROUTED, {}, {}, False),
        (ROUTED, {"net.ipv4.vs.conntrack": 0}, {}, False),
        (ROUTED, {"net.ipv4.vs.conntrack": 1}, {}, True),
        (ROUTED, {"net.ipv4.vs.conntrack": 1}, {"net.ipv4.vs.conntrack": 0}, False),
        (ROUTED, {"net.ipv4.vs.conntrack": 0}, {"net.ipv4.vs.conntrack": "1"}, True),
        (WEB, {"net.ipv4.vs.conntrack": 1}, {"net.ipv4.vs.conntrack": "0"}, False),
    ],
)
def test_ipvs_tracks_on_when_its_last_source_nat_is_gone(
    service: dict[str, Any], live: dict[str, int], given: dict[str, Any], tracks: bool
) -> None:
    assert plan(service, host={"sysctls": live}, sysctls=given)["tracks"] is tracks


def test_conntrack_is_only_for_source_nat() -> None:
    assert "net.ipv4.vs.conntrack" not in plan({**WEB, "return_path": "gateway"})["sysctls"]


def test_ipv6_forwards_ipv6_alone() -> None:
    assert plan(WEB6)["sysctls"] == {"net.ipv6.conf.all.forwarding": 1, "net.ipv4.vs.conntrack": 1}


def test_forwarding_keeps_the_default_route_of_an_advertisement() -> None:
    ra = {"family": "ipv6", "address": "2001:db8::ff", "interface": "eth0", "protocol": "ra"}
    learned = {"gateways": [ra, {**ra, "interface": "lan.5"}], "sysctls": {"net.ipv6.conf.eth0.accept_ra": 1}}
    assert plan(WEB6, host=learned)["sysctls"]["net.ipv6.conf.eth0.accept_ra"] == 2
    for service, host in (
        (WEB, learned),
        ({**WEB6, "forward": "dr", "servers": [{"address": "2001:db8:1::11"}]}, learned),
        (WEB6, {**learned, "gateways": [{**ra, "protocol": "static"}]}),
        (WEB6, {**learned, "sysctls": {"net.ipv6.conf.eth0.accept_ra": 0}}),
    ):
        assert not any("accept_ra" in key for key in plan(service, host=host)["sysctls"])


def test_direct_routing_needs_no_sysctl() -> None:
    service = {**WEB, "forward": "dr", "servers": [{"address": "198.51.100.11"}]}
    assert plan(service)["sysctls"] == {}


def test_the_users_sysctls_win() -> None:
    values = plan(WEB, sysctls={"net.ipv4.ip_forward": 0, "net.ipv4.vs.sloppy_tcp": 1})["sysctls"]
    assert (values["net.ipv4.ip_forward"], values["net.ipv4.vs.sloppy_tcp"]) == (0, 1)


def test_a_vip_goes_where_its_network_is() -> None:
    assert plan(WEB, {**WEB, "port": 80}, WEB6)["vips"] == [
        {"address": "192.0.2.10", "prefix": 32, "interface": "eth0"},
        {"address": "2001:db8::10", "prefix": 128, "interface": "eth0", "preferred_lifetime": 0},
    ]


def test_a_vip_that_the_host_has_stays_where_it_is() -> None:
    held = interface("dummy0", "192.0.2.10/32")
    assert plan(WEB, host={"interfaces": [*INTERFACES, held]})["vips"][0]["interface"] == "dummy0"


def test_a_vip_of_ours_draws_no_other_to_its_interface() -> None:
    ours = interface("eth9", "203.0.113.7/32")
    with pytest.raises(AnsibleFilterError, match=r"the VIP 203\.0\.113\.8 is in no network"):
        plan({**WEB, "address": "203.0.113.8"}, host={"interfaces": [*INTERFACES, ours]})


OURS = {"kind": "dummy", "alias": "l4lb.ipvs"}
DUMMIES = {"modules": {**HOST["modules"], "dummy": "loadable"}}


def with_interfaces(*more: dict[str, Any]) -> dict[str, Any]:
    return {**DUMMIES, "interfaces": [*INTERFACES, *more]}


def test_a_dummy_that_is_not_there_is_made_for_the_vips() -> None:
    for word in ("hold", "standby"):
        found = plan(WEB, vip=word, vip_interface="vips", host=DUMMIES)
        assert (found["dummies"], found["stale_dummies"]) == ([{"name": "vips", "type": "dummy"}], [])
        assert found["warnings"] == [
            "there is no interface vips, so a dummy of this name is made, at which no VIP is announced"
        ]
    (problem,) = plan(WEB, vip_interface="vips")["problems"]
    assert problem.startswith("the module dummy is not available")
    assert plan(WEB, vip_interface="vips", vip="external", host=DUMMIES)["dummies"] == []


@pytest.mark.parametrize(
    ("device", "made"),
    [
        (interface("vips", "192.0.2.10/32", **OURS), [{"name": "vips", "type": "dummy"}]),
        (interface("vips", kind="dummy"), []),
        (interface("vips"), []),
        (interface("vips", kind="sit", alias="l4lb.ipvs"), []),
    ],
)
def test_a_device_that_is_there_is_ours_only_by_its_mark(device: dict[str, Any], made: list[object]) -> None:
    found = plan(WEB, vip_interface="vips", host=with_interfaces(device))
    assert (found["dummies"], found["stale_dummies"], found["warnings"]) == (made, [], [])


@pytest.mark.parametrize(
    ("vip", "device", "stale"),
    [
        ("hold", interface("old", **OURS), True),
        ("hold", interface("old", "192.0.2.99/32", **OURS), True),
        ("hold", interface("old", "192.0.2.10/32", **OURS), True),
        ("external", interface("old", "192.0.2.10/32", **OURS), False),
        ("hold", interface("old", "192.0.2.99/32", quiet=True, **OURS), False),
        ("hold", interface("old", "192.0.2.99/32", kind="dummy"), False),
        ("hold", interface("old", "192.0.2.99/32", kind="sit", alias="l4lb.ipvs"), False),
    ],
)
def test_a_dummy_that_no_vip_needs_is_stale(vip: str, device: dict[str, Any], stale: bool) -> None:
    found = plan(WEB, vip=vip, vip_interface="eth0", host=with_interfaces(device))
    assert found["stale_dummies"] == ([{"name": "old"}] if stale else [])
    assert ({"name": "old"} in found["removable_dummies"]) is stale


@pytest.mark.parametrize("place", ["lo", "vips", "foreign"])
def test_no_packet_comes_in_where_it_would_be_redirected_from(place: str) -> None:
    host = with_interfaces(interface("foreign", kind="dummy"))
    keys = plan(WEB, vip_interface=place, host=host)["sysctls"]
    assert [key for key in keys if "send_redirects" in key] == [
        "net.ipv4.conf.all.send_redirects",
        "net.ipv4.conf.lan/5.send_redirects",
    ]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({}, ["eth0", "eth0"]),
        ({"web": "vips"}, ["vips", "eth0"]),
        ({"dns": "vips"}, ["eth0", "vips"]),
        ({"default": "vips"}, ["vips", "vips"]),
        ({"default": "vips", "web": ""}, ["eth0", "vips"]),
        ({"192.0.2.0/28": "vips", "default": "lan.5"}, ["vips", "lan.5"]),
        ({"192.0.2.0/24": "lan.5", "192.0.2.0/28": "vips"}, ["vips", "lan.5"]),
        ({"192.0.2.10": "vips"}, ["vips", "eth0"]),
        ({"2001:db8::/32": "vips"}, ["eth0", "eth0"]),
        ({"192.0.2.10/32": "vips", "web": "lan.5"}, ["lan.5", "eth0"]),
        ({"far": "vips"}, ["eth0", "eth0"]),
    ],
)
def test_each_vip_has_the_interface_of_its_service_or_network(places: dict[str, str], expected: list[str]) -> None:
    found = plan(NAMED, PLAIN, DNS, vip_interface=places, names=["far"], host=DUMMIES)["vips"]
    assert [one["interface"] for one in found] == expected


def test_everything_wrong_with_the_interfaces_is_told_at_once() -> None:
    places = {"wbe": "eth0", "web": "eth0", "plain": "lan.5", "192.0.2.1/24": "eth0", "dns": "a/b", "default": 7}
    rule = "must be an interface name of 1..15 letters, digits, '_', '.', ':', '@' or '-'"
    keys = "ipvs_director_vip_interface: must have names of services, networks or default as keys"
    assert refused(NAMED, PLAIN, DNS, vip_interface=places) == [
        f"{keys} (got 'wbe')",
        f"{keys} (got '192.0.2.1/24')",
        f"ipvs_director_vip_interface.dns: {rule} (got 'a/b')",
        "ipvs_director_vip_interface.default: must be a string (got 7)",
        "ipvs_director_vip_interface.plain: must be eth0 as for web, which has the VIP 192.0.2.10 too (got 'lan.5')",
    ]
    (told,) = refused(WEB, vip_interface="a/b")
    assert told == f"ipvs_director_vip_interface: {rule}, or a dict of service names and networks to these (got 'a/b')"


def test_the_narrowest_network_wins() -> None:
    narrow = interface("eth9", "192.0.2.9/28")
    assert plan(WEB, host={"interfaces": [*INTERFACES, narrow]})["vips"][0]["interface"] == "eth9"


def test_the_choice_of_interface_is_the_users_where_there_is_one_to_make() -> None:
    twin = interface("eth9", "192.0.2.9/24")
    with pytest.raises(AnsibleFilterError, match=r"ipvs_director_vip_interface: is required: .* eth0, eth9"):
        plan(WEB, host={"interfaces": [*INTERFACES, twin]})
    assert plan(WEB, vip_interface="eth9")["vips"][0]["interface"] == "eth9"


def test_vips_that_others_place_need_no_interface() -> None:
    elsewhere = {**WEB, "address": "203.0.113.8"}
    found = plan(WEB, elsewhere, vip="external")
    assert found["vips"] == []
    assert "net.ipv4.conf.eth0.send_redirects" in found["sysctls"]


PLAIN = {**WEB, "name": "plain", "port": 80}
DNS = {**WEB, "name": "dns", "address": "192.0.2.53"}
MAIL = {**WEB, "name": "mail", "address": "192.0.2.25"}
NAMED = {**WEB, "name": "web"}


def having(*addresses: str) -> dict[str, Any]:
    """The host, which has these addresses besides."""
    held = interface("eth0", *(f"{address}/32" for address in addresses))
    return {"interfaces": [*INTERFACES, held]}


def split(*services: dict[str, Any], vip: object, held: tuple[str, ...] = (), **options: Any) -> list[list[str]]:
    """The addresses of the VIPs to hold, and of those to let go of."""
    found = plan(*services, vip=vip, host=having(*held), **options)
    return [[one["address"] for one in found[kind]] for kind in ("vips", "standby_vips")]


VIPS = ("192.0.2.10", "192.0.2.25", "192.0.2.53")


@pytest.mark.parametrize(
    ("vip", "hold", "let_go"),
    [
        ("hold", VIPS, ()),
        ("standby", (), VIPS),
        ("external", (), ()),
        ({}, VIPS, ()),
        ({"dns": "standby"}, ("192.0.2.10", "192.0.2.25"), ("192.0.2.53",)),
        ({"dns": "hold", "default": "standby"}, ("192.0.2.53",), ("192.0.2.10", "192.0.2.25")),
        ({"dns": "external", "mail": "standby"}, ("192.0.2.10",), ("192.0.2.25",)),
    ],
)
def test_each_vip_goes_by_the_word_of_its_service(vip: object, hold: tuple[str, ...], let_go: tuple[str, ...]) -> None:
    assert split(WEB, DNS, MAIL, vip=vip, held=VIPS) == [list(hold), list(let_go)]


def test_only_what_the_host_has_is_let_go() -> None:
    assert split(WEB, DNS, MAIL, vip="standby", held=("192.0.2.53",)) == [[], ["192.0.2.53"]]
    elsewhere = interface("lan.5", "192.0.2.53/32")
    host = {"interfaces": [*INTERFACES, elsewhere]}
    assert plan(DNS, vip="standby", vip_interface="eth0", host=host)["standby_vips"] == []


def test_what_is_let_go_is_told_as_it_was_placed() -> None:
    assert plan(WEB, vip="standby", vip_prefix=24, host=having("192.0.2.10"))["standby_vips"] == [
        {"address": "192.0.2.10", "prefix": 24, "interface": "eth0"}
    ]


def test_the_addresses_of_all_services_are_told_whatever_their_word() -> None:
    elsewhere = {**WEB6, "name": "far", "address": "2001:db8:2::1"}
    vip = {"dns": "standby", "far": "external"}
    assert plan(elsewhere, DNS, WEB, vip=vip)["vip_addresses"] == ["192.0.2.10", "192.0.2.53", "2001:db8:2::1"]


def test_the_vips_of_a_mark_go_by_the_name_of_its_service() -> None:
    marked, mark = {**MARKED, "name": "marked"}, {**MARK, "addresses": ["192.0.2.11"]}
    assert split(DNS, marked, marks=[mark], vip={"marked": "standby"}, held=("192.0.2.11",)) == [
        ["192.0.2.53"],
        ["192.0.2.11"],
    ]


def test_only_external_vips_need_no_interface() -> None:
    elsewhere = {**WEB, "name": "far", "address": "203.0.113.8"}
    assert split(elsewhere, WEB, vip={"far": "external"}) == [["192.0.2.10"], []]
    with pytest.raises(AnsibleFilterError, match=r"the VIP 203\.0\.113\.8 is in no network"):
        plan(elsewhere, WEB, vip={"far": "standby", "default": "external"})


def refused(*services: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(AnsibleFilterError) as caught:
        plan(*services, **options)
    told: list[str] = caught.value.__cause__.details["problems"]  # type: ignore[union-attr]
    return told


def test_everything_wrong_with_the_words_is_told_at_once() -> None:
    vip = {"wbe": "hold", "plain": "standby", "dns": "stand by", "default": ["hold"]}
    assert refused(NAMED, PLAIN, {**PLAIN, "port": 81}, DNS, vip=vip) == [
        "ipvs_director_vip.wbe: unknown key; did you mean web?",
        "ipvs_director_vip.dns: must be one of hold, standby, external (got 'stand by')",
        "ipvs_director_vip.default: must be one of hold, standby, external (got ['hold'])",
        "ipvs_director_vip.plain: must be hold as for web, which has the VIP 192.0.2.10 too (got 'standby')",
    ]


@pytest.mark.parametrize("vip", ["held", ["hold"], None, True])
def test_a_word_is_one_of_three(vip: object) -> None:
    (told,) = refused(WEB, vip=vip)
    assert told.startswith("ipvs_director_vip: must be one of hold, standby, external, or a dict of service names to")


def test_services_that_share_a_vip_have_one_word() -> None:
    marked, mark = {**MARKED, "name": "marked"}, {**MARK, "addresses": ["192.0.2.10"]}
    assert refused(WEB, {**WEB, "port": 80}, marked, marks=[mark], vip={"marked": "external"}) == [
        "ipvs_director_vip.marked: must be hold as for default, which has the VIP 192.0.2.10 too (got 'external')"
    ]
    assert split(WEB, marked, marks=[mark], vip={"default": "standby", "marked": "standby"}) == [[], []]


def test_a_service_of_another_director_may_have_a_word() -> None:
    assert split(WEB, vip={"dns": "standby"}, names=["dns"]) == [["192.0.2.10"], []]
    assert refused(WEB, vip={"dns": "standby"}) == ["ipvs_director_vip.dns: unknown key; known: default"]


def test_services_are_checked_before_their_words() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^services\[0\]: must be a dict"):
        director_plan(["web", WEB], flows=[], host=HOST, vip="held")


def test_a_prefix_may_be_given() -> None:
    assert plan(WEB, vip_prefix=24)["vips"][0]["prefix"] == 24
    with pytest.raises(AnsibleFilterError, match=r"ipvs_director_vip_prefix: must be .* 1..32, or host \(got 64\)"):
        plan(WEB, vip_prefix=64)


# ----------------------------------------------------------------------------------------------- dangers


def problems(host: dict[str, Any], **options: Any) -> list[str]:
    found: list[str] = plan(WEB, host=host, **options)["problems"]
    return found


def test_a_clean_host_has_no_problem() -> None:
    assert problems({}) == []


DROP = {
    "family": "ip",
    "table": "ip filter",
    "chain": "FORWARD",
    "hook": "forward",
    "policy": "drop",
    "rules": [],
    "chains": {},
}


def test_a_forward_chain_that_drops_everything_is_refused() -> None:
    (problem,) = problems({"firewall": [DROP]})
    assert "chain FORWARD of table ip filter drops" in problem
    assert problem.endswith("(to accept it, name forward_drop in ipvs_director_allow)")


def test_a_forward_chain_that_never_sees_answers_is_fine() -> None:
    assert problems({"firewall": [{**DROP, "family": "ip6"}]}) == []


def test_a_forward_chain_is_no_danger_to_direct_routing() -> None:
    service = {**WEB, "forward": "dr", "servers": [{"address": "198.51.100.11"}]}
    assert plan(service, host={"firewall": [DROP]})["problems"] == []


def test_another_owner_is_refused() -> None:
    (problem,) = problems({"owners": ["kube-proxy (device kube-ipvs0)"]})
    assert problem.startswith("kube-proxy (device kube-ipvs0) manages the IPVS table")


def test_what_is_allowed_is_a_warning() -> None:
    found = plan(WEB, host={"owners": ["kube-proxy"], "firewall": [DROP]}, allow=["foreign_owner"])
    assert [len(found["problems"]), len(found["warnings"])] == [1, 1]
    assert "kube-proxy" in found["warnings"][0]


def test_an_unknown_allowance_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match=r"allow\[0\]: must be one of input_drop, .* \(got 'all'\)"):
        plan(WEB, allow=["all"])


@pytest.mark.parametrize(
    ("address", "port", "taken"),
    [
        ("192.0.2.10", 443, True),
        ("192.0.2.10", 22, False),
        ("192.0.2.11", 443, False),
        ("host.example.org", 443, False),
    ],
)
def test_a_service_on_the_management_port_is_refused(address: str, port: int, taken: bool) -> None:
    connection = {"address": address, "port": port}
    assert bool(problems({"connection": connection})) is taken
    assert bool(problems({}, connection=connection)) is taken
    assert problems({"connection": connection}, allow=["management_capture"]) == []


def test_a_service_on_every_port_takes_the_management_port() -> None:
    service = {**WEB, "port": 0, "persistence_timeout": 60, "servers": [{"address": "198.51.100.11"}]}
    (problem,) = plan(service, host={"connection": {"address": "192.0.2.10", "port": 22}})["problems"]
    assert "every port, 22 included" in problem


def test_a_udp_service_takes_no_ssh() -> None:
    service = {**WEB, "protocol": "udp"}
    assert plan(service, host={"connection": {"address": "192.0.2.10", "port": 443}})["problems"] == []


SELF = "198.51.100.1"


def direct(*addresses: str, forward: str = "dr", **changes: Any) -> dict[str, Any]:
    return {**WEB, "forward": forward, "servers": [{"address": one} for one in addresses], **changes}


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_director_is_no_server_of_its_own(forward: str) -> None:
    services = [direct("198.51.100.11", SELF, forward=forward, port=port) for port in (80, 81)]
    services += [direct("2001:db8:1::1", forward=forward, address="2001:db8::10"), direct("198.51.100.11", port=82)]
    told = (
        "services -t 192.0.2.10:80, -t 192.0.2.10:81, -t [2001:db8::10]:443: servers 198.51.100.1, 2001:db8:1::1: a "
        "director of the service (this host), which balances once more what another director sends it with "
        f"forward {forward}: take it out of the servers, use forward nat, or have other directors carry the service"
    )
    assert plan(*services)["problems"] == [f"{told} (to accept it, name localnode in ipvs_director_allow)"]
    accepted = plan(*services, allow=["localnode"])
    assert (accepted["problems"], accepted["warnings"]) == ([], [told])


def test_a_director_serves_itself_by_nat_and_by_its_loopback() -> None:
    found = plan(direct(SELF, forward="nat"), direct("127.0.0.1", port=80), direct("127.0.0.1", port=81, forward="tun"))
    assert (found["problems"], found["warnings"]) == ([], [])


def test_a_vip_that_the_director_holds_is_none_of_its_own_addresses() -> None:
    second, held = direct("192.0.2.10", address="192.0.2.25"), having("192.0.2.10")
    found = plan(WEB, second, host=held)
    assert (found["problems"], found["warnings"]) == ([], [])
    assert len(plan(second, host=held)["problems"]) == 1


def test_direct_servers_in_no_network_of_the_director_are_warned_of() -> None:
    far = [direct("198.51.100.11", "203.0.113.7", port=port) for port in (80, 81)]
    (warning,) = plan(*far, direct("198.51.100.12"))["warnings"]
    assert warning == (
        "services -t 192.0.2.10:80, -t 192.0.2.10:81: server 203.0.113.7: in no network of this host, and forward dr "
        "reaches neighbours only: use forward tun, or move the servers, unless a route without a gateway leads there"
    )
    whole = [interface("eth9", "203.0.113.7/32")]
    near = [interface("eth9", "203.0.113.1/24")]
    assert plan(*far, host={"interfaces": INTERFACES + near})["warnings"] == []
    (itself,) = plan(*far, host={"interfaces": INTERFACES + whole}, allow=["localnode"])["warnings"]
    assert "a director of the service (this host)" in itself
    for forward in ("tun", "nat"):
        assert plan(direct("203.0.113.7", forward=forward))["warnings"] == []
    assert plan(*far)["problems"] == []


def matching(*matches: tuple[str, str, list[Any]], family: str = "ip") -> dict[str, Any]:
    named = [{"what": what, "op": op, "values": values} for what, op, values in matches]
    return {"family": family, "table": f"{family} nat", "chain": "POSTROUTING", "matches": named}


@pytest.mark.parametrize(
    ("rule", "catches"),
    [
        (matching(), True),
        (matching(family="inet"), True),
        (matching(family="ip6"), False),
        (matching(("meta oifname", "==", ["lan.5"])), True),
        (matching(("meta oifname", "==", ["lan*"])), True),
        (matching(("meta oifname", "==", ["eth0"])), False),
        (matching(("meta oifname", "!=", ["eth0"])), True),
        (matching(("meta oif", "==", ["eth0", "lan.5"])), True),
        (matching(("ip daddr", "==", ["198.51.100.11"])), True),
        (matching(("ip daddr", "==", [{"prefix": {"addr": "198.51.100.0", "len": 24}}])), True),
        (matching(("ip daddr", "==", [{"range": ["198.51.100.1", "198.51.100.9"]}])), False),
        (matching(("ip daddr", "!=", [{"prefix": {"addr": "198.51.100.0", "len": 24}}])), False),
        (matching(("ip daddr", "!=", ["@others"])), False),
        (matching(("ip saddr", "==", ["192.0.2.0/24"])), False),
        (matching(("meta l4proto", "==", ["tcp"]), ("tcp dport", "==", [8443])), True),
        (matching(("tcp dport", "==", [443])), False),
        (matching(("tcp dport", "==", [{"range": [8000, 9000]}])), True),
        (matching(("udp dport", "==", [8443])), False),
        (matching(("meta oifname", "==", ["lan.5"]), ("", "", [None])), False),
    ],
)
def test_a_foreign_rule_is_refused_if_it_surely_catches_a_flow(rule: dict[str, Any], catches: bool) -> None:
    found = problems({"source_nat": [rule]})
    assert bool(found) is catches
    if catches:
        assert "-t 192.0.2.10:443 -r 198.51.100.11:8443" in found[0]


def test_a_foreign_rule_is_fine_where_no_flow_needs_source_nat() -> None:
    service = {**WEB, "return_path": "gateway"}
    assert plan(service, host={"source_nat": [matching()]})["problems"] == []


MARKED = {
    "fwmark": 80,
    "family": "ipv4",
    "forward": "nat",
    "scheduler": "rr",
    "servers": [{"address": "198.51.100.11"}],
}
MARK = {"fwmark": 80, "family": "ipv4", "addresses": ["192.0.2.11", "192.0.2.10"], "ports": ["20-80"]}


def test_the_addresses_of_marks_are_vips() -> None:
    marked = plan(MARKED, WEB, marks=[MARK])
    assert [vip["address"] for vip in marked["vips"]] == ["192.0.2.10", "192.0.2.11"]
    assert {vip["interface"] for vip in marked["vips"]} == {"eth0"}
    assert plan(MARKED)["vips"] == []


@pytest.mark.parametrize(
    ("address", "port", "taken"),
    [("192.0.2.11", 22, True), ("192.0.2.11", 2222, False), ("192.0.2.1", 22, False)],
)
def test_a_mark_on_the_management_port(address: str, port: int, taken: bool) -> None:
    connection = {"address": address, "port": port}
    problems = plan(MARKED, marks=[MARK], connection=connection)["problems"]
    assert problems == (
        [
            f"the mark 80 takes port {port} of {address}, through which this host is managed "
            "(to accept it, name management_capture in ipvs_director_allow)"
        ]
        if taken
        else []
    )
    assert plan(MARKED, marks=[MARK], connection=connection, allow=["management_capture"])["problems"] == []


@pytest.mark.parametrize(
    ("wanted", "live", "expected"),
    [
        ("dr", [], False),
        ("dr", ["dr"], False),
        ("dr", ["dr", "nat"], True),
        ("dr", ["tun"], True),
        ("nat", ["dr", "nat"], True),
        ("tun", ["dr"], True),
        ("tun", ["nat"], False),
    ],
)
def test_a_neighbour_may_go_from_or_to_dr(wanted: str, live: list[str], expected: bool) -> None:
    neighbours, own, far = ["198.51.100.11", "198.51.100.12"], "198.51.100.1", "203.0.113.11"
    service = {**WEB, "forward": wanted, "servers": [{"address": one} for one in (*neighbours, own, far)]}
    found = plan(service, host={"forwards": live}, allow=["localnode"])["reroutable"]
    assert found == (neighbours if expected else [])
