# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples are inventories that nothing is to be said against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from plugins.filter.lint import lint
from plugins.filter.resolve_services import resolve_services

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/inventory"))


def inventory(example: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The services of an example, and its hosts and groups as Ansible reads them; no template is rendered."""
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(example / "inventory")])
    variables = VariableManager(loader=loader, inventory=manager)
    hostvars = {host.name: variables.get_vars(host=host) for host in manager.get_hosts()}
    services = next(iter(hostvars.values()))["ipvs_services"]
    return services, {"hostvars": hostvars, "groups": manager.get_groups_dict()}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_sound(example: Path) -> None:
    services, hosts = inventory(example)
    plain = resolve_services(services, **hosts)
    assert plain
    assert all(service["servers"] for service in plain)
    assert lint(services, **hosts) == {"problems": [], "warnings": [], "not_checked": []}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_says_how_to_run_it(example: Path) -> None:
    readme = (example / "README.md").read_text()
    assert f"ansible-playbook -i examples/{example.name}/inventory playbooks/site.yml --check --diff\n" in readme


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_what_a_scenario_runs(example: Path) -> None:
    files = sorted(path for path in (example / "inventory").rglob("*") if path.is_file())
    scenarios = [path.parent / "inventory" for path in ROOT.glob("molecule/*/molecule.yml")]
    inventories = [sorted(path.resolve() for path in scenario.rglob("*.yml")) for scenario in scenarios]
    assert files in inventories


def test_there_is_an_example_for_every_way() -> None:
    names = "nat nat_two_armed nat_routed dr tun ipv6 fwmark mixed two_pairs"
    assert {example.name for example in EXAMPLES} == set(names.split())
    forwards = {service["forward"] for example in EXAMPLES for service in inventory(example)[0]}
    assert forwards == {"nat", "dr", "tun"}
