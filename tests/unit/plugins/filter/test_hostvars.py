# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the filters ask Ansible for the variables of hosts, and what they make of its kinds of values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from plugins.filter.backend_plan import backend_plan
from plugins.filter.lint import lint
from plugins.filter.resolve_services import resolve_services
from plugins.filter.service_marks import service_marks
from plugins.filter.snat_flows import snat_flows
from plugins.filter.untracked_traffic import untracked_traffic
from tests.unit.plugins.filter.test_backend_plan import HOST

FILTERS: list[Callable[..., Any]] = [
    *(lint, resolve_services, service_marks, snat_flows, untracked_traffic),
    lambda services, **inventory: backend_plan(services, host=HOST, **inventory),
]
SERVICES = [
    {"address": "192.0.2.10", "port": port, "servers_from": {"group": "web", "address": "rip", "weight": "share"}}
    for port in range(80, 90)
]


class Counted(Mapping[str, Any]):
    """A mapping that counts how often each of its values is asked for."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content, self.asked = content, Counter[str]()

    def __getitem__(self, key: str) -> Any:
        value = self.content[key]
        self.asked[key] += 1
        return value

    def __contains__(self, key: object) -> bool:
        return key in self.content

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


@pytest.mark.parametrize("function", FILTERS)
def test_a_variable_is_rendered_once_however_many_services_ask_for_it(function: Callable[..., Any]) -> None:
    hosts = Counted({f"web{i}": Counted({"rip": f"198.51.100.{i}", "share": 1}) for i in (1, 2)})
    function(SERVICES, hostvars=hosts, groups={"web": ["web1", "web2"]})
    assert set(hosts.asked.values()) == {1}
    assert {name: times for host in hosts.content.values() for name, times in host.asked.items()} == {
        "rip": 1,
        "share": 1,
    }


class Vaulted:
    """A value of the vault in ansible-core 2.18."""

    __ENCRYPTED__ = True

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_a_value_of_the_vault_is_its_text() -> None:
    hosts = {"web1": {"rip": Vaulted("198.51.100.1"), "ipvs_networks": [Vaulted("198.51.100.1/24")], "share": 1}}
    inventory: dict[str, Any] = {"hostvars": hosts, "groups": {"web": ["web1"], "ipvs_directors": ["web1"]}}
    assert resolve_services(SERVICES[:1], **inventory)[0]["servers"] == [{"address": "198.51.100.1", "weight": 1}]
    assert "server 198.51.100.1: a director of the service" in lint(SERVICES[:1], **inventory)["problems"][0]
