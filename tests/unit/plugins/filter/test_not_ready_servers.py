# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers on hosts that are not ready for them."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.filter.not_ready_servers import not_ready_servers

HOSTS = {
    "web1": {"ansible_host": "198.51.100.11"},
    "web2": {"ipvs_address": "198.51.100.12"},
    "web3": {"rack_address": "198.51.100.13"},
    "web4": {"ipvs_backend_addresses": ["198.51.100.14", "198.51.100.24"]},
}


def names(service: dict[str, Any], *hosts: str) -> list[str]:
    given = [{"address": "192.0.2.10", "port": 80, **service}]
    found = not_ready_servers(given, names=hosts, hostvars=HOSTS, groups={"web": ["web3"]})
    assert all(one["service"] == {"address": "192.0.2.10", "port": 80, "protocol": "tcp"} for one in found)
    return [one["server"]["address"] for one in found]


def servers(*last: int, **more: Any) -> dict[str, Any]:
    return {"servers": [{"address": f"198.51.100.{one}", **more} for one in last]}


def test_a_host_is_known_by_every_address_that_the_inventory_has_of_it() -> None:
    assert names(servers(11, 12, 14, 24, 15), *HOSTS) == [f"198.51.100.{last}" for last in (11, 12, 14, 24)]
    assert names({"servers_from": {"group": "web", "address": "rack_address"}}, "web3") == ["198.51.100.13"]


def test_only_the_hosts_that_are_not_ready_count() -> None:
    assert names(servers(11, 12), "web2") == ["198.51.100.12"]


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ({"forward": "dr"}, True),
        ({"forward": "tun"}, True),
        ({"forward": "nat"}, False),
        ({"forward": "nat", "return_path": "none"}, False),
        ({"forward": "nat", "return_path": "gateway"}, True),
        ({"forward": "nat", "return_path": "route"}, True),
        ({"forward": "nat", "return_path": "policy"}, True),
        ({"forward": "dr", "prepared": "elsewhere"}, False),
    ],
)
def test_only_servers_that_need_something_on_their_host_count(more: dict[str, Any], held: bool) -> None:
    assert names(servers(11, **more), "web1") == ["198.51.100.11"] * held
