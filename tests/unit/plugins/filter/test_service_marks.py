# SPDX-License-Identifier: GPL-3.0-or-later
"""From the inventory's services to the marks of their traffic, and to what is not tracked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.service_marks import service_marks
from plugins.filter.untracked_traffic import untracked_traffic
from plugins.module_utils import _traffic
from plugins.module_utils._errors import Findings

INVENTORY: dict[str, Any] = {"hostvars": {}, "groups": {"pair_a": ["director1"], "pair_b": ["director2"]}}
SERVERS = [{"address": "198.51.100.11"}]
SHOP = {
    "fwmark": 80,
    "family": "ipv4",
    "forward": "nat",
    "mark": {"addresses": ["192.0.2.10"], "ports": [443, 80]},
    "servers": SERVERS,
}
SHOP6 = {
    **SHOP,
    "family": "ipv6",
    "mark": {"addresses": ["2001:db8::10"], "protocols": ["udp", "tcp"], "interfaces": ["eth0"]},
    "servers": [{"address": "2001:db8:1::11"}],
}
WEB = {"address": "192.0.2.10", "port": 80, "forward": "dr", "servers": SERVERS}


def marks(*services: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return service_marks(list(services), **INVENTORY, **more)


def untracked(*services: dict[str, Any]) -> list[dict[str, Any]]:
    return untracked_traffic(list(services), **INVENTORY)


def problems(*services: dict[str, Any]) -> list[str]:
    with pytest.raises(AnsibleFilterError) as caught:
        marks(*services)
    found: list[str] = caught.value.__cause__.details["problems"]  # type: ignore[union-attr]
    return found


def test_marks_are_those_of_the_services() -> None:
    unmarked = {name: value for name, value in {**SHOP, "fwmark": 7}.items() if name != "mark"}
    assert marks(SHOP, WEB, unmarked, SHOP6) == [
        {"fwmark": 80, "family": "ipv4", "addresses": ["192.0.2.10"], "ports": [80, 443], "protocols": ["tcp"]},
        {
            "fwmark": 80,
            "family": "ipv6",
            "addresses": ["2001:db8::10"],
            "protocols": ["udp", "tcp"],
            "interfaces": ["eth0"],
        },
    ]


def test_a_director_marks_for_its_own_services() -> None:
    other = {**SHOP, "fwmark": 81, "directors": "pair_b"}
    assert [mark["fwmark"] for mark in marks({**SHOP, "directors": "pair_a"}, other, director="director2")] == [81]


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({**WEB, "mark": SHOP["mark"]}, "services[1].mark: is only for services by fwmark"),
        ({**SHOP, "fwmark": 81, "mark": [80]}, "services[1].mark: must be a dict (got [80])"),
        ({**SHOP, "fwmark": 81, "mark": {"ports": [81]}}, "services[1].mark.addresses: is required"),
        (
            {**SHOP, "fwmark": 81, "mark": {"addresses": ["192.0.2.11"], "fwmark": 9}},
            "services[1].mark.fwmark: unknown key; known: addresses, ports, protocols, interfaces",
        ),
        (
            {**SHOP, "fwmark": 81, "mark": {"addresses": ["192.0.2.11"], "protocols": ["icmp"]}},
            "services[1].mark.protocols[0]: must be one of tcp, udp, sctp (got 'icmp')",
        ),
        (
            {**SHOP, "fwmark": 81, "mark": {"addresses": ["2001:db8::10"]}},
            "services[1].mark.addresses: must be of family ipv4 (got '2001:db8::10')",
        ),
        (
            {**SHOP, "fwmark": 81, "mark": {"addresses": ["192.0.2.10"], "ports": ["70-80"]}},
            "services[1].mark: overlaps services[0].mark (got 'tcp 192.0.2.10:80')",
        ),
    ],
)
def test_bad_marks_are_told(service: dict[str, Any], problem: str) -> None:
    assert problems(SHOP, service) == [problem]


def test_what_servers_answer_themselves_is_not_tracked() -> None:
    tunnelled = {**WEB, "port": 53, "protocol": "udp", "forward": "tun"}
    translated = {**WEB, "port": 443, "forward": "nat"}
    assert untracked(WEB, tunnelled, translated) == [
        {"addresses": ["192.0.2.10"], "ports": [80], "protocols": ["tcp"]},
        {"addresses": ["192.0.2.10"], "ports": [53], "protocols": ["udp"]},
    ]


def test_a_service_that_is_translated_in_part_is_tracked() -> None:
    assert untracked({**WEB, "servers": [*SERVERS, {"address": "198.51.100.12", "forward": "nat"}]}) == []
    assert untracked({**WEB, "servers": []}) == []


def test_an_exact_port_goes_before_every_port_and_a_mark_before_both() -> None:
    every = {**WEB, "port": 0, "persistence_timeout": 60}
    nat = {"forward": "nat"}
    exempt = {"addresses": ["192.0.2.10"], "protocols": ["tcp"]}
    assert untracked(every, {**WEB, **nat}) == [{**exempt, "ports": ["1-79", "81-65535"]}]
    assert untracked({**every, **nat}, WEB) == [{**exempt, "ports": [80]}]
    assert untracked(every, SHOP) == [{**exempt, "ports": ["1-79", "81-442", "444-65535"]}]
    assert untracked({**SHOP, "forward": "dr"}, {**WEB, "port": 443, **nat}) == [{**exempt, "ports": [80, 443]}]


def test_what_is_exempt_is_what_the_module_takes() -> None:
    every = {**WEB, "port": 0, "persistence_timeout": 60}
    found = untracked(every, SHOP, {**WEB, "address": "192.0.2.11"})
    assert ["icmp"] in [item["protocols"] for item in found]
    findings = Findings()
    parsed = _traffic.parse(_traffic.UNTRACKED, found, "traffic", findings)
    assert findings.problems == []
    assert [_traffic.params(_traffic.UNTRACKED, traffic) for traffic in parsed] == found


def test_both_families_are_exempt() -> None:
    web6 = {**WEB, "address": "2001:db8::10", "servers": [{"address": "2001:db8:1::11"}]}
    exempt = {"ports": [80], "protocols": ["tcp"]}
    assert untracked(web6, WEB) == [
        {"addresses": ["192.0.2.10", "2001:db8::10"], "protocols": ["icmp"]},
        {"addresses": ["192.0.2.10"], **exempt},
        {"addresses": ["2001:db8::10"], **exempt},
    ]


def test_errors_are_tracked_where_anything_else_is() -> None:
    other = {**WEB, "address": "192.0.2.11"}
    errors = [item["addresses"] for item in untracked(WEB, {**WEB, "port": 443, "forward": "nat"}, other)[:1]]
    assert errors == [["192.0.2.11"]]


def test_what_a_mark_does_not_state_is_not_exempt() -> None:
    assert untracked({name: value for name, value in {**SHOP, "forward": "dr"}.items() if name != "mark"}) == []
