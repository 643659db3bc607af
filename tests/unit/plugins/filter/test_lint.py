# SPDX-License-Identifier: GPL-3.0-or-later
"""How services, directors and backends fit together, from the inventory alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from plugins.filter.lint import lint
from plugins.plugin_utils._lint import CHECKS

LAN = "198.51.100.0/24"
FAR = "203.0.113.0/24"
DR = {"name": "web", "address": "198.51.100.100", "port": 443, "forward": "dr"}
NAT = {**DR, "forward": "nat"}
SERVERS = {"servers_from": {"group": "ipvs_backends", "address": "rip"}}
WEB = "web (-t 198.51.100.100:443)"


def host(*networks: str, **variables: Any) -> dict[str, Any]:
    return {**variables, **({"ipvs_networks": list(networks)} if networks else {})}


def fleet(**changes: Any) -> dict[str, Any]:
    """One director and two backends in one network; ``changes`` replace hosts, a host of ``None`` is left out."""
    hosts = {
        "director1": host("198.51.100.1/24"),
        "backend1": host("198.51.100.11/24", rip="198.51.100.11"),
        "backend2": host("198.51.100.12/24", rip="198.51.100.12"),
        **changes,
    }
    hostvars = {name: variables for name, variables in hosts.items() if variables is not None}
    groups = {
        "ipvs_directors": [name for name in hostvars if name.startswith("director")],
        "ipvs_backends": [name for name in hostvars if name.startswith("backend")],
    }
    return {"hostvars": hostvars, "groups": groups}


CLEAN = {"problems": [], "warnings": [], "not_checked": []}


def only(verdict: dict[str, list[str]], kind: str) -> str:
    """The one sentence of a verdict, which is of this kind."""
    assert {name: len(told) for name, told in verdict.items()} == {**dict.fromkeys(CLEAN, 0), kind: 1}, verdict
    return verdict[kind][0]


REFUSING = [name for name, check in CHECKS.items() if check.problem and name != "marks_overlap"]


def refusal(check: str, text: str) -> str:
    return f"{text}: {CHECKS[check].remedy} (to accept it, name {check} in ipvs_lint_allow)"


def warning(check: str, text: str) -> str:
    return f"{text}: {CHECKS[check].remedy}"


@pytest.mark.parametrize("forward", ["nat", "dr", "tun"])
def test_a_sound_inventory_says_nothing(forward: str) -> None:
    assert lint([{**DR, **SERVERS, "forward": forward}], **fleet()) == CLEAN


# direct routing


def test_direct_routing_reaches_neighbours_only() -> None:
    hosts = fleet(backend2=host(FAR, rip="203.0.113.12"))
    text = f"service {WEB}: server 203.0.113.12: in no network of director1, and forward dr reaches neighbours only"
    assert only(lint([{**DR, **SERVERS}], **hosts), "problems") == refusal("off_subnet", text)


@pytest.mark.parametrize("forward", ["nat", "tun"])
def test_other_methods_reach_further(forward: str) -> None:
    assert lint([{**DR, **SERVERS, "forward": forward}], **fleet(backend2=host(FAR, rip="203.0.113.12"))) == CLEAN


def test_every_director_must_reach_the_servers() -> None:
    hosts = fleet(director2=host(FAR, ipvs_director_vip="standby"))
    assert "in no network of director2" in only(lint([{**DR, **SERVERS}], **hosts), "problems")


def test_a_director_reaches_itself() -> None:
    hosts = fleet(director1=host(FAR, ipvs_address="198.51.100.1"))
    service = {**DR, "servers": [{"address": "198.51.100.1"}]}
    assert "a director of the service" in only(lint([service], **hosts), "problems")
    for forward in ("dr", "tun", "nat"):
        assert lint([{**DR, "forward": forward, "servers": [{"address": "127.0.0.1"}]}], **hosts)["problems"] == []


def test_networks_that_nobody_states_are_not_checked() -> None:
    told = (
        "not checked: off_subnet, for the networks of host director1 are not known: "
        "state them in ipvs_networks of the host"
    )
    assert only(lint([{**DR, **SERVERS}], **fleet(director1={})), "not_checked") == told


def not_known(checks: str, hosts: str, whose: str, these: str) -> list[str]:
    return [
        f"not checked: {checks}, for the addresses of {hosts} in {whose} networks are not known: state them, as "
        f"address/prefix length, in ipvs_networks of {these}"
    ]


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_director_whose_addresses_nobody_states_may_be_a_server(forward: str) -> None:
    service = {**DR, "forward": forward, "servers": [{"address": "198.51.100.77"}]}

    def told(service: dict[str, Any], **hosts: Any) -> list[str]:
        return lint([service], **fleet(**hosts))["not_checked"]

    hidden = host(LAN, FAR, ansible_host="203.0.113.9")
    assert told(service, director1=hidden) == not_known("localnode", "host director1", "its", "the host")
    both = {"director1": hidden, "director2": {**hidden, "ipvs_director_vip": "standby"}}
    assert told(service, **both) == not_known("localnode", "hosts director1, director2", "their", "the hosts")
    for known in (host(LAN, "198.51.100.1/24"), host(LAN, ansible_host="198.51.100.1")):
        assert told(service, director1=known) == []
    vip_only = {"interfaces": ["eth0"], "eth0": {"ipv4": {"address": DR["address"], "prefix": "24"}}}
    assert told(service, director1=host(LAN, ansible_facts=vip_only)) == []
    for other in (SERVERS, {"forward": "nat"}, {"servers": [{"address": "203.0.113.77"}]}):
        assert told({**service, **other, **({"servers": []} if other is SERVERS else {})}, director1=hidden) == []


def test_a_director_whose_addresses_nobody_states_may_have_the_vip_of_others() -> None:
    hosts = fleet(director2=host(LAN, ansible_host="203.0.113.9"))
    hosts["groups"].update(one=["director1"], two=["director2"])
    mail = {**DR, **SERVERS, "name": "mail", "address": "198.51.100.101"}
    told = only(lint([{**DR, **SERVERS, "directors": "one"}, {**mail, "directors": "two"}], **hosts), "not_checked")
    assert [told] == not_known("vip_is_real", "host director2", "its", "the host")
    assert lint([{**mail, "directors": "two"}], **hosts) == CLEAN, "its own VIPs it may have"


def test_networks_of_the_other_family_tell_nothing() -> None:
    service = {**DR, "address": "2001:db8::100", "servers": [{"address": "2001:db8::11"}]}
    hosts = fleet(backend1=host(ipvs_address6="2001:db8::11"), backend2=None)
    assert "off_subnet" in only(lint([service], **hosts), "not_checked")


FACTS = {
    "interfaces": ["lo", "br-lan"],
    "lo": {"ipv4": {"address": "127.0.0.1", "prefix": "8"}, "ipv4_secondaries": [{"address": FAR, "prefix": "24"}]},
    "br_lan": {
        "ipv4": {"address": "198.51.100.1", "netmask": "255.255.255.0"},
        "ipv4_secondaries": [{"address": "203.0.113.1", "prefix": "32"}],
        "ipv6": [{"address": "fe80::1", "prefix": "64", "scope": "link"}],
    },
}


def test_facts_tell_networks_where_they_are_there() -> None:
    assert lint([{**DR, **SERVERS}], **fleet(director1={"ansible_facts": FACTS})) == CLEAN
    hosts = fleet(director1={"ansible_facts": FACTS}, backend2=host(rip="203.0.113.12"))
    assert "server 203.0.113.12: in no network" in only(lint([{**DR, **SERVERS}], **hosts), "problems")


BSD = {
    "interfaces": ["lo0", "em0"],
    "lo0": {"ipv4": [{"address": "127.0.0.1", "netmask": "255.0.0.0"}], "ipv6": [{"address": "::1", "prefix": "128"}]},
    "em0": {
        "ipv4": [{"address": "198.51.100.1", "netmask": "255.255.255.0"}],
        "ipv6": [{"address": "fe80::1%em0", "prefix": "64", "scope": "0x1"}],
    },
}
WINDOWS = {"interfaces": [{"connection_name": "Ethernet", "interface_name": "adapter"}]}


def test_facts_of_other_systems_are_read_as_far_as_they_are_alike() -> None:
    hosts = fleet(
        director1={"ansible_facts": BSD},
        backend2=host(rip="203.0.113.12", ansible_facts=WINDOWS),
        router={"ansible_facts": {"interfaces": ["em0"], "em0": {"ipv4": [{"address": "?", "netmask": "0xffffff00"}]}}},
    )
    assert "server 203.0.113.12: in no network" in only(lint([{**DR, **SERVERS}], **hosts), "problems")


def test_loopback_networks_are_no_place_to_meet() -> None:
    hosts = fleet(director1={"ansible_facts": BSD}, director2={"ansible_facts": {**BSD, "interfaces": ["lo0", "em1"]}})
    hosts["hostvars"]["director2"]["ansible_facts"]["em1"] = {
        "ipv4": [{"address": "203.0.113.1", "netmask": "255.255.255.0"}]
    }
    assert lint([{**NAT, **SERVERS}], **hosts) == CLEAN


class Implicit(dict[str, Any]):
    """The variables of hosts as Ansible gives them: those of localhost are there, and its name is not."""

    def __missing__(self, name: str) -> dict[str, Any]:
        if name != "localhost":
            raise KeyError(name)
        return {}


def test_localhost_is_a_host_though_nobody_named_it() -> None:
    hosts = fleet(director1=None)
    hosts["hostvars"] = Implicit(hosts["hostvars"])
    assert "localhost" in only(lint([{**DR, **SERVERS}], **hosts, directors=["localhost"]), "not_checked")


@pytest.mark.parametrize("address", ["198.51.100.1", "203.0.113.1"])
def test_facts_tell_addresses_also_where_networks_are_stated(address: str) -> None:
    hosts = fleet(director1=host(LAN, ansible_facts=FACTS))
    service = {**DR, "forward": "tun", "servers": [{"address": address}]}
    assert f"server {address}: a director of the service (director1)" in only(lint([service], **hosts), "problems")


def test_vips_in_facts_are_nobodys_own() -> None:
    def facts(*addresses: str) -> dict[str, Any]:
        device = {"ipv4_secondaries": [{"address": one, "prefix": "24"} for one in addresses]}
        return {"ansible_facts": {"interfaces": ["eth0"], "eth0": device}}

    # what changed hands is still there: it goes in the run that the check is for
    hosts = fleet(
        director1=facts("198.51.100.1", DR["address"]),
        director2=facts("198.51.100.2", DR["address"], "198.51.100.101"),
    )
    hosts["groups"].update(one=["director1"], two=["director2"])
    mail = {**DR, **SERVERS, "name": "mail", "address": "198.51.100.101", "directors": "two"}
    assert lint([{**DR, **SERVERS, "directors": "one"}, mail], **hosts) == CLEAN


def test_what_is_stated_wins_over_facts() -> None:
    hosts = fleet(director1=host(FAR, ansible_facts=FACTS))
    assert "198.51.100.11" in only(lint([{**DR, **SERVERS}], **hosts), "problems")


# the answers of NAT


@pytest.mark.parametrize(
    ("path", "check", "kind"),
    [
        ("snat", None, ""),
        ("none", "no_return_path", "problems"),
        ("gateway", "gateway_in_subnet", "warnings"),
    ],
)
def test_nat_in_one_subnet_needs_a_way_back(path: str, check: str | None, kind: str) -> None:
    verdict = lint([{**NAT, **SERVERS, "return_path": path}], **fleet())
    if check is None:
        assert verdict == CLEAN
    else:
        assert f"servers 198.51.100.11, 198.51.100.12: in {LAN} as the VIP is" in only(verdict, kind)
        assert CHECKS[check].remedy in only(verdict, kind)


def test_nat_between_two_subnets_is_fine_with_any_way_back() -> None:
    hosts = fleet(director1=host(LAN, FAR))
    for path in ("none", "gateway"):
        assert lint([{**NAT, **SERVERS, "address": "203.0.113.100", "return_path": path}], **hosts) == CLEAN


def test_a_network_that_only_a_backend_states_is_enough() -> None:
    verdict = lint([{**NAT, **SERVERS, "return_path": "none"}], **fleet(director1={}))
    assert "in 198.51.100.0/24" in only(verdict, "problems")


def test_a_way_back_that_cannot_be_judged_is_not_checked() -> None:
    hosts = fleet(director1={}, backend1=host(rip="198.51.100.11"), backend2=None)
    assert "no_return_path" in only(lint([{**NAT, **SERVERS, "return_path": "none"}], **hosts), "not_checked")


@pytest.mark.parametrize("path", ["route", "policy"])
def test_a_route_back_needs_a_gateway_of_its_family(path: str) -> None:
    service = {**NAT, **SERVERS, "return_path": path}
    text = f"service {WEB}: servers 198.51.100.11, 198.51.100.12: return_path {path} without a return_via of IPv4"
    for via in ({}, {"return_via": ["2001:db8::1"]}):
        assert only(lint([{**service, **via}], **fleet()), "problems") == refusal("no_return_via", text)
    assert lint([{**service, "return_via": ["2001:db8::1", "198.51.100.1"]}], **fleet()) == CLEAN
    inside = {**service, "address": "2001:db8::100", "servers": [{"address": "2001:db8::11"}]}
    hosts = fleet(backend1=host(ipvs_address6="2001:db8::11"), backend2=None)
    told = only(lint([{key: one for key, one in inside.items() if key != "servers_from"}], **hosts), "problems")
    assert f"return_path {path} without a return_via of IPv6" in told


def test_a_host_may_tell_the_gateway_of_its_route_back() -> None:
    service = {**NAT, **SERVERS, "return_path": "policy"}
    nothing = host("198.51.100.11/24", rip="198.51.100.11", ipvs_backend_return_via=None)
    assert "without a return_via" in only(lint([service], **fleet(backend1=nothing)), "problems")
    told = {"ipvs_backend_return_via": ["198.51.100.1"]}
    hosts = fleet(backend1=host("198.51.100.11/24", rip="198.51.100.11", **told))
    assert "server 198.51.100.12: return_path policy without" in only(lint([service], **hosts), "problems")
    hosts["hostvars"]["backend2"].update(told)
    assert lint([service], **hosts) == CLEAN
    hosts["hostvars"]["backend2"].update(ipvs_backend_return_via=["2001:db8::1"])
    assert "server 198.51.100.12: return_path policy without" in only(lint([service], **hosts), "problems")
    hosts["hostvars"].update(backend2={**hosts["hostvars"]["backend1"], "rip": "198.51.100.12"}, again={})
    hosts["hostvars"]["again"]["ansible_host"] = "198.51.100.12"
    assert lint([service], **hosts) == CLEAN, "the same host under a name that gets no role"


# addresses that are there already


def test_a_vip_is_no_address_of_a_backend() -> None:
    service = {**NAT, "address": "198.51.100.11", "servers": [{"address": "198.51.100.12"}]}
    text = "service web (-t 198.51.100.11:443): the VIP 198.51.100.11 is an address of host backend1 as well"
    assert only(lint([service], **fleet()), "problems") == refusal("vip_is_real", text)


def test_a_vip_may_be_the_directors_own_address() -> None:
    assert lint([{**NAT, **SERVERS, "address": "198.51.100.1"}], **fleet()) == CLEAN
    assert lint([{**NAT, **SERVERS, "address": "198.51.100.2"}], **two(ipvs_director_vip="standby")) == CLEAN
    local = {**NAT, "port": 80, "servers": [{"address": "198.51.100.1", "port": 8080}]}
    assert lint([{**NAT, **SERVERS, "address": "198.51.100.1"}, local], **fleet()) == CLEAN


def test_a_vip_is_no_server_of_another_service() -> None:
    other = {**NAT, "name": "mail", "port": 25, "address": "198.51.100.101", "servers": [{"address": DR["address"]}]}
    verdict = lint([{**NAT, **SERVERS}, other], **fleet())
    assert f"service {WEB}: the VIP 198.51.100.100 is an address of a server of mail" in verdict["problems"][0]
    tiers = fleet(director2=host(FAR))
    tiers["groups"].update(front=["director1"], back=["director2"])
    services = [{**NAT, **SERVERS, "directors": "back"}, {**other, "directors": "front"}]
    assert not lint(services, **tiers)["problems"]


def test_an_address_shared_by_all_hosts_of_a_lab_is_nobodys() -> None:
    hosts = fleet()
    for variables in hosts["hostvars"].values():
        variables["ansible_host"] = "127.0.0.1"
    verdict = lint([{**DR, **SERVERS}, {**NAT, **SERVERS, "address": "127.0.0.1"}], **hosts)
    assert "a loopback address serves this host alone" in only(verdict, "warnings")


def test_the_address_of_a_network_is_nobodys() -> None:
    hosts = fleet(director1=host("198.51.100.0/24", "198.51.100.1/24"))
    verdict = lint([{**DR, "servers": [{"address": "198.51.100.0"}]}], **hosts)
    assert "of no host in the inventory" in only(verdict, "warnings")


# the director as default gateway


def behind(gateway: str, **variables: Any) -> dict[str, Any]:
    """A backend whose facts name its default gateway."""
    route = {"default_ipv6" if ":" in gateway else "default_ipv4": {"gateway": gateway}}
    return host("198.51.100.11/24", rip="198.51.100.11", ansible_facts=route, **variables)


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_director_drops_the_answers_of_those_whose_gateway_it_is(forward: str) -> None:
    service = {**DR, **SERVERS, "forward": forward}
    text = (
        f"service {WEB}: server 198.51.100.11: forward {forward}, and the default gateway there is director1, which "
        "drops every answer, because its source is a VIP of its own"
    )
    hosts = fleet(backend1=behind("198.51.100.1"))
    assert only(lint([service], **hosts), "problems") == refusal("director_gateway", text)
    assert only(lint([service], **hosts, allow=["director_gateway"]), "warnings") == warning("director_gateway", text)


def test_another_gateway_and_other_methods_are_fine() -> None:
    assert lint([{**DR, **SERVERS}], **fleet(backend1=behind("198.51.100.254"))) == CLEAN
    assert lint([{**NAT, **SERVERS}], **fleet(backend1=behind("198.51.100.1"))) == CLEAN


def test_a_director_of_ipv6_forwards_what_comes_from_its_own_address() -> None:
    hosts = fleet(
        director1=host("2001:db8::1/64"),
        backend1=host(
            "2001:db8::11/64", rip="2001:db8::11", ansible_facts={"default_ipv6": {"gateway": "2001:db8::1"}}
        ),
        backend2=None,
    )
    assert lint([{**DR, **SERVERS, "address": "2001:db8::100"}], **hosts) == CLEAN


def test_the_gateway_of_another_pair_forwards_the_answers() -> None:
    hosts = fleet(director2=host("198.51.100.2/24"), backend1=behind("198.51.100.2"))
    hosts["groups"]["pair1"] = ["director1"]
    assert lint([{**DR, **SERVERS, "directors": "pair1"}], **hosts) == CLEAN
    assert "director2" in only(lint([{**DR, **SERVERS}], **{**hosts, "directors": ["director2"]}), "problems")


@pytest.mark.parametrize(
    ("way", "facts"),
    [
        ({"return_path": "gateway"}, {}),
        ({"return_path": "policy", "return_via": ["198.51.100.9"]}, behind("198.51.100.9")),
        ({"return_path": "policy"}, behind("198.51.100.9", ipvs_backend_return_via=["198.51.100.9"])),
    ],
)
def test_what_another_service_says_of_the_gateway_counts(way: dict[str, Any], facts: dict[str, Any]) -> None:
    hosts = fleet(
        director1=host(FAR, ansible_host="203.0.113.9"),
        backend1={**host("198.51.100.11/24", rip="198.51.100.11"), **facts},
        backend2=None,
    )
    other = {**NAT, **SERVERS, "name": "other", "address": "203.0.113.100", **way}
    told = lint([{**DR, **SERVERS, "forward": "tun"}, other], **hosts)["problems"]
    assert [text.split(": ")[2].split(",")[0] for text in told] == ["forward tun"], told
    assert lint([other], **hosts)["problems"] == []


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_director_is_no_backend_of_its_own_service(forward: str) -> None:
    service = {**DR, "forward": forward, "servers": [{"address": "198.51.100.1"}, {"address": "198.51.100.11"}]}
    text = (
        f"service {WEB}: server 198.51.100.1: a director of the service (director1), which balances once more what "
        f"another director sends it with forward {forward}"
    )
    assert only(lint([service], **fleet()), "problems") == refusal("localnode", text)
    assert lint([{**service, "forward": "nat"}], **fleet()) == CLEAN


def test_a_director_may_be_a_backend_of_another_pair() -> None:
    hosts = fleet(director2=host("198.51.100.2/24"))
    hosts["groups"].update(one=["director1"], two=["director2"])
    hosts["groups"]["ipvs_backends"].append("director2")
    assert lint([{**DR, "directors": "one", "servers": [{"address": "198.51.100.2"}]}], **hosts) == CLEAN


# several directors


def two(**second: Any) -> dict[str, Any]:
    return fleet(director2=host("198.51.100.2/24", **second))


def test_one_vip_has_one_holder_on_a_segment() -> None:
    text = f"service {WEB}: director1, director2 all hold the VIP 198.51.100.100 in {LAN}"
    assert only(lint([{**DR, **SERVERS}], **two()), "problems") == refusal("two_holders", text)


@pytest.mark.parametrize("mode", ["standby", "external"])
def test_the_others_stand_by(mode: str) -> None:
    assert lint([{**DR, **SERVERS}], **two(ipvs_director_vip=mode)) == CLEAN


def halves(director1: object, director2: object) -> list[str]:
    """The problems of two directors that have these words for the same services, web and dns."""
    hosts = two(ipvs_director_vip=director2)
    hosts["hostvars"]["director1"]["ipvs_director_vip"] = director1
    services = [{**DR, **SERVERS}, {**DR, **SERVERS, "name": "dns", "address": "198.51.100.101"}]
    verdict = lint(services, **hosts)
    assert verdict == {**CLEAN, "problems": verdict["problems"]}
    return verdict["problems"]


@pytest.mark.parametrize(
    ("director1", "director2", "contested"),
    [
        ({"web": "hold", "dns": "standby"}, {"web": "standby", "dns": "hold"}, ()),
        ({"default": "standby", "web": "hold"}, {"web": "external"}, ()),
        ({"web": "standby"}, {}, ("dns",)),
        ({"web": "standby"}, "hold", ("dns",)),
        ({"web": "standby"}, "standby", ()),
        ({}, {"default": "hold"}, ("web", "dns")),
    ],
)
def test_each_vip_has_one_holder(director1: object, director2: object, contested: tuple[str, ...]) -> None:
    texts = {
        "web": f"service {WEB}: director1, director2 all hold the VIP 198.51.100.100 in {LAN}",
        "dns": f"service dns (-t 198.51.100.101:443): director1, director2 all hold the VIP 198.51.100.101 in {LAN}",
    }
    assert halves(director1, director2) == [refusal("two_holders", texts[name]) for name in contested]


def test_the_words_of_all_directors_are_checked_before_any_is_touched() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        halves({"wbe": "hold", "dns": "standby"}, "stand by")
    assert str(caught.value) == (
        "hostvars.director1.ipvs_director_vip.wbe: unknown key; did you mean web?; "
        "hostvars.director2.ipvs_director_vip: must be one of hold, standby, external, or a dict of service names to "
        "these (got 'stand by')"
    )
    hosts = two(ipvs_director_vip={"web": "standby"})
    with pytest.raises(AnsibleFilterError, match=r"^hostvars\.director2\.ipvs_director_vip\.plain: must be standby as"):
        lint([{**DR, **SERVERS}, {**DR, **SERVERS, "name": "plain", "port": 80}], **hosts)


def test_a_word_may_be_for_a_service_that_others_carry() -> None:
    hosts = two(ipvs_director_vip={"web": "standby"})
    hosts["groups"].update(one=["director1"], two=["director2"])
    services = [{**DR, **SERVERS, "directors": "one"}, {**DR, **SERVERS, "port": 80, "name": "dns", "directors": "two"}]
    assert "all hold the VIP" in only(lint(services, **hosts), "problems")
    services[1]["address"] = "198.51.100.101"
    assert lint(services, **hosts) == CLEAN


def test_holders_on_different_segments_do_not_meet() -> None:
    hosts = fleet(director2=host(FAR))
    assert lint([{**NAT, **SERVERS}], **hosts) == CLEAN
    verdict = lint([{**NAT, **SERVERS}], **fleet(director2=host(FAR), director3=host(LAN)))
    assert "director1, director3 all hold" in only(verdict, "problems")


def test_holders_do_not_meet_by_what_every_host_has() -> None:
    def facts(address: str) -> dict[str, Any]:
        every = [{"address": "fe80::1", "prefix": "64", "scope": "link"}, {"address": "2001:db8::1", "prefix": "128"}]
        device = {"ipv4": {"address": address, "prefix": "24"}, "ipv6": every}
        return {"ansible_facts": {"interfaces": ["eth0"], "eth0": device}}

    hosts = fleet(director1=facts("198.51.100.1"), director2=facts("203.0.113.1"))
    assert lint([{**NAT, **SERVERS}], **hosts) == CLEAN


def test_holders_of_whom_nothing_is_known_are_taken_to_meet() -> None:
    text = (
        f"service {WEB}: director1, director2 all hold the VIP 198.51.100.100, and nothing tells that they are on "
        "different segments"
    )
    assert only(lint([{**NAT, **SERVERS}], **fleet(director2={})), "problems") == refusal("two_holders", text)


def test_holders_meet_across_services_too() -> None:
    hosts = two()
    hosts["groups"].update(one=["director1"], two=["director2"])
    services = [{**DR, **SERVERS, "directors": "one"}, {**DR, **SERVERS, "port": 80, "directors": "two"}]
    text = f"services {WEB}, web (-t 198.51.100.100:80): director1, director2 all hold the VIP 198.51.100.100 in {LAN}"
    assert only(lint(services, **hosts), "problems") == refusal("two_holders", text)
    assert lint([{**one, "address": f"198.51.100.{100 + i}"} for i, one in enumerate(services)], **hosts) == CLEAN


# services in each other's way


def test_an_exact_port_is_looked_up_before_port_0() -> None:
    every = {**DR, **SERVERS, "name": "all", "port": 0, "persistence_timeout": 60}
    text = (
        f"service all (-t 198.51.100.100:0): does not see port 443, which {WEB} takes, for an exact port is looked up "
        "before port 0"
    )
    assert only(lint([{**DR, **SERVERS}, every], **fleet()), "warnings") == warning("port_zero", text)


@pytest.mark.parametrize("other", [{"address": "198.51.100.101"}, {"protocol": "udp"}])
def test_port_0_is_of_one_address_and_protocol(other: dict[str, str]) -> None:
    every = {**DR, **SERVERS, "port": 0, "persistence_timeout": 60, **other}
    assert lint([{**DR, **SERVERS}, every], **fleet()) == CLEAN


def test_port_21_takes_the_data_ports_of_ftp() -> None:
    every = {**DR, **SERVERS, "port": 0, "persistence_timeout": 60}
    ftp = {**DR, **SERVERS, "port": 21}
    assert "ports 21, 20, those from 1024 on, which" in only(lint([ftp, every], **fleet()), "warnings")


def test_services_meet_where_no_director_is_known() -> None:
    every = {**DR, **SERVERS, "port": 0, "persistence_timeout": 60}
    assert "does not see port 443" in only(lint([{**DR, **SERVERS}, every], **fleet(director1=None)), "warnings")


def test_services_of_different_directors_do_not_meet() -> None:
    hosts = two(ipvs_director_vip="standby")
    hosts["groups"].update(one=["director1"], two=["director2"])
    every = {**DR, **SERVERS, "port": 0, "persistence_timeout": 60, "directors": "two"}
    assert lint([{**DR, **SERVERS, "directors": "one"}, every], **hosts) == CLEAN


MARKED = {"name": "all", "fwmark": 7, "family": "ipv4", "forward": "dr", **SERVERS}


@pytest.mark.parametrize(
    ("mark", "port", "check"),
    [
        ({}, 443, "shadowed"),
        ({"ports": [80, "443-444"]}, 443, "shadowed"),
        ({"protocols": ["udp", "tcp"]}, 443, "shadowed"),
        ({}, 0, "shadowed"),
        ({"ports": ["1-1000", "1001-65535"]}, 0, "shadowed"),
        ({"ports": [80]}, 0, "partly_shadowed"),
        ({"ports": ["1-1000"]}, 0, "partly_shadowed"),
        ({"interfaces": ["eth0"]}, 443, "partly_shadowed"),
        ({"ports": [80]}, 443, None),
        ({"ports": ["1-442", "444-65535"]}, 443, None),
        ({"protocols": ["udp"]}, 443, None),
        ({"addresses": ["198.51.100.101"]}, 443, None),
    ],
)
def test_marks_are_looked_up_first(mark: dict[str, Any], port: int, check: str | None) -> None:
    marked = {**MARKED, "mark": {"addresses": ["198.51.100.101", "198.51.100.100"], **mark}}
    if "addresses" in mark:
        marked["mark"] = mark
    service = {**DR, **SERVERS, "port": port, "persistence_timeout": 60}
    verdict = lint([service, marked], **fleet())
    if check is None:
        assert verdict == CLEAN
    else:
        text = f"service web (-t 198.51.100.100:{port}): {CHECKS[check].rule.format(other='all (-f 7)')}"
        expected = refusal(check, text) if CHECKS[check].problem else warning(check, text)
        assert only(verdict, "problems" if CHECKS[check].problem else "warnings") == expected


def test_marks_of_other_directors_take_nothing() -> None:
    hosts = two(ipvs_director_vip="standby")
    hosts["groups"].update(one=["director1"], two=["director2"])
    marked = {**MARKED, "mark": {"addresses": ["198.51.100.100"]}, "directors": "two"}
    assert lint([{**DR, **SERVERS, "directors": "one"}, marked], **hosts) == CLEAN


OTHER_MARK = {**MARKED, "name": "other", "fwmark": 8}


def overlapping(one: dict[str, Any], other: dict[str, Any], **hosts: Any) -> dict[str, list[str]]:
    """What is said of services with these marks, besides their addresses."""
    address = {"addresses": ["198.51.100.100"]}
    services = [{**MARKED, **one}, {**OTHER_MARK, **other}]
    return lint([{**one, "mark": {**address, **one["mark"]}} for one in services], **(hosts or fleet()))


@pytest.mark.parametrize(
    ("one", "other", "traffic"),
    [
        ({"ports": [80, 443]}, {"ports": ["400-500"]}, "tcp 198.51.100.100:443"),
        ({"ports": ["400-500"]}, {"ports": [80, 443]}, "tcp 198.51.100.100:443"),
        ({}, {"protocols": ["udp", "tcp"]}, "tcp 198.51.100.100:*"),
        ({}, {"interfaces": ["eth1"], "ports": ["1-9"]}, "tcp 198.51.100.100:1-9 on eth1"),
        ({"ports": [80]}, {"ports": [81]}, None),
        ({}, {"protocols": ["udp"]}, None),
        ({"interfaces": ["eth0"]}, {"interfaces": ["eth1"]}, None),
        ({}, {"addresses": ["198.51.100.101"]}, None),
    ],
)
def test_a_packet_has_one_mark(one: dict[str, Any], other: dict[str, Any], traffic: str | None) -> None:
    verdict = overlapping({"mark": one}, {"mark": other})
    if traffic is None:
        assert verdict == CLEAN
    else:
        text = f"service other (-f 8): marks {traffic} as all (-f 7) does, and a packet has one mark"
        assert only(verdict, "problems") == warning("marks_overlap", text), "nobody can accept it"


def test_marks_of_different_directors_are_of_different_packets() -> None:
    hosts = two(ipvs_director_vip="standby")
    hosts["groups"].update(one=["director1"], two=["director2"], both=["director1", "director2"])
    assert overlapping({"mark": {}, "directors": "one"}, {"mark": {}, "directors": "two"}, **hosts) == CLEAN
    told = only(overlapping({"mark": {}, "directors": "one"}, {"mark": {}, "directors": "both"}, **hosts), "problems")
    assert "a packet has one mark" in told
    with pytest.raises(AnsibleFilterError, match=r"ipvs_lint_allow\[0\]: must be one of "):
        lint([{**DR, **SERVERS}], **fleet(), allow=["marks_overlap"])


def test_the_addresses_of_a_mark_are_vips() -> None:
    marked = {**MARKED, "mark": {"addresses": ["198.51.100.11"], "ports": [80]}}
    assert "the VIP 198.51.100.11 is an address of host backend1" in only(lint([marked], **fleet()), "problems")
    marked["mark"] = {"addresses": ["198.51.100.100"], "ports": [80]}
    assert "all hold the VIP 198.51.100.100 in" in only(lint([marked], **two()), "problems")


def test_a_mark_that_others_set_is_not_checked() -> None:
    told = (
        "not checked: shadowed, two_holders, vip_is_real, for the traffic of service all (-f 7) is not known: "
        "state it in mark"
    )
    service = {**MARKED, "forward": "nat", "return_path": "snat"}
    assert only(lint([service], **fleet()), "not_checked") == told


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_servers_of_a_mark_that_others_set_get_no_vip(forward: str) -> None:
    verdict = lint([{**MARKED, "forward": forward}], **fleet())
    rule = CHECKS["no_vips"].rule.format(servers="servers 198.51.100.11, 198.51.100.12", forward=forward)
    assert verdict["warnings"] == [warning("no_vips", f"service all (-f 7): {rule}")]


def test_servers_by_nat_keep_a_service_tracked() -> None:
    servers = [{"address": "198.51.100.11"}, {"address": "198.51.100.12", "forward": "nat"}]
    told = only(lint([{**DR, "servers": servers}], **fleet()), "warnings")
    assert told == warning("tracked", f"service {WEB}: {CHECKS['tracked'].rule.format(forward='dr', other=WEB)}")
    sorry = {"address": "127.0.0.1", "forward": "nat"}
    assert lint([{**DR, "servers": [servers[0], sorry]}], **fleet())["warnings"] == [told]
    servers[1]["return_path"] = "policy"
    assert lint([{**DR, "servers": servers, "return_via": ["198.51.100.1"]}], **fleet()) == CLEAN


def test_a_bad_mark_is_told_with_the_rest() -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"services\[0\]\.mark\.adresses: unknown key; did you mean addresses\?"
    ):
        lint([{**MARKED, "mark": {"adresses": ["198.51.100.100"]}}], **fleet())


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_direct_traffic_that_nobody_can_exempt_is_told(forward: str) -> None:
    marked = {**MARKED, "forward": forward}
    told = warning("tracked", f"service all (-f 7): {CHECKS['tracked'].rule.format(forward=forward, other=WEB)}")

    def tracked(*services: dict[str, Any], **hosts: Any) -> bool:
        """Whether it is told, beside that the servers get no VIP."""
        warnings = lint(list(services), **(hosts or fleet()))["warnings"]
        assert all("nobody knows the VIPs" in one for one in warnings if one != told)
        return told in warnings

    assert tracked({**NAT, **SERVERS}, marked)
    hosts = fleet(director2=host(FAR))
    hosts["groups"].update(one=["director1"], two=["director2"])
    assert not tracked({**NAT, **SERVERS, "directors": "two"}, {**marked, "directors": "one"}, **hosts)
    known = {**marked, "mark": {"addresses": ["198.51.100.101"], "ports": [80]}}
    for other in (known, {**marked, "forward": "nat"}):
        assert not tracked({**NAT, **SERVERS}, other)
    assert not tracked({**NAT, **SERVERS, "address": "203.0.113.100", "return_path": "gateway"}, marked)


# who prepares the servers


@pytest.mark.parametrize("forward", ["nat", "dr", "tun"])
def test_a_server_of_no_host_is_told(forward: str) -> None:
    service = {**DR, "forward": forward, "servers": [{"address": "198.51.100.77"}, {"address": "198.51.100.11"}]}
    text = f"service {WEB}: server 198.51.100.77: of no host in the inventory, so nothing is prepared there"
    assert only(lint([service], **fleet()), "warnings") == warning("foreign_server", text)


@pytest.mark.parametrize("check", ["foreign_server", "no_backend"])
def test_a_server_that_is_prepared_elsewhere_is_not_told(check: str) -> None:
    hosts = fleet(other=host(ipvs_address="198.51.100.13"))
    address = {"foreign_server": "198.51.100.99", "no_backend": "198.51.100.13"}[check]
    server = {"address": address}
    told = only(lint([{**DR, "servers": [server]}], **hosts), "warnings")
    assert told.endswith(CHECKS[check].remedy)
    said = {"prepared": "elsewhere"}
    assert lint([{**DR, "servers": [{**server, **said}]}], **hosts) == CLEAN
    assert lint([{**DR, "pool": "pods"}], **hosts, pools={"pods": {"servers": [{**server, **said}]}}) == CLEAN
    assert lint([{**DR, **said, "servers": [server]}], **hosts) == CLEAN
    assert lint([{**DR, **said, "servers": [{**server, "prepared": "role"}]}], **hosts)["warnings"] == [told]


def test_a_backend_that_is_to_be_none_any_more_is_no_server() -> None:
    hosts = fleet(backend1=host("198.51.100.11/24", ipvs_backend_state="absent"))
    text = (
        f"service {WEB}: server 198.51.100.11: of hosts whose ipvs_backend_state is absent, so what the service needs "
        "there is taken away"
    )
    both = {**DR, "servers": [{"address": "198.51.100.11"}, {"address": "198.51.100.12"}]}
    assert only(lint([both], **hosts), "warnings") == warning("leaving_backend", text)
    assert lint([{**NAT, "servers": [{"address": "198.51.100.11"}]}], **hosts) == CLEAN


def test_plain_servers_of_source_nat_are_fine_where_there_are_no_backends() -> None:
    hosts = fleet(backend1=None, backend2=None)
    service = {**NAT, "servers": [{"address": "198.51.100.77"}]}
    assert lint([service], **hosts) == CLEAN
    routed = lint([{**service, "return_path": "gateway", "address": "203.0.113.100"}], **hosts)
    assert "of no host in the inventory" in only(routed, "warnings")


@pytest.mark.parametrize("variable", ["ansible_host", "ipvs_address", "ipvs_address6", "rip"])
def test_a_host_is_known_by_its_address_variables(variable: str) -> None:
    pools = {"web": {"servers_from": {"group": "ipvs_backends", "address": "rip"}}}
    hosts = fleet(backend2=None, other={variable: "198.51.100.77"})
    service = {**DR, "servers": [{"address": "198.51.100.77"}]}
    text = f"service {WEB}: server 198.51.100.77: of no host among the backends, so nothing is prepared there"
    assert only(lint([service], **hosts, pools=pools), "warnings") == warning("no_backend", text)
    assert lint([service], **hosts, pools=pools, backends=["other"]) == CLEAN
    for path in ("snat", "none"):
        translated = {**service, "address": "203.0.113.100", "forward": "nat", "return_path": path}
        assert lint([translated], **hosts, pools=pools) == CLEAN


def test_a_host_is_known_by_its_list_of_addresses_and_by_its_name() -> None:
    hosts = fleet(backend1=host(ipvs_backend_addresses=["198.51.100.77"]), backend2=None)
    hosts["hostvars"]["198.51.100.78"] = {}
    hosts["groups"]["ipvs_backends"].append("198.51.100.78")
    servers = [{"address": f"198.51.100.{last}"} for last in (77, 78)]
    assert lint([{**DR, "servers": servers}], **hosts) == CLEAN


# what is about one service


UDP = {**NAT, "protocol": "udp", "one_packet": True, "servers": [{"address": "198.51.100.11"}]}


@pytest.mark.parametrize(
    "way", [{}, {"return_path": "gateway"}, {"return_path": "policy", "return_via": ["203.0.113.1"]}]
)
def test_one_packet_by_nat_is_never_answered(way: dict[str, Any]) -> None:
    text = (
        f"service {WEB.replace('-t', '-u')}: server 198.51.100.11: forward nat with one_packet, which keeps no "
        "connection, so nothing gives the answers the VIP as their source again"
    )
    hosts = fleet(director1=host(FAR), backend1=host(FAR, rip="198.51.100.11"))
    assert lint([{**UDP, **way}], **hosts)["problems"] == [refusal("one_packet", text)]
    assert warning("one_packet", text) in lint([{**UDP, **way}], **hosts, allow=["one_packet"])["warnings"]


@pytest.mark.parametrize(
    "change",
    [
        {"forward": "dr"},
        {"forward": "tun"},
        {"one_packet": False},
        {"return_path": "none"},
        {"persistence_engine": "sip", "persistence_timeout": 60},
    ],
)
def test_one_packet_where_answers_need_no_connection_is_fine(change: dict[str, Any]) -> None:
    hosts = fleet(director1=host("198.51.100.1/24"), backend1=host(LAN, FAR, rip="198.51.100.11"))
    assert lint([{**UDP, **change}], **hosts, allow=["no_return_path"])["problems"] == []


def test_what_the_model_warns_of_is_told_by_service() -> None:
    idle = {"servers": [{"address": "198.51.100.11", "weight": 0}]}
    weighed = fleet(backend1=host("198.51.100.11/24", rip="198.51.100.11", weight=65536))
    pooled = {**DR, "port": 3, "name": "pooled", "pool": "some"}
    services = [
        {**DR, **idle},
        {**DR, **idle, "port": 1, "name": "other"},
        {**DR, "port": 2, "name": "none"},
        pooled,
        {**DR, "port": 4, "name": "heavy", "servers_from": {**SERVERS["servers_from"], "weight": "weight"}},
    ]
    weighed["hostvars"]["backend2"]["weight"] = 1
    pools = {"some": {"servers": [{"address": "127.0.0.1"}]}}
    verdict = lint(services, **weighed, pools=pools)
    assert verdict["problems"] == []
    assert [text.split(": ", 2)[:2] for text in verdict["warnings"]] == [
        [f"services {WEB}, other (-t 198.51.100.100:1)", "servers"],
        ["service none (-t 198.51.100.100:2)", "servers"],
        ["service pooled (-t 198.51.100.100:3)", "pools.some.servers[0].address"],
        ["service heavy (-t 198.51.100.100:4)", "servers_from[backend1].weight"],
    ]
    assert verdict["warnings"][0].endswith(": servers: every weight is 0: new connections will be refused")
    assert verdict["warnings"][3].endswith("(got 65536)")


# the sentences


def test_one_sentence_is_for_all_services_with_the_same_finding() -> None:
    service = {"ports": [80, 81, 82, 443], "address": "198.51.100.100", "forward": "dr", **SERVERS}
    told = only(lint([service], **fleet(director1=host(FAR))), "problems")
    assert told.startswith(
        "services -t 198.51.100.100:80, -t 198.51.100.100:81, -t 198.51.100.100:82 and 1 more: "
        "servers 198.51.100.11, 198.51.100.12: in no network of director1"
    )


def test_everything_is_told_at_once_up_to_a_limit() -> None:
    services = [
        {**DR, "port": port, "servers": [{"address": f"203.0.113.{port}"}], "name": f"s{port}"} for port in range(1, 31)
    ]
    verdict = lint(services, **fleet())
    assert len(verdict["problems"]) == len(verdict["warnings"]) == 21
    assert verdict["problems"][-1] == "... and 10 more"


def test_what_is_allowed_is_a_warning() -> None:
    service = {**DR, "servers": [{"address": "198.51.100.1"}]}
    told = only(lint([service], **fleet(), allow=["localnode"]), "warnings")
    assert told.startswith(f"service {WEB}: server 198.51.100.1: a director of the service")
    assert "ipvs_lint_allow" not in told


def test_bad_options_and_networks_are_told_together() -> None:
    hosts = fleet(director1=host("198.51.100.1", "x/24", LAN), backend1=host(rip="198.51.100.11", ipvs_networks="y"))
    with pytest.raises(AnsibleFilterError) as caught:
        lint([{**DR, **SERVERS}], **hosts, allow=["localnode", "port_zero"])
    problems = caught.value.__cause__.details["problems"]  # type: ignore[union-attr]
    assert problems == [
        f"ipvs_lint_allow[1]: must be one of {', '.join(REFUSING)} (got 'port_zero')",
        "hostvars.director1.ipvs_networks[0]: must be a network, as address/prefix length (got '198.51.100.1')",
        "hostvars.director1.ipvs_networks[1]: must be a network, as address/prefix length (got 'x/24')",
        "hostvars.backend1.ipvs_networks: must be a list (got 'y')",
    ]


def test_what_the_model_refuses_is_said_by_the_model_alone() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        lint([{**DR, "servers": [{"address": "2001:db8::11", "port": 8443}]}], **fleet())
    assert str(caught.value) == (
        "services[0].servers[0].port: must be the service's port 443 with forward dr, which does not rewrite it "
        "(got 8443); services[0].servers[0].address: must be of its service's family; only forward tun mixes "
        "(got '[2001:db8::11]:8443')"
    )


def test_the_guide_lists_every_check_in_its_own_words() -> None:
    guide = Path(__file__).resolve().parents[4] / "docs" / "docsite" / "rst" / "guide_lint.rst"
    found = guide.read_text().partition("What it finds\n")[2]
    refused, warned = found.split("Warned of\n")
    for part, problem in ((refused, True), (warned, False)):
        told = re.findall(r"^``(\w+)``\n   Says ``(.+)``\.\n\n   Way out: (.+)\.\n", part, re.MULTILINE)
        assert told == [(check.name, check.rule, check.remedy) for check in CHECKS.values() if check.problem == problem]


last = st.integers(1, 12)
addresses = last.map(lambda number: f"198.51.100.{number}") | last.map(lambda number: f"203.0.113.{number}")


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """Hosts and services that share few addresses, so that they get into each other's way."""
    names = ["director1", "director2", "backend1", "backend2", "other"]
    modes = st.sampled_from(["hold", "standby", "external"])
    networks = st.lists(addresses.map(lambda address: f"{address}/24"), min_size=1, max_size=2)
    hosts = {
        name: host(*(draw(networks) if draw(st.booleans()) else ()), rip=draw(addresses), ipvs_director_vip=draw(modes))
        for name in names
    }
    services: dict[tuple[str, int], dict[str, Any]] = {}
    for key in draw(st.lists(st.tuples(addresses, st.sampled_from([0, 21, 80])), max_size=4, unique=True)):
        address, port = key
        forward = draw(st.sampled_from(["nat", "dr", "tun"]))
        servers = [{"address": one} for one in draw(st.lists(addresses, max_size=3, unique=True)) if one != address]
        services[key] = {"address": address, "port": port, "forward": forward, "servers": servers, "name": f"s{port}"}
        if not port:
            services[key]["persistence_timeout"] = 60
        if forward == "nat":
            services[key]["return_path"] = draw(st.sampled_from(["snat", "gateway", "none"]))
    return {"services": list(services.values()), **fleet(**hosts)}


@given(inventories())
def test_every_sentence_names_services_and_way_out(inventory: dict[str, Any]) -> None:
    verdict = lint(**inventory)
    remedies = tuple(check.remedy for check in CHECKS.values())
    for text in verdict["problems"] + verdict["warnings"]:
        assert text.startswith(("service s", "services s"))
        assert any(remedy in text for remedy in remedies) or ": servers: no servers: " in text
    assert all(text.startswith("not checked: ") and "ipvs_networks" in text for text in verdict["not_checked"])


@given(inventories(), st.randoms())
def test_the_order_of_the_inventory_makes_no_difference(inventory: dict[str, Any], random: Any) -> None:
    hosts = list(inventory["hostvars"].items())
    random.shuffle(hosts)
    assert lint(**{**inventory, "hostvars": dict(hosts)}) == lint(**inventory)


@given(inventories())
def test_allowing_moves_problems_and_loses_none(inventory: dict[str, Any]) -> None:
    strict = lint(**inventory)
    lenient = lint(**inventory, allow=REFUSING)
    accepted = [text.rsplit(" (to accept it", 1)[0] for text in strict["problems"]]
    assert lenient == {**strict, "problems": [], "warnings": sorted_as(lenient, accepted + strict["warnings"])}


def sorted_as(verdict: dict[str, list[str]], texts: list[str]) -> list[str]:
    assert sorted(verdict["warnings"]) == sorted(texts)
    return verdict["warnings"]


@given(inventories())
def test_stating_networks_leaves_nothing_unchecked(inventory: dict[str, Any]) -> None:
    for name in ("director1", "director2"):
        inventory["hostvars"][name].setdefault("ipvs_networks", ["198.51.100.1/24"])
    assert lint(**inventory)["not_checked"] == []
