# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs in which a backend returns facts that have the names of variables of the inventory."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.roles import canned

MODULE = """\
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"facts": {"type": "dict"}})
module.exit_json(ansible_facts=module.params["facts"])
"""
WEB = {"address": "192.0.2.10", "port": 80, "forward": "nat", "servers_from": {"group": "web", "address": "rip"}}
INVENTORY = {
    "ipvs_directors": {"hosts": {"director1": None}},
    "ipvs_backends": {"children": {"web": None}},
    "web": {"hosts": {"web1": {"rip": "198.51.100.11"}}},
}
PLAN = "{{ ipvs_services | l4lb.ipvs.%s(hostvars=hostvars, groups=groups%s) }}"
#: What an attacker returns, and the variable that the message names.
HOSTILE = {
    "rip": ({"rip": "203.0.113.66"}, "rip"),
    # the same under both names: only one of them is listed among the facts
    "decoy": ({"rip": "203.0.113.66", "ansible_rip": "198.51.100.11"}, "rip"),
    "hidden": ({"rip": "203.0.113.66", "ansible_facts": {}}, "rip"),
    "verdict": ({"__ipvs_lint": {"problems": [], "known": {}}}, "__ipvs_lint"),
    "networks": ({"ipvs_networks": ["192.0.2.0/24"]}, "ipvs_networks"),
    "addresses": ({"ipvs_backend_addresses": ["203.0.113.66"]}, "ipvs_backend_addresses"),
    # the first host of a batch lints for all of them
    "services": ({"ipvs_services": []}, "ipvs_services"),
    "accepted": ({"ipvs_backend_lint_allow": ["vip_is_real"]}, "ipvs_backend_lint_allow"),
    "name": ({"inventory_hostname": "web1"}, "inventory_hostname"),
    "groups": ({"group_names": []}, "group_names"),
    "template": ({"internal": "203.0.113.66"}, "internal"),
    "nested": ({"internal": "203.0.113.66"}, "internal"),
}
#: What the inventory says of them.
VARIABLES = {
    "template": {"ipvs_address": "{{ internal }}", "internal": "198.51.100.13"},
    "nested": {
        "internal": "198.51.100.14",
        "rip": "{{ ipvs_networks[0].split('/')[0] }}",
        "ipvs_networks": ["{{ internal }}/24"],
    },
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "compromised.py").write_text(MODULE)
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    groups = {"children": INVENTORY, "vars": {**variables, "ipvs_services": [WEB]}}
    # one run for all: each set of facts is another backend's, and each task looks at one of them alone
    for name, (facts, dummy) in HOSTILE.items():
        INVENTORY["web"]["hosts"][name] = {"rip": "198.51.100.12", "facts": facts, **VARIABLES.get(name, {})}  # type: ignore[index]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": groups}))
    steps = [
        {
            "name": f"Lint {name}",
            "ansible.builtin.debug": {
                "msg": "{{ ipvs_services | l4lb.ipvs.lint(hostvars={x: hostvars[x], 'director1': hostvars.director1}, "
                "groups={'web': [x], 'ipvs_backends': [x], 'ipvs_directors': ['director1']}, invalid='return', "
                "batch=[x]) }}"
            },
            "vars": {"x": name},
        }
        for name in HOSTILE
    ]
    resolved = {
        "name": "Resolve",
        "ansible.builtin.debug": {"msg": PLAN % ("resolve_services", "")},
        "ignore_errors": True,
    }
    plays = [
        {
            "hosts": "web",
            "gather_facts": False,
            "tasks": [{"compromised": {"facts": "{{ facts | default({}) }}"}}],
        },
        {"hosts": "director1", "gather_facts": False, "tasks": [*steps, resolved]},
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    return tmp_path


def test_a_fact_does_not_stand_for_a_variable_of_the_inventory(directory: Path) -> None:
    ran = canned.run(directory, "play.yml")
    for name, (dummy, variable) in HOSTILE.items():
        assert (
            f"hostvars.{name}.{variable}: is a fact that the host returned, which wins over the inventory"
            in (ran.output.split(f"TASK [Lint {name}]")[1].split("TASK")[0])
        ), ran.output
    resolve = ran.output.split("TASK [Resolve]")[1]
    for name, variable in (("decoy", "rip"), ("hidden", "rip"), ("rip", "rip"), ("nested", "internal")):
        assert f"hostvars.{name}.{variable}: is a fact that the host returned" in resolve
    assert "203.0.113.66" not in resolve.split("...ignoring")[0]


def test_where_facts_are_no_variables_the_inventory_counts(directory: Path) -> None:
    (directory / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = false\n")
    ran = canned.run(directory, "play.yml")
    assert ran.status == 0
    assert "is a fact" not in ran.output
    assert "198.51.100.12" in ran.output.split("TASK [Resolve]")[1]
    assert "203.0.113.66" not in ran.output.split("TASK [Resolve]")[1]


def test_a_backend_with_another_name_or_other_services_stops_the_playbook_before_a_director_changes(
    directory: Path,
) -> None:
    [attack, *dummy] = yaml.safe_load((directory / "play.yml").read_text())
    attack["hosts"] = "services,name"
    site = {"import_playbook": "l4lb.ipvs.site"}
    (directory / "play.yml").write_text(yaml.safe_dump([attack, site], sort_keys=False))
    hosts = {"director1": {"ipvs_director_snat_source": "none"}, "services": {}, "name": {}}
    ran = canned.run(directory, "play.yml", "--limit", ",".join(hosts))
    assert ran.status != 0
    for variable in ("services.ipvs_services", "name.inventory_hostname"):
        assert f"hostvars.{variable}: is a fact that the host returned, which wins over the inventory" in ran.output
    assert {call["module"] for call in ran.calls} <= {"ipvs_host_info"}
