# SPDX-License-Identifier: GPL-3.0-or-later
"""From the inventory's services to plain ones, and to the flows of source NAT."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.resolve_services import resolve_services
from plugins.filter.snat_flows import snat_flows

HOSTVARS: dict[str, dict[str, Any]] = {
    "web1": {"rip": "198.51.100.11", "strength": 3, "door": 8443},
    "web2": {"rip": "198.51.100.12", "strength": "1", "door": 8443},
    "bare": {},
}
GROUPS = {"web": ["web2", "web1"], "mixed": ["web1", "bare"], "pair_a": ["director1"], "pair_b": ["director2"]}
INVENTORY = {"hostvars": HOSTVARS, "groups": GROUPS}
WEB = {"name": "web", "address": "192.0.2.10", "port": 443, "forward": "nat"}
SERVER = {"address": "198.51.100.21"}


def problems(services: object, **more: Any) -> list[str]:
    with pytest.raises(AnsibleFilterError) as caught:
        resolve_services(services, **INVENTORY, **more)
    problems: list[str] = caught.value.__cause__.details["problems"]  # type: ignore[union-attr]
    return problems


def test_a_plain_service_stays_as_it_is() -> None:
    service = {**WEB, "scheduler": "mh", "servers": [{"address": "198.51.100.21", "port": 8443, "weight": 2}]}
    assert resolve_services([service], **INVENTORY) == [service]


def test_servers_come_from_a_group_in_its_order() -> None:
    source = {"group": "web", "address": "rip", "port": "door", "weight": "strength"}
    (service,) = resolve_services([{**WEB, "servers_from": source}], **INVENTORY)
    assert service == {
        **WEB,
        "servers": [
            {"address": "198.51.100.12", "port": 8443, "weight": "1"},
            {"address": "198.51.100.11", "port": 8443, "weight": 3},
        ],
    }


def test_a_host_without_the_variable_is_named_and_never_left_out() -> None:
    source = {"group": "mixed", "address": "rip", "weight": "strength"}
    assert problems([{**WEB, "servers_from": source}]) == [
        "services[0].servers_from.address: host bare of group mixed has no variable of this name (got 'rip')",
        "services[0].servers_from.weight: host bare of group mixed has no variable of this name (got 'strength')",
        "services[0].servers_from[bare].address: is required",
    ]


def test_addresses_and_ports_expand_in_order() -> None:
    service = {"addresses": ["192.0.2.10", "192.0.2.9"], "ports": [443, 80], "forward": "nat", "servers": [SERVER]}
    plain = resolve_services([service], **INVENTORY)
    assert [(one["address"], one["port"]) for one in plain] == [
        ("192.0.2.10", 443),
        ("192.0.2.10", 80),
        ("192.0.2.9", 443),
        ("192.0.2.9", 80),
    ]
    assert all("addresses" not in one and "ports" not in one for one in plain)


def test_servers_of_all_sources_are_joined() -> None:
    pools = {"spare": {"servers": [{"address": "198.51.100.31"}]}}
    service = {**WEB, "servers": [SERVER], "servers_from": {"group": "web", "address": "rip"}, "pool": "spare"}
    (plain,) = resolve_services([service], **INVENTORY, pools=pools)
    assert [server["address"][-2:] for server in plain["servers"]] == ["21", "12", "11", "31"]


def test_a_pool_may_be_a_group() -> None:
    pools = {"web": {"servers_from": {"group": "web", "address": "rip"}}}
    (plain,) = resolve_services([{**WEB, "pool": "web"}], **INVENTORY, pools=pools)
    assert [server["address"] for server in plain["servers"]] == ["198.51.100.12", "198.51.100.11"]


def test_a_director_gets_its_services_alone() -> None:
    services = [
        {**WEB, "servers": [SERVER], "directors": "pair_a"},
        {**WEB, "port": 80, "servers": [SERVER], "directors": "pair_b"},
        {**WEB, "port": 25, "servers": [SERVER]},
    ]
    assert [one["port"] for one in resolve_services(services, **INVENTORY, director="director1")] == [443, 25]
    assert [one["port"] for one in resolve_services(services, **INVENTORY)] == [443, 80, 25]


def test_another_directors_service_is_checked_too() -> None:
    services = [{**WEB, "servers": [SERVER], "directors": "pair_b", "scheduler": "best"}]
    assert "services[0].scheduler: unknown scheduler" in problems(services, director="director1")[0]


def test_what_only_the_inventory_knows_is_taken_out() -> None:
    service = {
        "fwmark": 7,
        "family": "ipv4",
        "forward": "nat",
        "mark": {"ports": [80]},
        "return_path": "gateway",
        "prepared": "role",
        "directors": "pair_a",
        "servers": [{"address": "198.51.100.21", "return_path": "none", "prepared": "elsewhere"}],
    }
    assert resolve_services([service], **INVENTORY) == [
        {"fwmark": 7, "family": "ipv4", "forward": "nat", "servers": [{"address": "198.51.100.21"}]}
    ]


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("web", "services[0]: must be a dict (got 'web')"),
        ({**WEB, "prot": 1}, "services[0].prot: unknown key; did you mean"),
        ({**WEB, "addresses": ["192.0.2.1"]}, "services[0].addresses: excludes address (got ['192.0.2.1'])"),
        ({"fwmark": 1, "family": "ipv4", "ports": [1]}, "services[0].ports: excludes fwmark (got [1])"),
        ({"address": "192.0.2.10", "ports": []}, "services[0].ports: must not be empty (got [])"),
        ({"address": "192.0.2.10", "ports": 80}, "services[0].ports: must be a list (got 80)"),
        ({**WEB, "servers": SERVER}, "services[0].servers: must be a list"),
        ({**WEB, "servers": ["a"]}, "services[0].servers[0]: must be a dict (got 'a')"),
        ({**WEB, "directors": "pair_c"}, "services[0].directors: no such group in the inventory (got 'pair_c')"),
        ({**WEB, "pool": "x"}, "services[0].pool: no such pool; known: pool (got 'x')"),
        ({**WEB, "pool": "pool"}, "pools.pool.server: unknown key; did you mean servers?"),
        ({**WEB, "prepared": True}, "services[0].prepared: must be one of role, elsewhere (got True)"),
        (
            {**WEB, "servers": [{**SERVER, "prepared": "no"}]},
            "services[0].servers[0].prepared: must be one of role, elsewhere (got 'no')",
        ),
        ({**WEB, "return_path": "nat"}, "services[0].return_path: must be one of snat, gateway, route, policy, none"),
        ({**WEB, "servers_from": {"group": "web"}}, "services[0].servers_from.address: is required"),
        ({**WEB, "servers_from": "web"}, "services[0].servers_from: must be a dict (got 'web')"),
        (
            {**WEB, "servers_from": {"group": "wep", "address": "rip"}},
            "services[0].servers_from.group: no such group in the inventory (got 'wep')",
        ),
        (
            {**WEB, "servers": [{**SERVER, "return_path": 1}]},
            "services[0].servers[0].return_path: must be one of snat, gateway, route, policy, none (got 1)",
        ),
        (
            {**WEB, "forward": "dr", "servers": [{**SERVER, "return_path": "snat"}]},
            "services[0].servers[0].return_path: is only for forward nat (got 'snat')",
        ),
    ],
)
def test_bad_input_is_told_where_it_was_written(service: object, told: str) -> None:
    assert any(problem.startswith(told) for problem in problems([service], pools={"pool": {"server": []}}))


def test_problems_of_an_expansion_are_told_once_and_at_their_place() -> None:
    good = {**WEB, "port": 25, "servers": [SERVER]}
    bad = {"addresses": ["192.0.2.10", "192.0.2.9"], "port": 443, "scheduler": "best", "servers": [{"weight": -1}]}
    assert [problem.split(":")[0] for problem in problems([good, bad])] == [
        "services[1].servers[0].weight",
        "services[1].servers[0].address",
        "services[1].scheduler",
    ]


def test_a_value_of_a_list_is_blamed_at_its_place_and_the_rest_is_told_too() -> None:
    service = {"address": "192.0.2.10", "ports": ["8000-8010"], "scheduler": "best", "servers": [SERVER]}
    first, second = problems([service])
    assert first.startswith("services[0].ports[0]: must be one port; a range goes by a firewall mark")
    assert second.startswith("services[0].scheduler: unknown scheduler")
    wrong = {"addresses": ["192.0.2.10", "192.0.2.999"], "port": 80, "servers": [SERVER]}
    assert [one.split(":")[0] for one in problems([wrong])] == ["services[0].addresses[1]"]


def test_a_duplicate_names_both_places() -> None:
    service = {**WEB, "servers": [SERVER], "servers_from": {"group": "web", "address": "rip"}}
    service["servers"] = [{"address": "198.51.100.11"}]
    assert problems([service]) == [
        "services[0].servers_from[web1]: duplicate of services[0].servers[0] (got '198.51.100.11:443')"
    ]


def test_flows_are_the_nat_servers_whose_answers_need_it() -> None:
    service = {
        **WEB,
        "servers": [
            {"address": "198.51.100.22", "port": 8443},
            {"address": "198.51.100.21", "return_path": "gateway"},
            {"address": "198.51.100.23", "forward": "dr"},
        ],
    }
    assert snat_flows([service], **INVENTORY) == [
        {
            "service": {"address": "192.0.2.10", "port": 443, "protocol": "tcp"},
            "server": {"address": "198.51.100.22", "port": 8443},
        }
    ]


def test_a_service_may_need_no_flow_but_for_one_server() -> None:
    servers = [SERVER, {"address": "198.51.100.22", "return_path": "snat"}]
    (flow,) = snat_flows([{**WEB, "return_path": "route", "servers": servers}], **INVENTORY)
    assert flow["server"] == {"address": "198.51.100.22", "port": 443}


def test_a_fixed_source_goes_to_the_flows_of_its_family() -> None:
    v6 = {**WEB, "address": "2001:db8::10", "servers": [{"address": "2001:db8::21"}]}
    flows = snat_flows([{**WEB, "servers": [SERVER]}, v6], **INVENTORY, source=["2001:DB8::1"])
    assert [flow.get("source") for flow in flows] == [None, "2001:db8::1"]


def test_bad_sources_are_told() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        snat_flows([], **INVENTORY, source=["192.0.2.1", "192.0.2.2", "host"])
    assert str(caught.value) == (
        "source[1]: must be the only one of its family (got '192.0.2.2'); "
        "source[2]: must be an IP address; host names are not resolved (got 'host')"
    )


def test_services_for_which_the_director_stands_by_are_left_out() -> None:
    services = [{**WEB, "port": 443 + i, "name": name} for i, name in enumerate(["web", "dns", "mail"])]
    services.append({**WEB, "port": 80, "name": "far", "directors": "pair_b"})

    def kept(vip: object) -> list[str]:
        return [one["name"] for one in resolve_services(services, **INVENTORY, director="director1", vip=vip)]

    assert kept("hold") == kept("external") == kept({"far": "standby"}) == ["web", "dns", "mail"]
    assert kept("standby") == []
    assert kept({"web": "hold", "default": "standby", "mail": "external"}) == ["web", "mail"]
    assert problems(services, vip={"wbe": "hold"}) == ["ipvs_director_vip.wbe: unknown key; did you mean web?"]
