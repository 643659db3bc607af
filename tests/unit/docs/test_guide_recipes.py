# SPDX-License-Identifier: GPL-3.0-or-later
"""Each recipe is sound, and makes the table that stands below it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.filter.backend_plan import backend_plan
from plugins.filter.lint import lint
from plugins.filter.resolve_services import resolve_services
from plugins.module_utils import _model, _sysctl, _text
from plugins.module_utils._errors import Findings
from plugins.plugin_utils._role_variables import KNOWN
from tests.unit.plugins.filter import test_backend_plan

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "docsite" / "rst" / "guide_recipes.rst"
SECTIONS: dict[str, str] = dict(
    re.findall(r"^(\S[^\n]*)\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
)
APP = (test_backend_plan.RIP, "198.51.100.12")
GROUPS = {"ipvs_directors": ["director1"], "ipvs_backends": ["app1", "app2"], "app": ["app1", "app2"]}
HOST = {**test_backend_plan.HOST, "modules": {"ipip": "loadable", "sit": "loadable"}}


def block(title: str, kind: str) -> str:
    found = re.findall(rf"^\.\. code-block:: {kind}\n\n(.*?)(?=^\S)", SECTIONS[title], re.MULTILINE | re.DOTALL)
    assert len(found) == 1, title
    return textwrap.dedent(found[0]).strip()


def variables(title: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(block(title, "yaml"))
    return loaded


def fleet(given: dict[str, Any]) -> dict[str, Any]:
    """The hosts of all recipes, with the variables of one."""
    addresses = dict(zip(("director1", *GROUPS["app"]), ("198.51.100.2", *APP), strict=True))
    hostvars = {
        name: {"ipvs_address": address, "ipvs_networks": [f"{address}/24"], **given}
        for name, address in addresses.items()
    }
    return {"hostvars": hostvars, "groups": GROUPS, "pools": given.get("ipvs_pools", {})}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_recipe_makes_its_table(title: str) -> None:
    given = variables(title)
    findings = Findings()
    table = _model.parse_services(resolve_services(given["ipvs_services"], **fleet(given)), "services", findings)
    assert findings.problems + findings.warnings == []
    assert _text.table_lines(table) == block(title, "text").splitlines()


@pytest.mark.parametrize("title", SECTIONS)
def test_the_lint_has_nothing_against_a_recipe(title: str) -> None:
    given = variables(title)
    assert lint(given["ipvs_services"], **fleet(given)) == {"problems": [], "warnings": [], "not_checked": []}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_backend_gets_the_vips_of_a_recipe(title: str) -> None:
    given = variables(title)
    found = backend_plan(given["ipvs_services"], host=HOST, **fleet(given))
    assert found["problems"] == []
    lines = [line.split() for line in block(title, "text").splitlines() if f"-r {APP[0]}:" in line]
    marked = {address for service in given["ipvs_services"] for address in service.get("mark", {}).get("addresses", [])}
    vips = {key.rpartition(":")[0] for dummy, kind, key, *others in lines if kind != "-f"} | marked
    assert {vip["address"] for vip in found["vips"]} == vips


@pytest.mark.parametrize("title", SECTIONS)
def test_the_other_variables_of_a_recipe_are_those_of_the_roles(title: str) -> None:
    given = variables(title)
    known = {"ipvs_services", "ipvs_pools"} | {prefix + name for prefix, names in KNOWN.items() for name in names}
    assert given.keys() <= known
    findings = Findings()
    _sysctl.parse_settings(given.get("ipvs_director_sysctls", {}), findings)
    assert findings.problems == []
